"""Tests of ``export/evaluate_sentiment.py`` on a hand-made corpora folder."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.evaluate_sentiment import (
    EVALUATION_SETS,
    EvaluationSet,
    accuracy_as_typed,
    evaluation_sets,
    own_set,
    read_set,
    seed_answers,
    set_result,
)
from export.metrics import softmax
from export.scoring import OpenBundle
from models.corpora import LONG_ENOUGH, SENTIMENT, Example
from models.negation import _expanded, negation_examples
from models.negation_texts import TEXTS
from models.tokenizer import Language
from tests.export.likeness import FEWEST_WORDS, alike, words


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A corpora folder with a few rows of some sets."""
    reviews = [{"text": f"文本{i}", "label": i % 2, "in_train": i < 4} for i in range(10)]
    write_rows(tmp_path / "chnsenticorp/test.jsonl.gz", reviews)
    write_rows(tmp_path / "mr_rt_polarity/all.jsonl.gz", [
        {"text": "in sst", "label": 1, "in_sst": "test"}, {"text": "elsewhere", "label": 0, "in_sst": None},
    ])  # fmt: skip
    write_rows(tmp_path / "semeval2017_4a/test.jsonl.gz", [{"text": f"tweet {i}", "label": i} for i in range(3)])
    return tmp_path


def set_named(key: str) -> EvaluationSet:
    return next(s for sets in EVALUATION_SETS.values() for s in sets if s.key == key)


def test_the_clean_set_holds_no_row_that_stands_in_train(data: Path) -> None:
    """ChnSentiCorp's own test part repeats training rows; both numbers are reported."""
    everything = read_set(data, set_named("chnsenticorp_test"))
    clean = read_set(data, set_named("chnsenticorp_clean_test"))

    assert len(everything) == 10
    assert [e.text for e in clean] == [f"文本{i}" for i in range(4, 10)]


def test_mr_is_measured_outside_sst_alone(data: Path) -> None:
    """Its other rows are SST sentences, which the model has seen."""
    assert [e.text for e in read_set(data, set_named("mr_test"))] == ["elsewhere"]


def test_neutral_rows_are_left_out_not_taken_for_positive(data: Path) -> None:
    """In three-way sets 1 is neutral and 2 positive."""
    assert [(e.text, e.label) for e in read_set(data, set_named("semeval_test"))] == [("tweet 0", 0), ("tweet 2", 1)]


def test_a_limit_draws_the_same_rows_every_time(data: Path) -> None:
    """Models measured on a part are measured on the same part."""
    drawn = [[e.text for e in read_set(data, set_named("chnsenticorp_test"), limit=4)] for _ in range(2)]

    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4


@pytest.mark.parametrize("language", ["en", "zh"])
def test_dev_sets_touch_no_test_part(language: Any) -> None:
    """What chooses a model never sees a test row."""
    sets = evaluation_sets(language, dev=True)

    assert sets
    assert {s.part for s in sets} == {"dev"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_set_is_one_that_the_readers_know(language: Any) -> None:
    """Keys are unique, since they name the measures in the manifest; the language is the model's."""
    sets = EVALUATION_SETS[language]

    assert len({s.key for s in sets}) == len(sets)
    assert {SENTIMENT[s.corpus].language for s in sets if not s.texts} == {language}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("part", "rows"), [("dev", 298), ("test", 200)])
def test_everyday_texts_are_half_positive_and_none_trains_but_common_phrases(
    language: Any, part: str, rows: int
) -> None:
    """They need no corpora folder; texts that a finished training text equals are short ones ("never again")."""
    sets = evaluation_sets(language, dev=part == "dev")
    examples = read_set(Path(), next(s for s in sets if s.key == f"everyday_{part}"))
    long = {e.text for e in examples if len(re.findall(r"\w", e.text)) > LONG_ENOUGH[language]}

    assert sum(e.label for e in examples) * 2 == len(examples) == rows
    assert len(long) > 100
    assert not long & {text for text, _ in negation_examples(language, 100_000, seed=0)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_training_text_is_like_an_everyday_text(language: Language) -> None:
    """Opinions and whole texts that train; stock phrases of a few words are nobody's."""
    fewest = FEWEST_WORDS[language]
    sets = [s for dev in (True, False) for s in evaluation_sets(language, dev=dev) if s.texts]
    asked = [w for s in sets for text, _ in s.texts if len(w := words(text, language)) >= fewest]
    kinds = [TEXTS[language].kinds[kind] for kind in ("implied", "everyday")]
    frames = [frame for kind in kinds for frame in (*kind.keep_good, *kind.keep_bad)]
    texts = set(_expanded(TEXTS[language], tuple(frames)))
    trained = [w for text in texts if len(w := words(text, language)) >= fewest]

    assert len(sets) == 2
    assert len(trained) > 4_000
    assert not [(" ".join(a), " ".join(b)) for a in asked for b in trained if alike(a, b)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_everyday_text_both_chooses_and_tests(language: Language) -> None:
    """Not even in other letter case or with other marks."""
    dev, test = (
        {" ".join(words(text, language)) for s in evaluation_sets(language, dev=dev) for text, _ in s.texts}
        for dev in (True, False)
    )

    assert dev
    assert test
    assert not dev & test


def test_own_texts_make_a_set_named_after_their_file(tmp_path: Path) -> None:
    """A user measures a bundle on a CSV with the columns text and label."""
    (tmp_path / "My Reviews.csv").write_text("text,label\nfine,positive\nbad,negative\n", encoding="utf-8")

    own, examples = own_set(tmp_path / "My Reviews.csv", ["negative", "positive"])

    assert own.key == "my_reviews"
    assert [(e.text, e.label) for e in examples] == [("fine", 1), ("bad", 0)]


def test_measures_carry_the_name_of_their_set() -> None:
    """``waimai_test`` and 75 % make ``waimai_test_accuracy: 0.75`` in the manifest."""
    probabilities = softmax(np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]]))

    result = set_result(set_named("waimai_test"), probabilities, np.array([0, 1, 1, 1]))

    assert (result.key, result.accuracy, result.rows) == ("waimai_test", 0.75, 4)


def test_accuracy_is_measured_on_texts_as_people_type_them(bundles: Path) -> None:
    """Of the same texts; a way that changes none is left out."""
    bundle = OpenBundle.open(bundles / "sentiment-zh")
    plain = [Example(text, label, "own") for text, label in (("很好看", 1), ("不好看", 0))]
    marked = [Example(e.text + "。", e.label, "own") for e in plain]

    assert list(accuracy_as_typed(bundle, plain)) == ["as they are"]
    found = accuracy_as_typed(bundle, marked)
    assert list(found) == ["as they are", "marks left out"]
    assert found["marks left out"] == accuracy_as_typed(bundle, plain)["as they are"]


def test_seed_sentences_are_asked_in_the_model_s_language(bundles: Path) -> None:
    """Each answer says what was expected and how sure the model is."""
    answers = seed_answers(OpenBundle.open(bundles / "sentiment-zh"))

    assert [(a.text, a.expected) for a in answers] == [("这部电影不好看", "negative"), ("这部电影好看", "positive")]
    assert all(0.5 <= a.probability <= 1 for a in answers)
