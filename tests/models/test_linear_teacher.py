"""Tests of models/linear_teacher.py: n-grams judge texts, and no text is judged by a teacher that has seen it."""

from __future__ import annotations

import numpy as np
import pytest

from models.corpora import Language
from models.linear_teacher import LinearTeacher, held_out_margins

WORDS: dict[Language, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (("bad", "awful", "poor", "dull"), ("good", "great", "lovely", "fine")),
    "zh": (("难看", "无聊", "失望", "糟糕"), ("好看", "精彩", "喜欢", "不错")),
}
SENTENCE: dict[Language, str] = {"en": "the {} one, number {}, they say", "zh": "第{1}部很{0}，他们说"}


def reviews(language: Language, count: int = 160) -> tuple[list[str], np.ndarray, np.ndarray]:
    labels = np.arange(count) % 2
    texts = [SENTENCE[language].format(WORDS[language][label][i // 2 % 4], i) for i, label in enumerate(labels)]
    return texts, labels, np.ones(count)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_margins_are_log_odds_of_positive(language: Language) -> None:
    """Right words on either side, in texts that it has not seen."""
    teacher = LinearTeacher(language, *reviews(language))

    margins = teacher.margins([SENTENCE[language].format(word, 999) for words in WORDS[language] for word in words])

    assert (margins[:4] < -0.5).all()
    assert (margins[4:] > 0.5).all()


def test_a_text_of_no_known_word_has_hardly_a_verdict() -> None:
    """The prior is what is left."""
    assert abs(LinearTeacher("en", *reviews("en")).margins(["quux"])[0]) < 0.5


def test_a_text_is_judged_by_a_teacher_that_has_seen_neither_it_nor_a_copy() -> None:
    """Texts whose label contradicts all others: a teacher that had seen them would know."""
    texts, labels, _ = reviews("en")
    odd = ["zyx qwv is bad and awful", "ZYX qwv is bad and awful!"] * 3
    everything, truth = texts + odd, np.concatenate([labels, np.ones(len(odd), dtype=labels.dtype)])

    seen = LinearTeacher("en", everything, truth, np.ones(len(truth))).margins(odd)
    held_out = held_out_margins("en", everything, truth, np.ones(len(truth)))

    assert (seen > 0).all()
    assert (held_out[len(texts) :] < 0).all()
    assert ((held_out[: len(texts)] > 0) == labels).mean() > 0.95


def test_texts_that_count_more_decide_more() -> None:
    """Of two equal texts with different labels, the heavier one is believed."""
    texts, labels, weights = reviews("en")
    doubtful = ["zyx qwv"] * 8
    truth = np.concatenate([labels, [0, 1] * 4])
    heavy = np.concatenate([weights, [0.1, 5.0] * 4])

    assert LinearTeacher("en", texts + doubtful, truth, heavy).margins(["zyx qwv"])[0] > 0.5
    assert LinearTeacher("en", texts + doubtful, truth, np.ones(len(truth))).margins(["zyx qwv"])[0] < 0.5
