"""Corpus -> tokenizer.json: byte-level BPE for English, Unigram over words for Chinese, both with character offsets."""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer

PAD, START, END = "<pad>", "<s>", "</s>"
PAD_ID, START_ID, END_ID = 0, 1, 2
SPECIAL_TOKENS = [PAD, START, END]

MAX_WORD_LETTERS = 40  # an English "word" is cut here, so that its pieces are final after a bounded number of letters
MAX_PIECE_CHARACTERS = 4  # of a Chinese piece
MAX_LATIN_PIECE = 12  # of a piece of another script in a Chinese vocabulary
MIN_CHARACTER_COUNT = 4  # a rarer Chinese character is spelled in bytes

Language = Literal["en", "zh"]

# What stands for one thing is written in one way: (pattern, replacement). Every step reads the whole text, so alike ones share one.
# Windows-1252 control characters, which stand in IMDB and MR text, as what they meant.
WINDOWS_1252 = [("\u0085", "…"), ("[\u0091\u0092]", "'"), ("[\u0093\u0094]", '"'), ("[\u0096\u0097]", "-")]
WINDOWS_1252_AND_QUOTES = [
    ("\u0085", "…"),
    ("[\u0091\u0092’‘]", "'"),
    ("[\u0093\u0094“”]", '"'),
    ("[\u0096\u0097]", "-"),
]
# Penn Treebank escapes, as in SST; lower case because they are replaced after lower-casing.
TREEBANK = [("``|''", '"'), ("-lrb-", "("), ("-rrb-", ")")]

CLITICS = "(?:s|re|ve|ll|d|m)"
ENGLISH_WORDS = "|".join(
    [
        rf" ?\p{{L}}{{1,{MAX_WORD_LETTERS}}}?(?=n't(?!\p{{L}}))",  # do|n't, as the Penn Treebank has it
        r"n't(?!\p{L})",
        rf"'{CLITICS}(?!\p{{L}})",
        rf" ?[\p{{L}}\p{{M}}]{{1,{MAX_WORD_LETTERS}}}",
        r" ?\p{N}",
        r"\n",
        r" ?(?:\.{2,8}|[!?]{2,4}|[^\s\p{L}\p{M}\p{N}])",
        r"\s",
    ]
)

