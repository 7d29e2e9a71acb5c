"""From texts to labels: stable probabilities, every wrong text named, one bad row no harm to other requests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.engine import FloatArray, IntArray
from service.errors import InvalidRequestError, NonFiniteOutputError
from service.metrics import Metrics, ModelMetrics
from service.registry import ModelRegistry, load_models
from service.sentiment import SentimentClassifier, check_text, softmax
from service.settings import BatchingSettings, LimitSettings

TOLERANCE = 1e-5  # float32 sums in another order


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """What is counted."""
    return Metrics()


@pytest.fixture(scope="module")
def registry(bundles: Path, metrics: Metrics) -> Iterator[ModelRegistry]:
    """The tiny models; a small chunk, so that ordinary texts run in several."""
    loaded = load_models(bundles, 1, BatchingSettings(chunk_tokens=7), lambda name: ModelMetrics(metrics, name))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def classifier(registry: ModelRegistry, metrics: Metrics) -> SentimentClassifier:
    """The use case on them."""
    return SentimentClassifier(registry, LimitSettings(max_chars=500, max_texts=20, max_trace_tokens=100), metrics)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.floats(0.1, 10))
def test_softmax_is_a_distribution_at_any_size_of_logit(logits: list[float], temperature: float) -> None:
    """exp(-1e6) is 0, not an error; exp(1e6) never happens."""
    probabilities = softmax(logits, temperature)

    assert math.isclose(sum(probabilities), 1.0, rel_tol=1e-9)
    assert all(0 <= probability <= 1 for probability in probabilities)
    assert probabilities[logits.index(max(logits))] == max(probabilities)


def test_temperature_softens_and_keeps_the_label() -> None:
    """Calibration changes how sure, not what."""
    assert softmax([0.0, 2.0], 2.0) == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text("abcdefgh nott good movie 不好看电影，!'5", min_size=1, max_size=80).filter(
            lambda text: not text.isspace()
        ),
        min_size=2,
        max_size=12,
    )
)
def test_a_text_s_result_is_the_same_in_any_company(classifier: SentimentClassifier, texts: list[str]) -> None:
    """Alone, in a list, with or without a trace, in chunks."""

    async def scenario() -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
        together = await classifier.classify(texts)
        traced = await classifier.classify(texts, trace=True)
        alone = [(await classifier.classify([text]))[0] for text in texts]
        together_again = await asyncio.gather(*(classifier.classify([text]) for text in texts))
        for (again,), result in zip(together_again, together, strict=True):
            assert again.tokens == result.tokens
        return tuple(  # type: ignore[return-value]  # three lists
            [list(result.probabilities.values()) for result in results] for results in (together, traced, alone)
        )

    together, traced, alone = asyncio.run(scenario())

    np.testing.assert_allclose(together, alone, atol=TOLERANCE)
    np.testing.assert_allclose(traced, alone, atol=TOLERANCE)


async def test_every_wrong_text_of_a_list_is_named(classifier: SentimentClassifier) -> None:
    """All at once, so that a caller corrects once."""
    with pytest.raises(InvalidRequestError) as refused:
        await classifier.classify(["good", "", "x" * 501, "half \ud800"])
    assert [(error.pointer, error.code) for error in refused.value.errors] == [
        ("/texts/1", "blank"),
        ("/texts/2", "too_long"),
        ("/texts/3", "lone_surrogate"),
    ]
    assert "500" in refused.value.errors[1].detail


@pytest.mark.parametrize("count", [0, 21])
async def test_the_number_of_texts_is_limited(classifier: SentimentClassifier, count: int) -> None:
    """And the limit is said."""
    with pytest.raises(InvalidRequestError, match="20"):
        await classifier.classify(["good"] * count)


async def test_a_long_trace_is_refused_not_cut(classifier: SentimentClassifier) -> None:
    """The text alone is within its limit."""
    text = "good " * 90 + "12345678901234567890"
    assert (await classifier.classify([text]))[0].tokens > 100
    with pytest.raises(InvalidRequestError, match="the limit with trace is 100"):
        await classifier.classify([text], trace=True)


@given(st.text())
def test_any_text_is_either_fine_or_named(text: str) -> None:
    """No third way."""
    found = check_text(text, "/text", 10)
    blank, long = not text.strip(), len(text) > 10
    assert (found is None) == (not blank and not long) or (found is not None and found.code == "lone_surrogate")


async def test_a_text_whose_outputs_are_no_numbers_fails_alone(
    classifier: SentimentClassifier, registry: ModelRegistry, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts of other requests in the same run are answered, and the failure is counted."""
    engine = registry.get("sentiment-en").engine
    real = engine.run
    *_, bad = registry.get("sentiment-en").tokenizer.ids("9")

    def broken(ids: IntArray, lengths: IntArray, state: FloatArray, keep: int) -> tuple[FloatArray, FloatArray]:
        if (ids == bad).any():
            raise NonFiniteOutputError("NaN")
        return real(ids, lengths, state, keep)

    monkeypatch.setattr(engine, "run", broken)
    outcomes = await asyncio.gather(
        *(classifier.classify([text]) for text in ("good", "9", "not good")), return_exceptions=True
    )

    assert [isinstance(outcome, NonFiniteOutputError) for outcome in outcomes] == [False, True, False]
    assert metrics.failed_rows.values["sentiment-en@1", "non_finite_output"] == 1
