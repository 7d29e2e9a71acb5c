"""Tests of ``export/baselines.py``: every contender answers, and the fitted ones have learnt something."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from export.baselines import LEXICONS, BundleContender, Contender, Lexicon, Linear, Majority
from export.footprint import resident_megabytes
from models.corpora import Example

ENGLISH = [
    ("a good film", 1),
    ("what a good story", 1),
    ("not good at all", 0),
    ("a bad film", 0),
    ("a bad story", 0),
] * 3
CHINESE = [("很好看", 1), ("真好看", 1), ("不好看", 0), ("真难看", 0), ("很难看", 0)] * 3


def examples(rows: list[tuple[str, int]]) -> list[Example]:
    return [Example(text, label, "test") for text, label in rows]


def test_the_majority_is_the_more_frequent_label() -> None:
    """Whatever the text."""
    assert Majority.fit(examples(ENGLISH)).predict(["good", "bad"]).tolist() == [0, 0]


@pytest.mark.parametrize("fit", [Linear.naive_bayes, Linear.logistic_regression])
@pytest.mark.parametrize(("language", "rows"), [("en", ENGLISH), ("zh", CHINESE)])
def test_linear_models_learn_words_and_their_neighbours(
    fit: object, language: object, rows: list[tuple[str, int]]
) -> None:
    """Also "not good" and 不好, which are 2-grams."""
    contender: Contender = fit(examples(rows), language)  # type: ignore[operator]

    assert contender.predict([text for text, _ in rows]).tolist() == [label for _, label in rows]


@pytest.mark.parametrize(
    ("package", "language", "bad", "good"),
    [
        ("vaderSentiment", "en", "This is terrible.", "This is wonderful."),
        ("textblob", "en", "This is terrible.", "This is wonderful."),
        ("snownlp", "zh", "质量很差，非常失望", "质量很好，非常喜欢"),
    ],
)
def test_lexicons_answer_without_training_and_survive_a_pickle(
    package: str, language: str, bad: str, good: str
) -> None:
    """Their packages belong to the extra ``compare``."""
    pytest.importorskip(package)
    lexicon = next(lexicon for lexicon in LEXICONS[language] if package.lower().startswith(lexicon.name.lower()[:5]))

    assert pickle.loads(pickle.dumps(lexicon)).predict([bad, good]).tolist() == [0, 1]


def test_a_lexicon_is_cut_in_the_middle_of_its_range() -> None:
    """A score in the middle says nothing good."""
    lexicon = Lexicon("half", lambda: float, middle=0.5)

    assert lexicon.predict(["0.4", "0.5", "0.6"]).tolist() == [0, 0, 1]


def test_a_bundle_is_a_contender_too(bundles: Path) -> None:
    """It opens its engine where it is asked, also after a pickle."""
    contender = BundleContender(bundles / "sentiment-zh", "sentiment-zh@1")
    texts = ["这部电影不好看", "这部电影好看"]

    assert pickle.loads(pickle.dumps(contender)).predict(texts).tolist() == contender.predict(texts).tolist()


@pytest.mark.slow
def test_memory_is_that_of_a_process_that_answers_one_text(bundles: Path) -> None:
    """A bundle brings ONNX Runtime along; the majority label needs NumPy alone."""
    bundle = resident_megabytes(BundleContender(bundles / "sentiment-en", "x"), "good")
    majority = resident_megabytes(Majority(1), "good")

    assert majority + 10 < bundle < 400
