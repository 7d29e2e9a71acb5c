"""Tests of models/data.py."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.data import TokenTable, bucketed_batches, encode, pad, shuffled_stream, stream_batches
from models.tokenizer import PAD_ID, train_tokenizer

lengths_of_texts = st.lists(st.integers(1, 60), min_size=1, max_size=80)


@given(lengths_of_texts, st.integers(1, 9), st.integers(1, 200), st.integers(0, 9))
def test_batches_hold_every_text_once_within_both_limits(lengths: list[int], rows: int, tokens: int, seed: int) -> None:
    """Only a text that is longer than the token budget stands alone above it."""
    batches = bucketed_batches(lengths, rows, tokens, np.random.default_rng(seed))

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens


def test_batches_are_the_same_for_a_seed_and_differ_between_seeds() -> None:
    """An epoch can be dealt again after a kill, and epochs differ."""
    lengths = list(range(1, 60))
    first, again, other = (bucketed_batches(lengths, 4, 100, np.random.default_rng(s)) for s in (1, 1, 2))

    assert first == again
    assert first != other


def test_batches_keep_texts_of_like_length_together() -> None:
    """Little padding: under a fifth, where random batches of these lengths would have half."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 100, 400).tolist()
    batches = bucketed_batches(lengths, 16, 10_000, rng)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)

    assert sum(lengths) / padded > 0.8


def test_padding_fills_up_with_the_padding_id() -> None:
    """Rows keep their ids and their lengths."""
    input_ids, lengths = pad([[5, 6, 7], np.array([8], np.int32)])

    assert input_ids.tolist() == [[5, 6, 7], [8, PAD_ID, PAD_ID]]
    assert input_ids.dtype == torch.int64
    assert lengths.tolist() == [3, 1]


@given(st.integers(2, 400), st.integers(1, 5), st.integers(1, 20))
def test_streams_read_every_token_as_target_once_and_go_on_where_they_were(n: int, rows: int, bptt: int) -> None:
    """Each batch's inputs begin where the one before ended, row by row, so that its state fits."""
    stream = np.arange(n, dtype=np.int32)
    width = n // rows
    batches = list(stream_batches(stream, rows, bptt))

    targets = [row[1:].tolist() for batch in batches for row in batch]
    assert sorted(t for row in targets for t in row) == [r * width + i for r in range(rows) for i in range(1, width)]
    for before, after in pairwise(batches):
        assert torch.equal(before[:, -1], after[:, 0])


def test_shuffling_a_stream_keeps_neighbouring_documents_together() -> None:
    """Blocks move, documents within a block stay in order, nothing is lost."""
    documents = [np.array([i], np.int32) for i in range(20)]
    stream = shuffled_stream(documents, 5, np.random.default_rng(3)).tolist()

    assert sorted(stream) == list(range(20))
    assert stream != list(range(20))
    assert all(stream[i : i + 5] == list(range(stream[i], stream[i] + 5)) for i in range(0, 20, 5))


def test_many_texts_encode_as_each_alone() -> None:
    """Encoding works in batches; the seams show nowhere."""
    tokenizer = train_tokenizer("en", ["the cat sat on the mat"] * 4, 400, lowercase=True, specials=False)
    texts = [f"the cat {n} sat" for n in range(5000)]

    encoded = encode(tokenizer, texts)

    assert len(encoded) == 5000
    assert all(encoded[n].tolist() == tokenizer.encode(texts[n]).ids for n in (0, 2047, 2048, 4999))


@pytest.mark.parametrize(("keep_end", "kept"), [(True, [3, 4]), (False, [1, 2])])
def test_a_long_text_keeps_its_end_or_its_beginning(keep_end: bool, kept: list[int]) -> None:
    """By turns, so that both are learned from; a short one is padded."""
    table = TokenTable([np.array([9], np.int32), np.array([1, 2, 3, 4], np.int32)])

    ids, lengths, tokens = table.batch([1, 0], 2, [keep_end, keep_end])

    assert ids.tolist() == [kept, [9, PAD_ID]]
    assert lengths.tolist() == [2, 1]
    assert tokens == 3


@given(
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=9), min_size=1, max_size=6),
    st.integers(1, 9),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_gathered_batches_hold_each_text_as_it_is(
    texts: list[list[int]], most: int, keep_end: bool, rng: random.Random
) -> None:
    """Whatever the order of the texts: nothing of a neighbour in the table gets in."""
    table = TokenTable([np.array(text, np.int32) for text in texts])
    order = rng.sample(range(len(texts)), len(texts))

    ids, lengths, _ = table.batch(order, most, [keep_end] * len(order))

    rows = [row[:length] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]
    assert rows == [texts[i][-most:] if keep_end else texts[i][:most] for i in order]
    assert all(set(row[length:]) <= {PAD_ID} for row, length in zip(ids.tolist(), lengths.tolist(), strict=True))
