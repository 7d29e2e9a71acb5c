"""Remembered words give the tokenizer's own ids, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.tokenizer import Tokenizer
from service.word_cache import WORD, WordCache

# The characters of plain words, most of all those that the tokenizer's rules speak of.
WORDS = st.text("abnNtTsdlrz059,.!?;:'- ", max_size=40)


@pytest.fixture(scope="module")
def tokenizer(bundles: Path) -> Tokenizer:
    """The English classifier's."""
    return Tokenizer.open(bundles / "sentiment-en" / "tokenizer.json", "en")


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(WORDS | st.sampled_from(["movie", "don't", "-rrb-", "-lrb-", "n't", "'s", "...", "''"]), max_size=8).map(
        " ".join
    )
)
@example("I do n't")
@example("a -rrb- b")
@example("good .")
@example(" good  movie ")
@example("rock'n'roll isn't N't")
def test_ids_are_the_tokenizer_s_own(tokenizer: Tokenizer, text: str) -> None:
    """Whatever the words and their order."""
    assert tokenizer.ids(text) == tokenizer.encode(text).ids


@settings(max_examples=300)
@given(st.text(max_size=60))
def test_other_texts_are_left_to_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    """Any Unicode text."""
    assert tokenizer.ids(text) == tokenizer.encode(text).ids


def test_a_classifier_s_words_are_remembered(tokenizer: Tokenizer) -> None:
    """Else the property above would say nothing."""
    cache = WordCache(tokenizer._ids)
    assert cache.ids("This movie isn't good, is it?") == tokenizer.encode("This movie isn't good, is it?").ids
    assert cache.ids("good “movie”") is None
    assert cache.ids("good\nmovie") is None
    assert tokenizer._words is not None


def test_a_tokenizer_that_cuts_otherwise_gets_no_cache(bundles: Path) -> None:
    """The language model keeps the first word apart, Chinese knows no spaces."""
    assert Tokenizer.open(bundles / "lm-en" / "tokenizer.json", "en")._words is None
    assert Tokenizer.open(bundles / "sentiment-zh" / "tokenizer.json", "zh")._words is None


def test_is_exact_finds_a_difference() -> None:
    """A tokenizer that treats the first word in its own way."""
    assert WordCache(lambda text: [len(word) for word in text.split()]).is_exact(["a", "bc"])
    assert not WordCache(lambda text: [0, *(len(word) for word in text.split())]).is_exact(["a", "bc"])
    assert not WordCache(lambda text: []).is_exact([])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """New words are still answered when no more are kept."""
    monkeypatch.setattr("service.word_cache.MAX_WORDS", 10)
    cache = WordCache(lambda text: [len(text)])
    assert all(cache.ids(f"word{number}") for number in range(100))
    assert len(cache._ids) == 10


@pytest.mark.parametrize("word", ["n't", "N'T.", "'s", ",", ")", "", "<br", "a\tb", "é", "a" * 41, "-rrb-"])
def test_what_touches_its_neighbours_is_no_plain_word(word: str) -> None:
    """The space before it may be dropped, or it may be something else after normalisation."""
    assert WORD.fullmatch(word) is None
