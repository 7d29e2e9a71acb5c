"""Tests of ``export/words.py``: what a word is, and where one is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.words import measure_text, real_word, sample_prompts, split_document
from service.tokenizer import Tokenizer


def tokenizer_of(bundles: Path, name: str) -> Tokenizer:
    return Tokenizer.open(bundles / name / "tokenizer.json", "zh" if name.endswith("zh") else "en")


def test_english_words_carry_their_space_and_marks_stand_alone(bundles: Path) -> None:
    """Joined, the words are the text; an apostrophe between letters belongs to the word."""
    text = 'I don\'t know, "2nd" best!\nWell_'

    words = split_document(tokenizer_of(bundles, "lm-en"), text)

    assert words == ["I", " don't", " know", ",", ' "', "2nd", '"', " best", "!", "\n", "Well", "_"]


def test_chinese_words_are_the_tokenizer_s_pieces(bundles: Path) -> None:
    """A character that is spelled in bytes is one word, not half a character."""
    text = "这部电影不好看，龘。"

    words = split_document(tokenizer_of(bundles, "lm-zh"), text)

    assert "".join(words) == text
    assert "不" in words
    assert "龘" in words


@pytest.mark.parametrize(
    ("word", "typed"),
    [(" film", "film"), (" don't", "don't"), ("film", None), (" 2nd", None), (",", None), ("\n", None), (" é", "é")],
)
def test_real_english_words_follow_a_space_and_are_letters_alone(word: str, typed: str | None) -> None:
    """Numbers and marks are not what a user wants suggested, and the first word has nothing to go by."""
    assert real_word(word, "en") == typed


@pytest.mark.parametrize(("word", "typed"), [("电影", "电影"), ("，", None), ("DVD", None), (" 电影", None)])
def test_real_chinese_words_are_chinese_characters(word: str, typed: str | None) -> None:
    """No marks, no Latin letters."""
    assert real_word(word, "zh") == typed


def test_prompts_end_right_before_a_real_word() -> None:
    """The context has neither the word nor the space before it; the first word of a line is never asked for."""
    documents = [["I", " saw", " it", ".", "\n", "Fine", " film"], ["Yes"]]

    prompts = sample_prompts(documents, "en", 10, seed=0)

    assert [(p.context, p.word) for p in prompts] == [("I", "saw"), ("I saw", "it"), ("I saw it.\nFine", "film")]
    assert prompts[1].history == ("I", " saw")


def test_prompts_are_the_same_for_every_model_and_no_more_than_asked_for() -> None:
    """The seed decides."""
    documents = [[" w"] * 50]

    assert sample_prompts(documents, "en", 5, seed=3) == sample_prompts(documents, "en", 5, seed=3)
    assert len(sample_prompts(documents, "en", 5, seed=3)) == 5


def test_perplexities_are_divided_by_words_or_by_characters() -> None:
    """English: what white space separates. Chinese: characters that are no white space. Ends are those of lines and documents."""
    english = measure_text([["I", " saw", " it", ".", "\n", "Fine"]], "en")
    chinese = measure_text([["好看", " ", "电影"]], "zh")

    assert (english.units, english.ends, english.characters) == (4, 2, 14)
    assert (chinese.units, chinese.ends, chinese.characters) == (4, 1, 5)
