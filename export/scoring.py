"""Runs an exported bundle over many texts: batches of similar length, through the engine that serves it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from service.bundle import TOKENIZER_FILE, Manifest
from service.engine import Engine, FloatArray, IntArray
from service.tokenizer import Tokenizer

# Larger runs are slower: their arrays outgrow the caches, and the system clears the memory of each anew.
MAX_ROWS = 16
MAX_PADDED_TOKENS = 4_096
CHUNK = 16  # tokens of a language model's run: its logits are large


@dataclass(frozen=True)
class OpenBundle:
    """A bundle that is ready to be measured."""

    folder: Path
    engine: Engine
    tokenizer: Tokenizer

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self.engine.manifest

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> OpenBundle:
        """Open graph and tokenizer as the service does. Raises ``BundleError`` as the service does."""
        engine = Engine.open(folder, threads)
        return cls(folder, engine, Tokenizer.open(folder / TOKENIZER_FILE, engine.manifest.language))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut at the model's limit."""
        most = self.manifest.max_tokens
        ids: list[list[int]] = []
        for start in range(0, len(texts), 1024):
            ids += [pieces.ids[:most] for pieces in self.tokenizer.encode_many(list(texts[start : start + 1024]))]
        return ids


def length_batches(lengths: Sequence[int], max_rows: int, max_padded_tokens: int) -> Iterator[list[int]]:
    """Indices of rows that share a run: shortest first, at most ``max_rows`` and ``max_padded_tokens``; empty rows are left out."""
    batch: list[int] = []
    for index in np.argsort(np.asarray(lengths), kind="stable").tolist():
        if lengths[index] == 0:
            continue
        if batch and (len(batch) == max_rows or (len(batch) + 1) * lengths[index] > max_padded_tokens):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def pad(rows: Sequence[Sequence[int]]) -> tuple[IntArray, IntArray]:
    """Rows of ids -> (B, T) padded with 0, and (B,) lengths."""
    lengths = np.array([len(row) for row in rows], np.int64)
    input_ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for into, row in zip(input_ids, rows, strict=True):
        into[: len(row)] = row
    return input_ids, lengths


def final_logits(engine: Engine, encoded: Sequence[Sequence[int]]) -> FloatArray:
    """(N, C) logits after each whole text; a text without a token gets zeros."""
    out = np.zeros((len(encoded), engine.logits_size), np.float32)
    for batch in length_batches([len(ids) for ids in encoded], MAX_ROWS, MAX_PADDED_TOKENS):
        input_ids, lengths = pad([encoded[i] for i in batch])
        out[batch] = engine.run(input_ids, lengths, engine.zero_state(len(batch)), 1)[1][:, -1]
    return out


def logits_at_shares(engine: Engine, encoded: Sequence[Sequence[int]], shares: Sequence[float]) -> FloatArray:
    """Logits while a text is being read.

    Args:
        engine: of a sentiment bundle.
        encoded: N texts.
        shares: of each text's tokens, in (0, 1]; at least one token is read.

    Returns:
        (len(shares), N, C) logits; zeros for a text without a token.
    """
    out = np.zeros((len(shares), len(encoded), engine.logits_size), np.float32)
    for batch in length_batches([len(ids) for ids in encoded], MAX_ROWS, MAX_PADDED_TOKENS):
        input_ids, lengths = pad([encoded[i] for i in batch])
        longest = input_ids.shape[1]
        logits = engine.run(input_ids, lengths, engine.zero_state(len(batch)), longest)[1]
        for into, share in zip(out, shares, strict=True):
            read = np.array([math.ceil(share * length) for length in lengths.tolist()])
            into[batch] = logits[np.arange(len(batch)), longest - lengths + read - 1]
    return out


def microseconds_per_token(engine: Engine, tokens: int = 100, runs: int = 50) -> float:
    """Median time of one row alone, per token, only the last position's logits asked for."""
    input_ids = np.full((1, tokens), 3, np.int64)
    length, state = np.array([tokens]), engine.zero_state(1)
    times = []
    for _ in range(runs):
        began = perf_counter()
        engine.run(input_ids, length, state, 1)
        times.append(perf_counter() - began)
    return statistics.median(times) / tokens * 1e6


def token_nll(engine: Engine, sequences: Sequence[Sequence[int]]) -> list[NDArray[np.float64]]:
    """Negative log-likelihood of every token but the first, given those before it.

    Long sequences go through in chunks, the state carried on, so memory does not grow with them.

    Args:
        engine: of a language model.
        sequences: token ids, the start token included; at least two each.

    Returns:
        For each sequence (length - 1,) nats.
    """
    out: list[NDArray[np.float64]] = [np.empty(0)] * len(sequences)
    lengths = [len(ids) - 1 for ids in sequences]
    for batch in length_batches(lengths, MAX_ROWS, MAX_PADDED_TOKENS):
        found: list[list[NDArray[np.float64]]] = [[] for _ in batch]
        states = engine.zero_state(len(batch))
        for start in range(0, max(lengths[i] for i in batch), CHUNK):
            rows = [row for row, i in enumerate(batch) if lengths[i] > start]
            chunks = [sequences[batch[row]][start : min(start + CHUNK, lengths[batch[row]])] for row in rows]
            input_ids, chunk_lengths = pad(chunks)
            longest = input_ids.shape[1]
            states[rows], logits = engine.run(input_ids, chunk_lengths, states[rows], longest)
            for row, length, scores in zip(rows, chunk_lengths.tolist(), logits, strict=True):
                targets = np.asarray(sequences[batch[row]][start + 1 : start + 1 + length])
                found[row].append(_nll(scores[longest - length :], targets))
        for i, parts in zip(batch, found, strict=True):
            out[i] = np.concatenate(parts)
    return out


def _nll(logits: FloatArray, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(T, V) logits, (T,) ids -> (T,) nats."""
    highest = logits.max(axis=1)
    right = logits[np.arange(len(targets)), targets]
    total = np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64)
    nll: NDArray[np.float64] = np.log(total) + highest.astype(np.float64) - right
    return nll
