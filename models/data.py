"""Token ids -> batches: buckets of similar length for classifiers, parallel streams for language models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.tokenizer import PAD_ID

IdArray = npt.NDArray[np.int32]
ENCODED_AT_ONCE = 2048  # texts; bounds the memory of the encodings, which hold more than ids


def encode(tokenizer: Tokenizer, texts: Sequence[str], backward: bool = False) -> list[IdArray]:
    """Token ids of each text; ``backward`` from its last to its first."""
    encoded: list[IdArray] = []
    step = -1 if backward else 1
    for start in range(0, len(texts), ENCODED_AT_ONCE):
        batch = tokenizer.encode_batch_fast(list(texts[start : start + ENCODED_AT_ONCE]))
        encoded += [np.array(encoding.ids[::step], dtype=np.int32) for encoding in batch]
    return encoded


def bucketed_batches(
    lengths: Sequence[int], max_rows: int, max_tokens: int, rng: np.random.Generator
) -> list[list[int]]:
    """Group texts of similar length: every index once, in batches whose order is drawn.

    Lengths are jittered before sorting, so that epochs differ.

    Args:
        lengths: tokens of each text.
        max_rows: most texts in a batch.
        max_tokens: most padded tokens in a batch (rows x longest row), unless one text alone has more.
        rng: source of the order.
    """
    jittered = np.asarray(lengths) * rng.uniform(0.9, 1.1, len(lengths))
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    for index in np.argsort(jittered, kind="stable").tolist():
        longest_with = max(longest, lengths[index])
        if batch and (len(batch) == max_rows or (len(batch) + 1) * longest_with > max_tokens):
            batches.append(batch)
            batch, longest_with = [], lengths[index]
        batch.append(index)
        longest = longest_with
    if batch:
        batches.append(batch)
    order = rng.permutation(len(batches))
    return [batches[i] for i in order]


def pad(rows: Sequence[Sequence[int] | IdArray]) -> tuple[Tensor, Tensor]:
    """Rows of ids -> (B, T) int64 padded with ``PAD_ID`` and (B,) lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    input_ids = torch.full((len(rows), int(lengths.max())), PAD_ID)
    for row, ids in zip(input_ids, rows, strict=True):
        row[: len(ids)] = torch.as_tensor(ids)
    return input_ids, lengths


class TokenTable:
    """The ids of many texts as one tensor on the training device, where a batch is gathered without waiting for the host.

    Args:
        encoded: ids of each text, none of them empty.
        device: where batches are made.
    """

    def __init__(self, encoded: Sequence[IdArray], device: str = "cpu") -> None:
        self.lengths = np.array([len(ids) for ids in encoded])
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self._ids = torch.from_numpy(np.concatenate(encoded)).to(device)

    def batch(self, indices: Sequence[int], cut_tokens: int, keep_end: Sequence[bool]) -> tuple[Tensor, Tensor, int]:
        """Some texts, each cut to its first or its last ``cut_tokens``.

        Returns:
            (B, T) int64 ids padded with ``PAD_ID``, (B,) lengths, and how many tokens that is.
        """
        lengths = np.minimum(self.lengths[indices], cut_tokens)
        starts = self._starts[indices] + np.where(keep_end, self.lengths[indices] - lengths, 0)
        where = torch.from_numpy(np.stack([starts, lengths])).to(self._ids.device, non_blocking=True)
        column = torch.arange(int(lengths.max()), device=self._ids.device)
        places = (where[0][:, None] + column).clamp_max(len(self._ids) - 1)  # (B, T)
        ids = self._ids[places].long()
        return torch.where(column < where[1][:, None], ids, PAD_ID), where[1], int(lengths.sum())


def shuffled_stream(documents: Sequence[IdArray], block: int, rng: np.random.Generator) -> IdArray:
    """One long stream of all documents, in blocks of ``block`` consecutive documents whose order is drawn."""
    starts = np.arange(0, len(documents), block)
    rng.shuffle(starts)
    return np.concatenate([document for start in starts.tolist() for document in documents[start : start + block]])


def stream_batches(stream: IdArray, rows: int, bptt: int, device: str = "cpu") -> Iterator[Tensor]:
    """Cut a stream into ``rows`` parallel streams and walk along them.

    Yields:
        (rows, <= bptt + 1) int64: inputs are all but the last column, targets all but the first; each next batch
        begins where this one's targets ended, so the recurrent state can be carried on.
    """
    width = len(stream) // rows
    grid = torch.from_numpy(stream[: rows * width].reshape(rows, width)).to(device).long()
    for start in range(0, width - 1, bptt):
        yield grid[:, start : start + bptt + 1]
