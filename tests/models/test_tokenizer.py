"""Tests of models/tokenizer.py."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokenizer import END_ID, PAD_ID, START_ID, Language, train_tokenizer

ENGLISH = [
    "This movie is not good, and I don't like the plot.",
    "It isn't bad! We've seen 25 films; they're good, aren't they?",
    "the plot of the movie is good and the movie is not bad",
] * 20
CHINESE = [
    "这部电影不好看，情节没有意思。",
    "这部电影好看，音乐很好听，演员也不错。",
    "别人都说特别好，我看未必，未来再说，别去看。",
    "我喜欢这部电影 iPhone 15，没看过这部电影的人都去看。",
] * 20
TEXTS: dict[Language, list[str]] = {"en": ENGLISH, "zh": CHINESE}


@pytest.fixture(scope="module")
def tokenizer_of() -> dict[tuple[Language, bool], tokenizers.Tokenizer]:
    """By language, and whether for a language model."""
    return {
        (language, is_lm): train_tokenizer(language, texts, 700, lowercase=not is_lm, specials=is_lm)
        for language, texts in TEXTS.items()
        for is_lm in (False, True)
    }


Tokenizers = dict[tuple[Language, bool], tokenizers.Tokenizer]


def pieces(tokenizer: tokenizers.Tokenizer, text: str) -> list[str]:
    """The text of each piece, as its offsets say."""
    return [text[start:end] for start, end in tokenizer.encode(text).offsets]


def test_the_seed_sentence_shows_its_negation(tokenizer_of: Tokenizers) -> None:
    """这部电影不好看 comes out as words with 不 on its own."""
    assert pieces(tokenizer_of["zh", False], "这部电影不好看") == ["这部", "电影", "不", "好看"]


@pytest.mark.parametrize("is_lm", [False, True])
@pytest.mark.parametrize("negation", ["不", "没", "没有", "别"])
def test_a_chinese_negation_is_never_glued_to_what_it_negates(
    tokenizer_of: Tokenizers, is_lm: bool, negation: str
) -> None:
    """Neither to the word behind it nor to the one before."""
    assert negation in pieces(tokenizer_of["zh", is_lm], f"我{negation}喜欢电影")


@pytest.mark.parametrize("word", ["特别", "别人", "未来"])
def test_words_that_only_look_like_negations_stay_whole(tokenizer_of: Tokenizers, word: str) -> None:
    """特别 means "very": cut at 别 it would say the opposite."""
    found = pieces(tokenizer_of["zh", False], f"我{word}喜欢")

    assert "别" not in found
    assert "未" not in found


@pytest.mark.parametrize(
    ("word", "expected"), [("don't", ["do", "n't"]), ("isn't", ["is", "n't"]), ("they're", ["they", "'re"])]
)
def test_english_contractions_come_apart(tokenizer_of: Tokenizers, word: str, expected: list[str]) -> None:
    """The n't is a piece of its own, as in the Penn Treebank."""
    assert pieces(tokenizer_of["en", False], word) == expected


def test_treebank_text_and_ordinary_text_are_one_to_a_classifier(tokenizer_of: Tokenizers) -> None:
    """SST comes in tokens, users write prose."""
    encode = tokenizer_of["en", False].encode

    assert (
        encode("it is n't bad , `` really '' -lrb- good -rrb- .").ids == encode('It isn’t bad, " really " ( good).').ids
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_digits_stand_alone(tokenizer_of: Tokenizers, language: Language) -> None:
    """A number nobody has seen is still readable."""
    assert [p.strip() for p in pieces(tokenizer_of[language, False], "25")] == ["2", "5"]


def test_a_language_model_keeps_case_a_classifier_does_not(tokenizer_of: Tokenizers) -> None:
    """Case matters for what comes next, not for the verdict."""
    assert tokenizer_of["en", False].encode("Movie").ids == tokenizer_of["en", False].encode("movie").ids
    assert tokenizer_of["en", True].encode("Movie").ids != tokenizer_of["en", True].encode("movie").ids


@pytest.mark.parametrize("language", ["en", "zh"])
def test_special_tokens_have_the_first_ids_and_texts_cannot_write_them(
    tokenizer_of: Tokenizers, language: Language
) -> None:
    """A text that says </s> is only text."""
    tokenizer = tokenizer_of[language, True]

    assert [tokenizer.token_to_id(t) for t in ("<pad>", "<s>", "</s>")] == [PAD_ID, START_ID, END_ID] == [0, 1, 2]
    assert not {PAD_ID, START_ID, END_ID} & set(tokenizer.encode("<s>a</s><pad>").ids)


@pytest.mark.parametrize("language", ["en", "zh"])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_text_has_pieces_and_none_is_the_padding_id(
    tokenizer_of: Tokenizers, language: Language, text: str
) -> None:
    """An open vocabulary: no unknown piece, no failure; offsets stay within the text and in order."""
    for is_lm in (False, True):
        encoding = tokenizer_of[language, is_lm].encode(text)
        assert PAD_ID not in encoding.ids
        assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)
        assert [start for start, _ in encoding.offsets] == sorted(start for start, _ in encoding.offsets)


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=30))
@settings(max_examples=150, deadline=None)
def test_a_language_models_pieces_spell_the_text(tokenizer_of: Tokenizers, text: str) -> None:
    """Decoding gives the normalised text back, byte for byte."""
    for language in TEXTS:
        tokenizer = tokenizer_of[language, True]
        normalised = tokenizer.normalizer.normalize_str(text).replace("▁", " ")
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == normalised


def test_a_rare_character_is_spelled_in_bytes(tokenizer_of: Tokenizers) -> None:
    """龘 was never seen: three bytes, one position."""
    encoding = tokenizer_of["zh", False].encode("龘")

    assert encoding.tokens == ["<0xE9>", "<0xBE>", "<0x98>"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_vocabulary_keeps_its_size(tokenizer_of: Tokenizers, language: Language) -> None:
    """Never more pieces than asked for; fewer if the text has no more."""
    assert tokenizer_of[language, True].get_vocab_size() <= 700


def test_training_is_reproducible() -> None:
    """The same texts give the same tokenizer."""
    for language, texts in TEXTS.items():
        first, second = (
            train_tokenizer(language, texts, 600, lowercase=True, specials=False).to_str() for _ in range(2)
        )
        assert first == second