# 不 没 别 ... stand alone, so that the turn they bring shows up as a step of its own. 没有 negates as one word; 别人, 特别, 未来 negate nothing.
_HAN = re.compile("[\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

CHINESE_NEGATIONS = "没有|[不没勿莫甭]|(?<![特区性个分告差级类])别(?![人的墅])|未(?!来)"
# NFKC turns full-width punctuation into ASCII. After Chinese it is turned back, which also unifies both habits.
FULL_WIDTH = {",": "，", "!": "！", "?": "？", ":": "：", ";": "；", "(": "（", ")": "）"}
AFTER_CHINESE = "(?<=[\\p{Han}”》」』）】，。！？])"


def _replacements(table: list[tuple[str, str]]) -> list[normalizers.Normalizer]:
    return [normalizers.Replace(Regex(pattern), replacement) for pattern, replacement in table]


def english_normalizer(lowercase: bool) -> normalizers.Normalizer:
    """NFKC and one way to write quotes; with ``lowercase`` (classifiers) also one way to space.

    Treebank text (``do n't , it 's``) and ordinary text (``don't, it's``) then become the same.
    """
    steps: list[normalizers.Normalizer] = [normalizers.NFKC(), *_replacements(WINDOWS_1252_AND_QUOTES)]
    if not lowercase:
        return normalizers.Sequence([*steps, *_replacements([(r"[^\S\n ]", " "), (" {2,}", " ")])])
    steps += [normalizers.Lowercase(), *_replacements(TREEBANK)]
    # Two cheap steps: one pattern for any run of blanks would match, and rewrite, every single space.
    steps += _replacements([(r"<br\s*/?>|[^\S ]", " "), (" {2,}", " ")])
    steps += [normalizers.Replace(Regex(rf" (?=n't(?!\p{{L}})|'{CLITICS}(?!\p{{L}})|[,.!?;:)])"), "")]
    return normalizers.Sequence([*steps, normalizers.Strip(), normalizers.Prepend(" ")])


def chinese_normalizer(lowercase: bool) -> normalizers.Normalizer:
    """NFKC, full-width punctuation after Chinese, no spaces between Chinese characters, ``▁`` for the others.

    With ``lowercase`` (classifiers) blanks around the text mean nothing.
    """
    steps: list[normalizers.Normalizer] = [normalizers.NFKC(), *_replacements(WINDOWS_1252)]
    if lowercase:
        steps += [normalizers.Lowercase(), normalizers.Strip()]
    steps += [normalizers.Replace(Regex(AFTER_CHINESE + ("\\" + half)), full) for half, full in FULL_WIDTH.items()]
    steps += [normalizers.Replace(Regex(r"(?<=\p{Han})\s+(?=\p{Han})"), ""), normalizers.Replace(Regex(r"\s+"), "▁")]
    return normalizers.Sequence(steps)


def train_english(texts: Iterable[str], vocab_size: int, lowercase: bool, specials: bool) -> Tokenizer:
    """Byte-level BPE: an open vocabulary, since any text is a string of bytes. ``Ġ`` marks a leading space.

    Args:
        texts: training texts, read once.
        vocab_size: pieces, specials included.
        lowercase: for classifiers; language models keep case.
        specials: put <pad>, <s>, </s> at ids 0, 1, 2 (language models).
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = english_normalizer(lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(ENGLISH_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=SPECIAL_TOKENS if specials else [PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _without_added_tokens(tokenizer)


def train_chinese(texts: Iterable[str], vocab_size: int, lowercase: bool, specials: bool) -> Tokenizer:
    """Unigram whose pieces are words of at most four characters; what has no piece becomes UTF-8 bytes (``<0xE4>``).

    A word's score is its log-frequency in the segmented texts, so that the tokenizer's best path is the most
    probable segmentation; fitting the scores by EM instead breaks up frequent words such as 喜欢.

    Arguments as for :func:`train_english`.
    """
    boundaries = pre_tokenizers.Sequence(_chinese_boundaries())
    words: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for segment in _chinese_words(texts, chinese_normalizer(lowercase)):
        for word, _ in boundaries.pre_tokenize_str(segment):
            words[word] += 1
            characters.update(word)
    first = SPECIAL_TOKENS if specials else [PAD]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = {
        c: words[c] for c in [*_printable_ascii(), *(c for c, n in characters.items() if n >= MIN_CHARACTER_COUNT)]
    }
    for word, count in words.most_common():
        if len(pieces) == vocab_size - len(first) - len(bytes_):
            break
        if 1 < len(word) <= (MAX_PIECE_CHARACTERS if _HAN.match(word) else MAX_LATIN_PIECE):
            pieces[word] = count
    total = words.total()
    learned = [
        (piece, math.log(max(count, 0.5) / total)) for piece, count in sorted(pieces.items(), key=lambda p: -p[1])
    ]
    floor = learned[-1][1] - 10
    vocab = [(piece, 0.0) for piece in first] + [(piece, floor) for piece in bytes_] + learned
    # The unknown id only sets the cost of an uncovered character, which byte fallback then spells; it is never emitted.
    tokenizer = Tokenizer(Unigram(vocab, PAD_ID, byte_fallback=True))
    tokenizer.normalizer = chinese_normalizer(lowercase)
    tokenizer.pre_tokenizer = boundaries
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _without_added_tokens(tokenizer)


def _printable_ascii() -> Iterator[str]:
    return (chr(code) for code in range(0x21, 0x7F))


def _chinese_boundaries() -> list[pre_tokenizers.PreTokenizer]:
    """No piece crosses these: a negation, a digit, a mark, the seam between Chinese and other letters."""
    return [
        pre_tokenizers.Split(Regex(CHINESE_NEGATIONS), "isolated"),
        pre_tokenizers.Split(Regex(r"\p{N}|▁|[^\p{L}\p{M}\p{N}]"), "isolated"),
        pre_tokenizers.Split(Regex(r"\p{Han}+"), "isolated"),
    ]


def _chinese_words(texts: Iterable[str], normalizer: normalizers.Normalizer) -> Iterator[str]:
    """Word after word. The segmenter is needed for learning only: it makes the pieces words."""
    import jieba

    jieba.setLogLevel(logging.WARNING)
    for text in texts:
        yield from jieba.cut(normalizer.normalize_str(text), HMM=False)


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Specials stay pieces of the model but are not looked for in users' text: a text that says ``</s>`` is only text."""
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(document))


def train_tokenizer(
    language: Language, texts: Iterable[str], vocab_size: int, *, lowercase: bool, specials: bool
) -> Tokenizer:
    """Train the tokenizer of a language; see :func:`train_english` and :func:`train_chinese`."""
    train = train_english if language == "en" else train_chinese
    return train(texts, vocab_size, lowercase, specials)
