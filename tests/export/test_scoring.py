"""Tests of ``export/scoring.py`` on tiny exported bundles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.scoring import CHUNK, OpenBundle, final_logits, length_batches, logits_at_shares, token_nll
from service.engine import Engine, FloatArray

TOLERANCE = 1e-4  # float32 sums in another order


@pytest.fixture(scope="module")
def sentiment(bundles: Path) -> OpenBundle:
    """A tiny classifier."""
    return OpenBundle.open(bundles / "sentiment-en")


@pytest.fixture(scope="module")
def language_model(bundles: Path) -> OpenBundle:
    """A tiny language model."""
    return OpenBundle.open(bundles / "lm-zh")


def alone(engine: Engine, ids: list[int]) -> FloatArray:
    """(T, N) logits of one row, at every step."""
    _, logits = engine.run(np.array([ids]), np.array([len(ids)]), engine.zero_state(1), len(ids))
    return logits.reshape(len(ids), -1)


def test_batches_hold_every_row_once_within_the_budget() -> None:
    """Rows of similar length run together; padding counts; an empty row needs no run."""
    lengths = [5, 0, 3, 9, 1, 4, 40]

    batches = list(length_batches(lengths, max_rows=3, max_padded_tokens=16))

    assert sorted(i for batch in batches for i in batch) == [0, 2, 3, 4, 5, 6]
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 16 for batch in batches)
    assert max(map(len, batches)) <= 3


def test_a_text_scores_the_same_alone_and_in_a_batch(sentiment: OpenBundle) -> None:
    """What shares a run with a text changes nothing; a text without a token gets zeros."""
    encoded = sentiment.encode(["not good", "", "The cast was wonderful and the music, too.", "film"])

    together = final_logits(sentiment.engine, encoded)

    assert not together[1].any()
    for ids, logits in zip(encoded, together, strict=True):
        if ids:
            np.testing.assert_allclose(logits, alone(sentiment.engine, ids)[-1], atol=TOLERANCE)


def test_logits_at_a_share_are_those_of_the_text_cut_there(sentiment: OpenBundle) -> None:
    """Half of a text is its first half, rounded up to whole tokens; all of it is the final answer."""
    encoded = sentiment.encode(["good", "The cast was wonderful and the music, too.", "I don't like the plot."])

    half, whole = logits_at_shares(sentiment.engine, encoded, (0.5, 1.0))

    np.testing.assert_allclose(whole, final_logits(sentiment.engine, encoded), atol=TOLERANCE)
    for ids, logits in zip(encoded, half, strict=True):
        np.testing.assert_allclose(logits, alone(sentiment.engine, ids)[(len(ids) + 1) // 2 - 1], atol=TOLERANCE)


def test_token_nll_is_that_of_the_softmax_at_every_step(language_model: OpenBundle) -> None:
    """Also for sequences longer than a chunk, which carry their state on, beside shorter ones."""
    rng = np.random.default_rng(3)
    sequences = [[1, *rng.integers(3, 300, n).tolist()] for n in (1, CHUNK, 2 * CHUNK + 3, 7)]

    for ids, nll in zip(sequences, token_nll(language_model.engine, sequences), strict=True):
        logits = alone(language_model.engine, ids[:-1]).astype(np.float64)
        total = np.log(np.exp(logits).sum(axis=1))
        np.testing.assert_allclose(nll, total - logits[np.arange(len(nll)), ids[1:]], atol=TOLERANCE)
