"""Texts that arrive in parts: the same answer as at once, wherever they are cut and whoever reads on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.batching import Batcher, RowResult
from service.errors import InvalidRequestError, StateTokenWrongModelError, UnknownModelError, UnsettledTextError
from service.metrics import Metrics, ModelMetrics
from service.registry import LoadedModel, ModelRegistry, load_models
from service.running_text import StateTokens, read_sentiment, read_text, start_of_text
from service.schemas import SentimentResult
from service.sentiment import SentimentClassifier
from service.settings import BatchingSettings, LimitSettings
from service.state_token import StateSealer
from tests.service.test_tokenizer import any_text, tricky_text

LIMITS = LimitSettings()
KEY = bytes(range(32))
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def registry(bundles: Path) -> Iterator[ModelRegistry]:
    """All tiny bundles."""
    metrics = Metrics()
    loaded = load_models(bundles, 1, BatchingSettings(), lambda name: ModelMetrics(metrics, name))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One loop for the module: batchers belong to the loop they first ran on."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


async def in_parts(
    model: LoadedModel, parts: list[str], states: StateTokens | None = None
) -> tuple[SentimentResult | None, str]:
    """The last answer and the text it is for; with ``states`` each part goes on from a sealed token."""
    standing, result, text = start_of_text(model), None, ""
    for part in parts:
        if states is not None and standing.tail:
            _, standing = states.begin(states.seal(model, standing), "sentiment", None, part)
        try:
            result, standing = await read_sentiment(model, standing, part, LIMITS, trace=True)
            text += part
        except InvalidRequestError:  # nothing but blanks so far: the text stands where it stood
            assert not standing.tokens
            assert not model.tokenizer.ids((standing.tail + part).strip())
    return result, text


@pytest.mark.parametrize("name", ["sentiment-en", "sentiment-zh"])
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(any_text | tricky_text, min_size=1, max_size=6))
@example(parts=["good <br />"])
@example(parts=["good <br> <br>", "\n"])
@example(parts=["A A \n", " <br>"])
@example(parts=["so good <", "b", "r", " /", ">", "  "])
@example(parts=["<", "br>", "很好。", "<br>\n", " <br>", "!"])
def test_a_text_in_parts_gets_the_answer_of_the_whole(
    registry: ModelRegistry, loop: asyncio.AbstractEventLoop, name: str, parts: list[str]
) -> None:
    """Any cut, even inside a word or a character sequence, through sealed tokens: the same prediction and token count."""
    states = StateTokens(registry, StateSealer([KEY], lambda: 0.0))
    classifier = SentimentClassifier(registry, LIMITS, Metrics())

    found, whole = loop.run_until_complete(in_parts(registry.get(name), parts, states))
    if found is None:
        assert not whole
        return
    (expected,) = loop.run_until_complete(classifier.classify([whole], model=name))

    assert found.probabilities == pytest.approx(expected.probabilities, abs=TOLERANCE)
    assert found.tokens == expected.tokens


def test_the_trace_of_a_later_part_counts_from_the_start_of_the_text(
    registry: ModelRegistry, loop: asyncio.AbstractEventLoop
) -> None:
    """Offsets are those of the whole text, so a client can paint them on what it has."""
    parts, whole = ["This movie is ", "not good. I li", "ked it!"], "This movie is not good. I liked it!"
    model = registry.get("sentiment-en")
    classifier = SentimentClassifier(registry, LIMITS, Metrics())

    (expected,) = loop.run_until_complete(classifier.classify([whole], model="sentiment-en", trace=True))
    found, _ = loop.run_until_complete(in_parts(model, parts))

    assert expected.trace
    assert found is not None
    assert found.trace
    tail = expected.trace[-len(found.trace) :]
    assert [(point.token, point.start, point.end) for point in found.trace] == [
        (point.token, point.start, point.end) for point in tail
    ]
    assert found.trace[-1].probabilities == found.probabilities


def test_a_state_goes_on_with_its_own_model_whatever_the_script_of_the_next_part(registry: ModelRegistry) -> None:
    """A Chinese review may end in English."""
    states = StateTokens(registry, StateSealer([KEY], lambda: 0.0))
    chinese = registry.get("sentiment-zh")
    token = states.seal(chinese, start_of_text(chinese))

    model, _ = states.begin(token, "sentiment", None, "very good")

    assert model.id == "sentiment-zh@1"


def test_a_state_of_another_model_or_task_is_refused(registry: ModelRegistry) -> None:
    """Also where the other model is loaded too."""
    states = StateTokens(registry, StateSealer([KEY], lambda: 0.0))
    chinese = registry.get("sentiment-zh")
    token = states.seal(chinese, start_of_text(chinese))

    with pytest.raises(StateTokenWrongModelError):
        states.begin(token, "sentiment", "sentiment-en", "good")
    with pytest.raises(StateTokenWrongModelError):
        states.begin(token, "language-model", None, "good")
    with pytest.raises(UnknownModelError):
        states.begin(token, "sentiment", "nothing", "good")


@pytest.mark.parametrize("part", [" " * 31, "\n" * 31, "a" * 31])
def test_a_part_over_the_limit_is_refused_whatever_it_holds(
    registry: ModelRegistry, loop: asyncio.AbstractEventLoop, part: str
) -> None:
    """Blanks alone may go on from a text, but millions of them would hold the service up."""
    model, limits = registry.get("sentiment-en"), LimitSettings(max_chars=30)
    _, standing = loop.run_until_complete(read_sentiment(model, start_of_text(model), "good", limits))

    with pytest.raises(InvalidRequestError) as raised:
        loop.run_until_complete(read_sentiment(model, standing, part, limits))

    assert [error.code for error in raised.value.errors] == ["too_long"]


@pytest.mark.parametrize("name", ["sentiment-en", "lm-en"])
def test_an_end_that_cannot_be_carried_is_named(
    registry: ModelRegistry, loop: asyncio.AbstractEventLoop, name: str
) -> None:
    """A client that checks its fields by ``errors`` finds this one too."""
    model = registry.get(name)
    part = "a" * 600
    read: Coroutine[Any, Any, Any] = (
        read_sentiment(model, start_of_text(model), part, LIMITS)
        if name == "sentiment-en"
        else read_text(model, start_of_text(model), part)
    )

    with pytest.raises(UnsettledTextError) as raised:
        loop.run_until_complete(read)

    assert [(error.pointer, error.code) for error in raised.value.errors] == [("/text", "unsettled_text_too_long")]


def test_time_for_a_part_does_not_grow_with_what_came_before(
    registry: ModelRegistry, loop: asyncio.AbstractEventLoop
) -> None:
    """After a long text the next part reads its own tokens and the tail alone."""
    model = registry.get("sentiment-en")
    standing = start_of_text(model)
    _, standing = loop.run_until_complete(read_sentiment(model, standing, "a good movie. " * 2000, LIMITS))
    counting = CountingBatcher(model.batcher)

    loop.run_until_complete(read_sentiment(replace(model, batcher=counting), standing, "not bad", LIMITS))

    assert 0 < counting.tokens < 12


class CountingBatcher(Batcher):
    """Passes rows on to another batcher and counts their tokens."""

    def __init__(self, inner: Batcher) -> None:
        self.inner, self.tokens = inner, 0

    async def run(self, input_ids: Any, *rest: Any, **options: Any) -> RowResult:
        """Count, and pass on."""
        self.tokens += len(input_ids)
        return await self.inner.run(input_ids, *rest, **options)
