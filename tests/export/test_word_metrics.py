"""Tests of ``export/word_metrics.py`` with suggestions written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from export.word_metrics import keystroke_savings, top_k_recall
from export.words import Prompt


class Fixed:
    """Suggests the first words of a list that begin with what was typed."""

    megabytes = 0.0

    def __init__(self, *words: str) -> None:
        self.words = words
        self.asked: list[str] = []

    def suggest(self, prompts: Sequence[Prompt], typed: Sequence[str], top_k: int) -> list[list[str]]:
        """As every suggester."""
        self.asked += typed
        return [[word for word in self.words if word.startswith(beginning)][:top_k] for beginning in typed]

    def forget(self) -> None:
        """Nothing is kept."""


def prompts(*words: str) -> list[Prompt]:
    return [Prompt("", (), word) for word in words]


def test_recall_counts_the_word_itself_among_the_first_k() -> None:
    """Letter case matters."""
    asked = prompts("the", "I", "i", "a")
    suggested = Fixed("the", "a", "I").suggest(asked, [""] * 4, 3)

    assert top_k_recall(asked, suggested, 1) == 0.25
    assert top_k_recall(asked, suggested, 3) == 0.75


def test_a_word_suggested_before_its_first_letter_costs_one_keystroke() -> None:
    """The space behind it is typed along: 1 keystroke instead of 5."""
    assert keystroke_savings(Fixed("good"), prompts("good"), spaced=True) == pytest.approx(1 - 1 / 5)


def test_letters_are_typed_until_the_word_is_suggested() -> None:
    """The word "good" is the fourth that begins with "g", and the third that begins with "go"."""
    assert keystroke_savings(Fixed("give", "go", "god", "good"), prompts("good"), spaced=True) == pytest.approx(
        1 - 3 / 5
    )


def test_a_word_that_is_never_suggested_saves_nothing() -> None:
    """It costs its letters and the space."""
    assert keystroke_savings(Fixed("good"), prompts("bad"), spaced=True) == 0


def test_nobody_takes_a_word_that_costs_as_much_by_hand() -> None:
    """A single Chinese character is one keystroke either way, so it is not even asked for."""
    suggester = Fixed("好", "电影")

    assert keystroke_savings(suggester, prompts("好", "电影"), spaced=False) == pytest.approx(1 - 2 / 3)
    assert suggester.asked == [""]


def test_without_words_there_is_no_recall() -> None:
    """An empty sample is an error, not 0 %."""
    with pytest.raises(ValueError, match="no place"):
        top_k_recall([], [], 1)
