"""Tokenizers: any text in, offsets that fit, and parts that add up to the whole."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.tokenizer import train_tokenizer
from service.errors import UnsettledTextError
from service.tokenizer import MAX_TAIL_CHARACTERS, Tokenizer
from tests.conftest import CHINESE, ENGLISH

TEXTS = {
    "en": ENGLISH,
    "zh": [*CHINESE, "我特别喜欢别人的区别，未来没有差别。", "特别好的告别，别看了，没别的", "性别不同，未必不好看"],
}


def make(language: str, sentiment: bool) -> Tokenizer:
    trained = train_tokenizer(language, TEXTS[language], 600, lowercase=sentiment, specials=not sentiment)  # type: ignore[arg-type]
    return Tokenizer(trained.to_str(), language)  # type: ignore[arg-type]


TOKENIZERS = {
    (language, sentiment): make(language, sentiment) for language in ("en", "zh") for sentiment in (True, False)
}

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
fragments = st.sampled_from(
    ["don't", "do n't", " n't", "n", "'t", " it 's", "Hello", " world", ".", " .", "..", "!", " !", "<br", " />", "<br />", "<br>", "<", "br>", "/", " <b", " ", "  ", "\n", "\t",
     "-lrb-", "``", "''", "3", "14", "é", "e\u0301", "\u0301", "™", "①", "ﬁ", "\u0085", "\u00a0", "好", "好看", "不", "没", "没有", "别", "特", "特别",
     "人", "未", "来", "未来", "，", ",", "！", "?", "电影", "这部", "（", ")", "”", "a", "movie", "㍿", "각", "\u1100", "\u1161", "😀", "\u200d", "ｂ", "＜br"]
)  # fmt: skip
tricky_text = st.lists(fragments, max_size=14).map("".join)


@pytest.mark.parametrize("key", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=any_text | tricky_text)
def test_any_unicode_text_has_pieces_with_offsets_inside_it(key: tuple[str, bool], text: str) -> None:
    """Tokenising never fails, and no piece points outside the text."""
    pieces = TOKENIZERS[key].encode(text)

    assert len(pieces.ids) == len(pieces.starts) == len(pieces.ends)
    assert all(0 <= start <= end <= len(text) for start, end in zip(pieces.starts, pieces.ends, strict=True))
    assert pieces.ids == TOKENIZERS[key].ids(text) == TOKENIZERS[key].encode_many([text])[0].ids


@pytest.mark.parametrize("key", TOKENIZERS)
@settings(max_examples=400, deadline=None)
@given(parts=st.lists(any_text | tricky_text, min_size=1, max_size=5), reserve=st.booleans())
@example(parts=["0'S N'T", "A"], reserve=False)  # n't is joined to the word before it, but n'ta is not
@example(parts=[" ", "0"], reserve=False)
@example(parts=["good <br />"], reserve=False)
@example(parts=["good <br> <br>"], reserve=False)
@example(parts=["A A \n", " <br>"], reserve=False)
@example(parts=["good <", "b", "r", " /", ">", " "], reserve=False)
@example(parts=["it's <", "br>n't"], reserve=False)  # a line break is a blank, and n't is joined across blanks
def test_parts_of_a_text_settle_into_the_pieces_of_the_whole(
    key: tuple[str, bool], parts: list[str], reserve: bool
) -> None:
    """Wherever a text is cut, even inside a word or a character sequence, its pieces are the whole text's."""
    tokenizer = TOKENIZERS[key]
    final: list[int] = []
    settled = tokenizer.settle("", at_start=True)
    for part in parts:
        settled = tokenizer.settle(settled.tail + part, at_start=not final, reserve=reserve)
        final += settled.final.ids

    assert final + settled.unsettled.ids == tokenizer.encode("".join(parts)).ids
    assert settled.unsettled.ids or not final  # what was settled is never all: the prediction needs a piece behind it


@pytest.mark.parametrize("key", [("zh", True), ("zh", False)])
@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(
            [
                "电影",
                "好看",
                "不",
                "没",
                "别",
                "人",
                "特",
                "特别",
                "有",
                "未",
                "来",
                "这",
                "部",
                "我",
                "喜欢",
                "明天",
                "abc",
            ]
        ),
        min_size=60,
        max_size=90,
    )
)
def test_long_chinese_text_without_marks_still_settles(key: tuple[str, bool], words: list[str]) -> None:
    """Where no punctuation ends a clause, the tail stays short all the same and the pieces stay the whole's."""
    tokenizer, text = TOKENIZERS[key], "".join(words)
    final: list[int] = []
    settled = tokenizer.settle("", at_start=True)
    for start in range(0, len(text), 7):
        settled = tokenizer.settle(settled.tail + text[start : start + 7], at_start=not final)
        final += settled.final.ids
        assert len(settled.tail) <= MAX_TAIL_CHARACTERS

    assert final + settled.unsettled.ids == tokenizer.encode(text).ids


def test_an_endless_word_cannot_be_carried() -> None:
    """A tail beyond the limit is refused with the limit named, not cut."""
    with pytest.raises(UnsettledTextError, match=str(MAX_TAIL_CHARACTERS)):
        TOKENIZERS["en", True].settle("a" * 600, at_start=True)


def test_the_seed_sentence_reads_as_words_with_the_negation_on_its_own() -> None:
    """这部电影不好看 turns at 不, so 不 must be a step of its own."""
    pieces = TOKENIZERS["zh", True].encode("这部电影不好看")

    assert [("这部电影不好看"[s:e]) for s, e in zip(pieces.starts, pieces.ends, strict=True)] == [
        "这部",
        "电影",
        "不",
        "好看",
    ]


def test_treebank_spacing_and_ordinary_spacing_give_the_same_pieces() -> None:
    """Benchmark text is tokenised with blanks; users' text is not."""
    tokenizer = TOKENIZERS["en", True]

    assert tokenizer.ids("it 's a movie you do n't like , is n't it ?") == tokenizer.ids(
        "It's a movie you don't like, isn't it?"
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_special_tokens_in_a_text_are_only_text(language: str) -> None:
    """Nobody can end or restart a text by writing </s>."""
    tokenizer = TOKENIZERS[language, False]
    ids = tokenizer.ids("</s><s><pad>")

    assert not any(tokenizer.is_special(i) for i in ids)
    assert tokenizer.decode(ids) == "</s><s><pad>"


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("abc dé你好𠮷😀,.1"), max_size=20))
def test_bytes_of_the_pieces_spell_the_text(text: str) -> None:
    """What a language model emits can be joined byte by byte; only spaces are tidied."""
    tokenizer = TOKENIZERS["en", False]
    ids = tokenizer.ids(text)

    assert b"".join(map(tokenizer.token_bytes, ids)).decode() == tokenizer.decode(ids)
    assert tokenizer.decode(ids).split() == text.split()
