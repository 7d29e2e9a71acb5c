"""Tests of models/negation.py."""

from __future__ import annotations

import pytest

from models.negation import WORDS, negation_examples
from models.tokenizer import Language


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_are_complete_and_both_classes_common(language: Language) -> None:
    """Every slot is filled, and neither class is a prior."""
    rows = list(negation_examples(language, 2000, seed=0))

    assert len(rows) == 2000
    assert not any("{" in text or "}" in text for text, _ in rows)
    assert 0.4 < sum(label for _, label in rows) / 2000 < 0.6


@pytest.mark.parametrize(
    ("language", "text", "label"),
    [
        ("en", "not good", 0),
        ("en", "not bad", 1),
        ("en", "far from terrible", 1),
        ("en", "it wasn't funny", 0),
        ("zh", "并不好看", 0),
        ("zh", "毫不难看", 1),
        ("zh", "真的很好看", 1),
        ("zh", "真的很难看", 0),
    ],
)
def test_one_word_turns_the_verdict(language: Language, text: str, label: int) -> None:
    """A good word turned is negative, a bad word turned positive."""
    assert dict(negation_examples(language, 40_000, seed=1))[text] == label


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_has_both_labels(language: Language) -> None:
    """Templates that contradict each other would teach nothing."""
    seen: dict[str, int] = {}
    for text, label in negation_examples(language, 20_000, seed=2):
        assert seen.setdefault(text.lower(), label) == label, text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_seed_fixes_the_texts(language: Language) -> None:
    """A run can be repeated."""
    first, again, other = (list(negation_examples(language, 50, seed)) for seed in (3, 3, 4))

    assert first == again
    assert first != other


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_word_is_both_good_and_bad(language: Language) -> None:
    """Labels follow from the lists."""
    _, good, bad, _, _ = WORDS[language]

    assert not set(good) & set(bad)
