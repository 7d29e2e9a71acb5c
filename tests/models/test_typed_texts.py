"""Tests of models/typed_texts.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.typed_texts import as_typed

SEEDS = range(40)


def ways(text: str) -> set[str]:
    """Every text that some draw makes of it."""
    return {as_typed([text], 1.0, 0.0, seed)[0] for seed in SEEDS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's good, isn't it!", {"It's good, isn't it", "Its good isnt it", "Its good, isnt it!"}),
        ("it does n't work .", {"it does n't work", "it doesnt work", "it doesnt work ."}),
        ("质量不好，不推荐。", {"质量不好，不推荐", "质量不好 不推荐", "质量不好不推荐", "质量不好，不推荐。"}),
    ],
)
def test_marks_are_left_out_as_people_leave_them_out(text: str, expected: set[str]) -> None:
    """The final one, all of them, or only apostrophes."""
    assert ways(text) == expected


def test_no_word_is_glued_to_another() -> None:
    """Quotation marks are no apostrophes, and what a pause keeps apart is not negated."""
    assert {text.rstrip(".") for text in ways("it was 'good' in the '90s.")} == {"it was 'good' in the '90s"}
    assert "不好吃" not in "".join(ways("不，好吃。"))


@pytest.mark.parametrize("kept", ["4.50", ":)", ":(", ";)", "?", "10,000"])
def test_what_may_carry_the_verdict_stays(kept: str) -> None:
    """Emoticons, questions and numbers."""
    assert all(kept in text for text in ways(f"Well, we paid {kept} there, yes."))


@given(st.lists(st.text(min_size=1)), st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
def test_no_text_is_lost_or_emptied(texts: list[str], unmarked: float, mistyped: float, seed: int) -> None:
    """A text of marks alone stays as it is."""
    typed = as_typed(texts, unmarked, mistyped, seed)

    assert len(typed) == len(texts)
    assert all(typed)
    assert all(not text.strip() or new.strip() for text, new in zip(texts, typed, strict=True))


def test_the_share_of_texts_is_changed_and_the_seed_says_which() -> None:
    """The others stay as they were."""
    texts = [f"text {n}." for n in range(2000)]
    typed = as_typed(texts, 0.3, 0.0, seed=1)
    changed = [new for text, new in zip(texts, typed, strict=True) if new != text]

    assert as_typed(texts, 0.3, 0.0, seed=1) == typed != as_typed(texts, 0.3, 0.0, seed=2)
    assert as_typed(texts, 0.0, 0.0, seed=1) == texts
    assert 0.2 < len(changed) / len(texts) < 0.3  # of a drawn text that has no apostrophe, some stay


def test_a_typing_error_swaps_drops_or_doubles_one_letter_inside_a_long_word() -> None:
    """First and last letters stay, and so do short words, on which a verdict may hang."""
    found = {as_typed(["It's not good, isn't it, comfy?"], 0.0, 1.0, seed)[0] for seed in range(200)}

    words = {"cmofy", "cofmy", "comfy", "cmfy", "cofy", "coomfy", "commfy"}
    assert found <= {f"It's not good, isn't it, {word}?" for word in words}
    assert {"It's not good, isn't it, cofmy?", "It's not good, isn't it, cmfy?"} <= found


def test_typing_errors_come_one_in_a_dozen_words_and_only_where_letters_are_latin() -> None:
    """A long text has more of them; Chinese has none."""
    text = " ".join(f"number{chr(97 + i)}" for i in range(25))
    (wrong,) = as_typed([text], 0.0, 1.0, seed=3)

    assert sum(a != b for a, b in zip(text.split(), wrong.split(), strict=True)) in (2, 3)  # "bb" swapped is "bb"
    assert as_typed(["这部电影不好看。"], 0.0, 1.0, seed=3) == ["这部电影不好看。"]
