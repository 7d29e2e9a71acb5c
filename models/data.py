"""Token ids -> batches: buckets of similar length for classifiers, parallel streams for language models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from models.tokenizer import PAD_ID


def bucketed_batches(
    lengths: Sequence[int], max_rows: int, max_tokens: int, rng: np.random.Generator
) -> list[list[int]]:
    """Group texts of similar length: every index once, shuffled, at most ``max_rows`` rows and ``max_tokens`` padded tokens.

    Lengths are jittered before sorting, so that epochs differ.
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


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of ids -> (B, T) int64 padded with ``PAD_ID`` and (B,) lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    input_ids = torch.full((len(rows), int(lengths.max())), PAD_ID)
    for row, ids in zip(input_ids, rows, strict=True):
        row[: len(ids)] = torch.as_tensor(ids)
    return input_ids, lengths


def shuffled_stream(documents: Sequence[np.ndarray], block: int, rng: np.random.Generator) -> np.ndarray:
    """One long stream of all documents, in blocks of ``block`` consecutive documents whose order is drawn."""
    starts = np.arange(0, len(documents), block)
    rng.shuffle(starts)
    return np.concatenate([document for start in starts for document in documents[start : start + block]])


def stream_batches(stream: np.ndarray, rows: int, bptt: int) -> Iterator[Tensor]:
    """Cut a stream into ``rows`` parallel streams and walk along them.

    Yields:
        (rows, <= bptt + 1) int64: inputs are all but the last column, targets all but the first; each next batch
        begins where this one's targets ended, so the recurrent state can be carried on.
    """
    width = len(stream) // rows
    grid = torch.from_numpy(stream[: rows * width].reshape(rows, width).astype(np.int64))
    for start in range(0, width - 1, bptt):
        yield grid[:, start : start + bptt + 1]
