"""A language model at work: what is kept between texts changes how much is run, never what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import service.language_model as language_model
from service.engine import Engine, FloatArray, IntArray
from service.language_model import CHECKPOINT_TOKENS, START_ID, LanguageModel, text_error
from service.metrics import Metrics, ModelMetrics
from service.registry import ModelRegistry, load_models
from service.settings import BatchingSettings
from service.state_cache import StateCache

shared_loop = pytest.mark.asyncio(loop_scope="module")  # a batcher stays with the loop that it first ran on

TOLERANCE = 1e-4  # of logits: the same sums in another order


@pytest.fixture(scope="module")
def registry(bundles: Path) -> Iterator[ModelRegistry]:
    metrics = Metrics()
    loaded = load_models(bundles, 1, BatchingSettings(), lambda model_id: ModelMetrics(metrics, model_id))
    yield loaded
    loaded.close()


@pytest.fixture
def lm(registry: ModelRegistry) -> LanguageModel:
    return LanguageModel(registry.get("lm-en"), StateCache(1_000_000))


@pytest.fixture
def tokens_run(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of each row that went through the English model."""
    engine: Engine = registry.get("lm-en").engine
    run, lengths_run = engine.run, []

    def counted(input_ids: IntArray, lengths: IntArray, *rest: Any) -> tuple[FloatArray, FloatArray]:
        lengths_run.extend(lengths.tolist())
        return run(input_ids, lengths, *rest)

    monkeypatch.setattr(engine, "run", counted)
    return lengths_run


def ids(count: int, seed: int = 0) -> list[int]:
    return [START_ID, *np.random.default_rng(seed).integers(3, 300, count - 1).tolist()]


def whole(lm: LanguageModel, input_ids: list[int]) -> FloatArray:
    """(V,) by one run over everything."""
    engine = lm.model.engine
    logits: FloatArray = engine.run(np.array([input_ids]), np.array([len(input_ids)]), engine.zero_state(1), 1)[1][
        0, -1
    ]
    return logits


@shared_loop
@pytest.mark.parametrize("length", [1, 2, 30, CHECKPOINT_TOKENS, CHECKPOINT_TOKENS + 1, 3 * CHECKPOINT_TOKENS + 5])
async def test_reading_gives_the_models_logits_with_and_without_what_is_kept(lm: LanguageModel, length: int) -> None:
    for _ in range(2):
        read = await lm.read(ids(length))
        assert read.logits == pytest.approx(whole(lm, ids(length)), abs=TOLERANCE)


@shared_loop
async def test_a_text_that_was_read_costs_one_token_more(lm: LanguageModel, tokens_run: list[int]) -> None:
    await lm.read(ids(40))
    tokens_run.clear()
    again = await lm.read(ids(40))
    longer = await lm.read([*ids(40), 7])

    assert tokens_run == [1, 1]
    assert (again.cached, longer.cached) == (39, 40)


@shared_loop
async def test_long_texts_that_share_their_beginning_share_its_state(lm: LanguageModel, tokens_run: list[int]) -> None:
    shared = ids(2 * CHECKPOINT_TOKENS)
    await lm.read([*shared, *ids(50, seed=1)])
    tokens_run.clear()
    other = await lm.read([*shared, *ids(50, seed=2)])

    assert other.cached == 2 * CHECKPOINT_TOKENS
    assert sum(tokens_run) == 50


@shared_loop
async def test_callers_do_not_share_what_is_kept(lm: LanguageModel) -> None:
    await lm.read(ids(20), "a")
    await lm.read_again(ids(20), "a")

    assert (await lm.read(ids(20), "b")).cached == 0
    assert (await lm.read_again(ids(20), "c")).cached == 0


@shared_loop
async def test_the_logits_of_a_text_and_its_continuations_are_kept(lm: LanguageModel, tokens_run: list[int]) -> None:
    """While a word is typed: the second time nothing is run, and a continuation is a text of its own."""
    paths = [(5,), (6, 7), (8,)]
    read = await lm.read_again(ids(30))
    first = await lm.follow(read, paths)
    tokens_run.clear()
    second = await lm.follow(await lm.read_again(ids(30)), paths)
    continued = await lm.read_again([*ids(30), 6, 7])

    assert tokens_run == []
    for path, one, two in zip(paths, first, second, strict=True):
        assert one == pytest.approx(whole(lm, [*ids(30), *path]), abs=TOLERANCE)
        assert (one == two).all()
    assert (continued.logits == first[1]).all()


@shared_loop
async def test_spelling_gives_the_logits_after_every_piece_in_one_run(lm: LanguageModel, tokens_run: list[int]) -> None:
    read = await lm.read_again(ids(30))
    tokens_run.clear()
    logits = await lm.spell(read, (5, 6, 7))
    await lm.spell(read, (5, 6, 7))
    longer = await lm.spell(read, (5, 6, 7, 8))

    assert tokens_run[0] == 3
    for length in range(4):
        assert logits[length] == pytest.approx(whole(lm, [*ids(30), 5, 6, 7][: 30 + length]), abs=TOLERANCE)
    assert longer[-1] == pytest.approx(whole(lm, [*ids(30), 5, 6, 7, 8]), abs=TOLERANCE)


@shared_loop
async def test_what_is_kept_is_bounded(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lm._max_known = 5
    for seed in range(10):
        await lm.follow(await lm.read_again(ids(10, seed)), [(5,), (6,)])

    assert len(lm._known) == 5
    monkeypatch.setattr(language_model, "MAX_KNOWN_TOKENS", 20)
    await lm.read_again(ids(30))
    assert len(lm._known) == 5
    assert max(len(key[1]) for key in lm._known) < 30 * 4


@shared_loop
async def test_without_a_cache_nothing_is_kept(registry: ModelRegistry) -> None:
    lm = LanguageModel(registry.get("lm-en"), StateCache(0))
    read = await lm.read_again(ids(10))
    logits = await lm.follow(read, [(5,)])

    assert not lm._known
    assert logits[0] == pytest.approx(whole(lm, [*ids(10), 5]), abs=TOLERANCE)


def test_a_text_may_be_blank_but_not_too_long_or_broken() -> None:
    assert text_error("", "/text", 5) is None
    assert text_error("  ", "/text", 5) is None
    assert (text_error("abcdef", "/text", 5) or pytest.fail("too long")).code == "too_long"
    assert (text_error("\ud800", "/text", 5) or pytest.fail("broken")).code == "lone_surrogate"
