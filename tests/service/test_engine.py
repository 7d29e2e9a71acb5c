"""Arrays in, arrays out: chunks, company and padding change nothing, and what is no number is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bundle import load_manifest
from service.engine import Engine, FloatArray
from service.errors import ModelRunError, NonFiniteOutputError

TOLERANCE = 1e-5  # float32 sums in another order


@pytest.fixture(scope="session", params=["sentiment-en", "sentiment-zh", "lm-en", "lm-zh"])
def engine(request: pytest.FixtureRequest, bundles: Path) -> Engine:
    """Each tiny bundle, opened."""
    return Engine.open(bundles / request.param, threads=1)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_row_is_the_same_alone_in_chunks_and_in_company(engine: Engine, data: st.DataObject) -> None:
    """The service may batch and cut as it likes."""
    token = st.integers(0, engine.manifest.vocab_size - 1)
    rows = data.draw(st.lists(st.lists(token, min_size=1, max_size=30), min_size=1, max_size=6))
    lengths = np.array([len(row) for row in rows])
    padded = np.full((len(rows), lengths.max()), data.draw(token))
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    cut = data.draw(st.integers(1, len(rows[0])))

    together, logits = engine.run(padded, lengths, engine.zero_state(len(rows)), 1)
    alone, own = engine.run(np.array([rows[0]]), lengths[:1], engine.zero_state(1), 1)
    state, part = engine.run(np.array([rows[0][:cut]]), np.array([cut]), engine.zero_state(1), 1)
    if cut < len(rows[0]):
        state, part = engine.run(np.array([rows[0][cut:]]), lengths[:1] - cut, state, 1)

    np.testing.assert_allclose(together[0], alone[0], atol=TOLERANCE, rtol=TOLERANCE)
    np.testing.assert_allclose(logits[0], own[0], atol=TOLERANCE, rtol=TOLERANCE)
    np.testing.assert_allclose(state, alone, atol=TOLERANCE, rtol=TOLERANCE)
    np.testing.assert_allclose(part, own, atol=TOLERANCE, rtol=TOLERANCE)


def test_the_last_positions_are_kept_on_request(engine: Engine) -> None:
    """Slot j of K is position length - K + j."""
    ids = np.array([[5, 6, 7, 8], [9, 10, 0, 0]])
    lengths = np.array([4, 2])

    _, every = engine.run(ids, lengths, engine.zero_state(2), 4)
    _, last = engine.run(ids, lengths, engine.zero_state(2), 1)

    assert every.shape == (2, 4, engine.logits_size)
    np.testing.assert_allclose(every[:, -1], last[:, 0], atol=TOLERANCE)
    _, short = engine.run(ids[1:, :2], lengths[1:], engine.zero_state(1), 2)
    np.testing.assert_allclose(every[1, 2:], short[0], atol=TOLERANCE)


def test_a_token_outside_the_vocabulary_is_a_failed_run(engine: Engine) -> None:
    """ONNX Runtime's own error is the cause, not the answer."""
    with pytest.raises(ModelRunError, match=engine.model_id) as failed:
        engine.run(np.array([[10**9]]), np.array([1]), engine.zero_state(1), 1)
    assert failed.value.__cause__ is not None


class Broken:
    """A session whose outputs hold something that is no number."""

    def __init__(self, state: float, logit: float) -> None:
        self._state = np.array([[0.5, state]], np.float32)
        self._logits = np.array([[[logit, 0.5]]], np.float32)

    def run(self, output_names: None, input_feed: Mapping[str, object]) -> list[FloatArray]:
        """As ONNX Runtime's."""
        return [self._state, self._logits]


@pytest.mark.parametrize(("state", "logit"), [(np.nan, 1), (1, np.nan), (np.inf, 1), (1, -np.inf)])
def test_an_output_that_is_no_number_is_an_error(bundles: Path, state: float, logit: float) -> None:
    """A client gets 503, not a 200 with null."""
    broken = Engine(load_manifest(bundles / "sentiment-en"), Broken(state, logit))
    with pytest.raises(NonFiniteOutputError, match="sentiment-en@1"):
        broken.run(np.array([[1]]), np.array([1]), np.zeros((1, 2), np.float32), 1)


def test_large_but_finite_outputs_are_answers(bundles: Path) -> None:
    """The check is for numbers, not for sizes."""
    large = Engine(load_manifest(bundles / "sentiment-en"), Broken(1e30, -1e30))
    large.run(np.array([[1]]), np.array([1]), np.zeros((1, 2), np.float32), 1)
