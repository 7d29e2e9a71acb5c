"""Next word: what is taken off the text's end, and whole words from a real (tiny) model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.engine import IntArray
from service.errors import InvalidRequestError, UnknownModelError
from service.language_model import END_ID, NEVER_GENERATED, START_ID, LanguageModel
from service.metrics import Metrics, ModelMetrics
from service.next_word import NextWordPredictor, NextWords, root_of, spaced_root, typed_word, unspaced_root
from service.registry import ModelRegistry, load_models
from service.settings import BatchingSettings, LimitSettings
from service.state_cache import StateCache
from service.tokenizer import Pieces
from service.word_search import Phase, PieceTable

shared_loop = pytest.mark.asyncio(loop_scope="module")  # a batcher stays with the loop that it first ran on


@pytest.fixture(scope="module")
def registry(bundles: Path) -> Iterator[ModelRegistry]:
    metrics = Metrics()
    loaded = load_models(bundles, 1, BatchingSettings(), lambda model_id: ModelMetrics(metrics, model_id))
    yield loaded
    loaded.close()


def predictor(registry: ModelRegistry, cache_bytes: int = 1_000_000) -> NextWordPredictor:
    models = {m.id: LanguageModel(m, StateCache(cache_bytes)) for m in registry if m.manifest.task == "language-model"}
    return NextWordPredictor(registry, models, LimitSettings(max_chars=2000), Metrics())


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("I'll see you tom", "tom"),
        ("I don't", "don't"),
        ("I don'", "don'"),
        ("they said '", ""),
        ("well-kno", "kno"),
        ("in 199", "199"),
        ("end. ", ""),
        ("", ""),
        ("naïve cafe\u0301", "cafe\u0301"),
    ],
)
def test_the_half_typed_word_is_taken_off(text: str, typed: str) -> None:
    assert text[typed_word(text) :] == typed


def cut(text: str, *pieces: str) -> tuple[Pieces, PieceTable]:
    """Pieces that spell the text, and a table that holds just them and a few longer ones."""
    vocabulary = [*pieces, "电影", "电影院"]
    table = PieceTable([None, None, None, *(p.encode() for p in vocabulary)], END_ID, spaced=text.isascii())
    starts = np.cumsum([0, *map(len, pieces)]).tolist()
    return Pieces([vocabulary.index(p) + 3 for p in pieces], starts[:-1], starts[1:]), table


def spelled(table: PieceTable, ids: list[int] | tuple[int, ...]) -> str:
    return b"".join(table.pieces[token] for token in ids).decode()


@pytest.mark.parametrize(
    ("pieces", "stem", "path", "prefix"),
    [
        (("I", " see", " tom"), "I see", " tom", "tom"),
        (("I", " do", "n't"), "I", " don't", "don't"),
        (("I", " see", " "), "I see", "", ""),
        (("Well", ","), "Well,", "", ""),
        (("tom",), "", "tom", "tom"),
        ((), "", "", ""),
    ],
)
def test_an_english_search_starts_before_the_half_typed_word(
    pieces: tuple[str, ...], stem: str, path: str, prefix: str
) -> None:
    text = "".join(pieces)
    encoded, table = cut(text, *pieces)
    root = spaced_root(text, encoded, table)

    assert (spelled(table, root.stem), spelled(table, root.path), root.prefix) == (stem, path, prefix)


def test_the_space_at_the_end_belongs_to_the_word_that_comes() -> None:
    encoded, table = cut("I see ", "I", " see", " ")

    assert spaced_root("I see ", encoded, table).reader.required == b" "


def test_of_a_very_long_word_only_the_end_is_searched_for() -> None:
    pieces = [" a", *["na"] * 60]
    encoded, table = cut("".join(pieces), *pieces)
    root = spaced_root("".join(pieces), encoded, table)

    assert len(root.reader.required) == 32
    assert root.prefix == "a" + "na" * 60


@pytest.mark.parametrize(
    ("pieces", "stem", "required"),
    [
        (("我", "看", "电"), "我看", "电"),  # 电影 spans the end
        (("我", "看", "电影"), "我看", "电影"),  # 电影院 does
        (("我", "看"), "我看", ""),  # nothing begins with 看
        (("我", "看", "电影院"), "我看电影院", ""),
        (("看电", "影"), "", "看电影"),  # 电影院 may, and 电 is in 看电
        ((), "", ""),
    ],
)
def test_a_chinese_search_starts_where_a_piece_could_span_the_end(
    pieces: tuple[str, ...], stem: str, required: str
) -> None:
    encoded, table = cut("我" + "".join(pieces), *pieces)
    root = unspaced_root(encoded, table)

    assert (spelled(table, root.stem), root.reader.required.decode(), spelled(table, root.path)) == (
        stem,
        required,
        required,
    )


def word_probability(lm: LanguageModel, text: str, word: str) -> float:
    """By the model's own numbers: all spellings of " word", each followed by an end of the word, given that a space comes."""
    stem = [START_ID, *lm.tokenizer.encode(text).ids]

    def follow(ids: list[int], rest: bytes) -> float:
        row = run(ids)
        if not rest:
            ends = lm.table.ends[Phase.WORD]
            assert ends[END_ID] == 1
            return float(row @ ends)
        return sum(
            float(row[token]) * follow([*ids, token], rest[len(lm.table.pieces[token]) :])
            for token in [*lm.table.within(rest), *lm.table.exactly(rest)]
        )

    def run(ids: list[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        logits = lm.batcher._engine.run(
            np.array([ids]), np.array([len(ids)]), np.zeros((1, lm.manifest.state_size), np.float32), 1
        )[1]
        weights = np.exp(logits[0, -1].astype(np.float64))
        weights[list(NEVER_GENERATED)] = 0
        return np.asarray(weights / weights.sum())

    space = float(run(stem)[lm.table.extending(b" ")].sum())
    return follow(stem, (" " + word).encode()) / space


@shared_loop
async def test_probabilities_bracket_those_of_the_model(registry: ModelRegistry) -> None:
    result = await predictor(registry).predict("This movie is ", top_k=3)
    lm = LanguageModel(registry.get("lm-en"), StateCache(0))

    assert len(result.candidates) == 3
    for candidate in result.candidates:
        true = word_probability(lm, "This movie is", candidate.word)
        assert candidate.probability - 1e-4 <= true <= candidate.probability + result.unexplored + 1e-4
        assert candidate.completion == candidate.word


@shared_loop
async def test_candidates_complete_what_was_typed(registry: ModelRegistry) -> None:
    result = await predictor(registry).predict("I will see you t", top_k=4)

    assert result.model == "lm-en@1"
    assert result.prefix == "t"
    assert result.candidates
    for candidate in result.candidates:
        assert candidate.word.startswith("t")
        assert candidate.word == "t" + candidate.completion
    assert sum(c.probability for c in result.candidates) + result.unexplored <= 1 + 1e-6


@shared_loop
async def test_chinese_text_is_answered_in_chinese(registry: ModelRegistry) -> None:
    result = await predictor(registry).predict("我明天去看电")

    assert result.model == "lm-zh@1"
    assert all(candidate.completion for candidate in result.candidates)
    assert all(candidate.word.endswith(candidate.completion) for candidate in result.candidates)


TEXTS = [
    "",
    " ",
    "T",
    "I will see you tomorrow",
    "Well, ",
    "don'",
    "我",
    "电影 ",
    "12",
    "\n",
    "\0",
    "🙂",
    "مرحبا",
    "a" * 100,
    "x y z",
    "电影abc",
    "¿",
    "ﷺ",
    "e\u0301",
    "…'",
]


@pytest.mark.parametrize("text", TEXTS)
@shared_loop
async def test_any_text_gets_proper_words(registry: ModelRegistry, text: str) -> None:
    """Empty, blank, control characters, emoji, right-to-left, mixed scripts: never an error, never half a character."""
    for model in (None, "lm-en", "lm-zh"):
        result = await predictor(registry).predict(text, model=model, top_k=10)

        assert 0 <= result.unexplored <= 1
        for candidate in result.candidates:
            assert candidate.word.isprintable()
            assert "�" not in candidate.word
            assert 0 < candidate.probability <= 1
        assert len({candidate.completion for candidate in result.candidates}) == len(result.candidates)
        assert len({candidate.word for candidate in result.candidates}) == len(result.candidates)


@given(text=st.text(max_size=40) | st.text("ab' \n’电影不我1.ﷺé\u0301", max_size=40))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("model", ["lm-en", "lm-zh"])
def test_the_root_stands_before_what_is_searched_for(registry: ModelRegistry, model: str, text: str) -> None:
    """Stem and path together are the text's own pieces, and the path spells what is required."""
    loaded = registry.get(model)
    lm = LanguageModel(loaded, StateCache(0)) if model not in BUILT else BUILT[model]
    BUILT[model] = lm
    pieces = loaded.tokenizer.encode(text)
    root = root_of(text, pieces, lm)
    surface = b"".join(lm.table.pieces[token] for token in pieces.ids)
    stem = b"".join(lm.table.pieces[token] for token in root.stem)
    required = root.reader.required

    assert pieces.ids[: len(root.stem)] == root.stem
    assert surface in {stem + required, stem + b" "}
    assert not root.path or b"".join(lm.table.pieces[token] for token in root.path) == required


BUILT: dict[str, LanguageModel] = {}  # a table takes a while to make


def close(a: NextWords, b: NextWords) -> bool:
    return (
        len(a.candidates) == len(b.candidates)
        and all(
            x.word == y.word and math.isclose(x.probability, y.probability, abs_tol=1e-4)
            for x, y in zip(a.candidates, b.candidates, strict=True)
        )
        and math.isclose(a.unexplored, b.unexplored, abs_tol=1e-3)
    )


@shared_loop
async def test_the_answer_is_the_same_with_the_cache_on_and_off(registry: ModelRegistry) -> None:
    """While somebody types, letter by letter, and again."""
    cached, uncached = predictor(registry), predictor(registry, cache_bytes=0)
    for text in ("I will see you tomorrow, or the day", "我明天去看电影，你去不去"):
        for _ in range(2):
            for end in range(len(text) + 1):
                assert close(await cached.predict(text[:end]), await uncached.predict(text[:end]))


@shared_loop
async def test_while_a_word_is_typed_the_text_before_it_is_not_read_again(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One letter more costs the rows that follow its spellings, in as few runs."""
    use_case = predictor(registry)
    text = "I will see you tomorrow, or the day after t"
    await use_case.predict(text)
    engine = registry.get("lm-en").engine
    run = engine.run
    longest: list[int] = []

    def counted(input_ids: IntArray, *rest: Any) -> Any:
        longest.append(input_ids.shape[1])
        return run(input_ids, *rest)

    monkeypatch.setattr(engine, "run", counted)
    await use_case.predict(text + "o")

    assert 1 <= len(longest) <= 5
    assert max(longest) <= 5  # the pieces of a word, not those of the text


@shared_loop
async def test_rows_of_concurrent_requests_share_runs_without_changing_answers(registry: ModelRegistry) -> None:
    use_case = predictor(registry)
    texts = [text for text in TEXTS if text.isascii()]
    alone = [await use_case.predict(text) for text in texts]
    together = await asyncio.gather(*(use_case.predict(text) for text in texts))

    assert all(close(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("text", "top_k", "pointer", "code"),
    [
        ("a" * 2001, 5, "/text", "too_long"),
        (" " * 2001, 5, "/text", "too_long"),
        ("\ud800", 5, "/text", "lone_surrogate"),
        ("a", 0, "/top_k", "too_small"),
        ("a", 51, "/top_k", "too_large"),
    ],
)
@shared_loop
async def test_bad_input_is_named(registry: ModelRegistry, text: str, top_k: int, pointer: str, code: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        await predictor(registry).predict(text, top_k=top_k)

    assert [(error.pointer, error.code) for error in raised.value.errors] == [(pointer, code)]


@shared_loop
async def test_a_sentiment_model_predicts_no_words(registry: ModelRegistry) -> None:
    with pytest.raises(UnknownModelError):
        await predictor(registry).predict("a", model="sentiment-en")
