"""Tests of ``export/behaviour.py`` and its texts."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest

from export.behaviour import Case, Close, Labels, Rising, Same, cases, judge, mistyped
from export.behaviour_texts import TEMPLATES
from export.behaviour_unseen import UNSEEN
from models.negation import WORDS, negation_examples
from service.bundle import Language

LANGUAGES: tuple[Language, ...] = ("en", "zh")


LONG_FORMS = {
    "n't": " not",
    "'s": " is",
    "'d": " would",
    "'m": " is",
    "cannot": "can not",
    "was": "is",
    "were": "is",
    "did": "do",
    "does": "do",
}
SMALL_WORDS = {"a", "an", "the", "this", "that", "our", "their", "my", "any"}


def frame(template: str) -> str:
    """A template without its slots, marks, letter case, tense, articles and contractions: what it has in common with others."""
    text = re.sub(r"\{\w+\}", "{}", template.lower())
    for short, long in LONG_FORMS.items():
        text = re.sub(rf"{short}\b", long, text)
    return " ".join(word for word in re.findall(r"\{\}|\w+", text) if word not in SMALL_WORDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_turned_template_of_the_unseen_set_trains(language: Language) -> None:
    """Plain halves may: "The film was truly dull" is nobody's invention."""
    templates = UNSEEN[language]
    pairs = (*templates.negation, *templates.indirect_negation)
    ours = [*(turned for _, turned in pairs), *templates.expectation_turned, *templates.contrast]
    *_, keep, turn = WORDS[language]

    assert not {frame(t) for t in ours} & {frame(t) for t in (*keep, *turn)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_implied_verdict_trains(language: Language) -> None:
    """Whoever wrote both."""
    pairs = UNSEEN[language].implied
    *_, keep, _ = WORDS[language]

    assert len(pairs) == 60
    assert not {frame(text) for pair in pairs for text in pair} & {frame(text) for text in keep}


def test_a_template_in_other_words_of_no_weight_is_the_same() -> None:
    """Or articles and contractions would hide a copy."""
    assert frame("It's a myth that the {thing} is {word}.") == frame("it is a myth that this {part} was {word}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_template_is_one_that_trains(language: Language) -> None:
    """The suite tests whether negation was understood, not whether templates were learnt by heart. "It is good" is nobody's template."""
    templates = TEMPLATES[language]
    pairs = (*templates.negation, *templates.indirect_negation, *templates.intensity)
    ours = [
        *itertools.chain(*pairs),
        *templates.expectation_turned,
        *templates.contrast,
        *templates.invariant,
        *templates.named,
    ]
    *_, keep, turn = WORDS[language]

    theirs = {frame(t) for t in (*keep, *turn)}
    assert not [t for t in ours if frame(t) in theirs and set(frame(t).split()) - {"{}", "is"}]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_in_a_slot_is_one_that_trains(language: Language) -> None:
    """Neither things nor good or bad words."""
    ours = {word for domain in TEMPLATES[language].domains for word in (*domain.things, *domain.good, *domain.bad)}
    things, good, bad, *_ = WORDS[language]

    assert not ours & {*things, *good, *bad}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_made_text_is_a_training_text(language: Language) -> None:
    """Checked on the texts themselves; the examples that people try first may be, and plain sentences of the unseen set."""
    made = [case for case in cases(language) if "examples" not in case.category]
    ours = {text for case in made for text in (case.texts[-1:] if case.category.startswith("unseen") else case.texts)}

    assert not ours & {text for text, _ in negation_examples(language, 20_000, seed=0)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_suite_is_the_same_every_time_and_covers_every_category(language: Language) -> None:
    """Numbers of different models are comparable; each case counts once."""
    suite = cases(language)

    assert suite == cases(language)
    assert len(set(suite)) == len(suite)
    assert {case.category for case in suite} == {case.category for case in cases("en")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_slot_is_left_empty_and_both_labels_occur(language: Language) -> None:
    """A suite with one label would pass a model that knows no other."""
    suite = cases(language)

    assert not [text for case in suite for text in case.texts if "{" in text or "}" in text]
    for category in {case.category for case in suite}:
        labels = {
            label
            for case in suite
            if case.category == category and isinstance(case.rule, Labels)
            for label in case.rule.expected
        }
        assert labels in ({0, 1}, set())


def test_articles_fit_the_word() -> None:
    """English says "an attentive waiter" and "a useless laptop"."""
    texts = " ".join(text for case in cases("en") for text in case.texts)

    assert " an attentive" in texts
    assert not re.search(r"\b[Aa] [aeio]\w+", texts)


def test_both_sentences_of_a_pair_must_be_right() -> None:
    """A model that calls everything negative does not pass the negations."""
    assert Labels((1, 0)).holds([0.9, 0.1])
    assert not Labels((1, 0)).holds([0.1, 0.1])


def test_more_may_not_be_less_positive() -> None:
    """Two certain answers need not differ."""
    assert Rising().holds([0.7, 0.9])
    assert Rising().holds([0.999, 0.998])
    assert not Rising().holds([0.9, 0.7])


def test_sameness_asks_for_one_label_not_the_right_one() -> None:
    """A wrong answer that stays wrong is another category's failure."""
    assert Same().holds([0.1, 0.4, 0.2])
    assert not Same().holds([0.4, 0.6])


def test_closeness_asks_for_about_the_same_answer() -> None:
    """On both sides of one half too, where a label would hide or exaggerate a difference."""
    assert Close().holds([0.45, 0.64, 0.5])
    assert not Close().holds([0.55, 0.9, 0.8])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_about_groups_differ_in_the_group_alone(language: Language) -> None:
    """And every group of a sentence is in one case."""
    expected = [
        [_plain(frame.replace("{group}", group)) for group in groups] for frame, groups in TEMPLATES[language].grouped
    ]

    assert [[_plain(text) for text in case.texts] for case in cases(language) if case.category == "groups"] == expected


def _plain(text: str) -> str:
    """With one form of the article."""
    return text.replace("An ", "A ").replace(" an ", " a ")


def test_pass_rates_and_failures_are_told_by_category() -> None:
    """A failure keeps its texts and probabilities, as examples for the model card."""
    suite = [Case("a", ("good",), Labels((1,))), Case("a", ("bad",), Labels((0,))), Case("b", ("x", "y"), Same())]
    probabilities = {
        "good": np.array([0.2, 0.8]),
        "bad": np.array([0.4, 0.6]),
        "x": np.array([1, 0.0]),
        "y": np.array([1, 0.0]),
    }

    report = judge(suite, probabilities)

    assert report.quality() == {"behaviour_a": 0.5, "behaviour_b": 1.0}
    (failure,) = report.categories[0].failures
    assert (failure.texts, failure.expected, failure.positive) == (["bad"], "negative", [0.6])


def test_a_typing_error_changes_one_place() -> None:
    """English: two letters inside a word change places. Chinese: a character for one that is often written for it."""
    rng = random.Random(0)

    wrong = mistyped("we remembered it", rng)

    assert wrong != "we remembered it"
    assert sorted(wrong) == sorted("we remembered it")
    assert mistyped("真的好", rng, [("的", "得")]) == "真得好"
