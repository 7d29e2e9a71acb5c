"""What counts as a word when language models are measured, and where in a text one is asked for.

A document's text is taken as the bundle's own tokenizer normalises it, for every model alike. It is cut into words whose
concatenation is that text, so that a model over words and a model over pieces give probabilities to the same thing.
English words carry the space before them; Chinese words are the pieces of the bundle's tokenizer, since only those are
what the service suggests.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.bundle import Language
from service.tokenizer import Tokenizer

# Letters and digits with apostrophes between them, as the service reads words; a mark; white space.
_ENGLISH = re.compile(r" ?[^\W_]+(?:['’][^\W_]+)*| ?[^\w\s]|\s|_")
_REAL_ENGLISH = re.compile(r" ([^\W\d_]+(?:['’][^\W\d_]+)*)")
_REAL_CHINESE = re.compile("([\u4e00-\u9fff]+)")


def split_document(tokenizer: Tokenizer, text: str) -> list[str]:
    """Words, marks and white space of a document; joined they are its text as the tokenizer normalises it."""
    ids = tokenizer.ids(text)
    if tokenizer.language == "en":
        return [sys.intern(word) for word in _ENGLISH.findall(tokenizer.decode(ids))]  # a corpus holds each many times
    return _whole_characters([tokenizer.token_bytes(i) for i in ids])


def _whole_characters(pieces: Iterable[bytes]) -> list[str]:
    """Text of each piece; the bytes of a spelled character are joined."""
    words: list[str] = []
    waiting = b""
    for piece in pieces:
        waiting += piece
        try:
            words.append(sys.intern(waiting.decode()))
        except UnicodeDecodeError:
            continue
        waiting = b""
    return words


def real_word(word: str, language: Language) -> str | None:
    """What a user would type for it: letters alone, without the space before it; None for anything else."""
    match = (_REAL_ENGLISH if language == "en" else _REAL_CHINESE).fullmatch(word)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A place in a document where the next word is asked for.

    Args:
        context: the document's text up to there, without the space before the word.
        history: the same as words.
        word: what comes next.
    """

    context: str
    history: tuple[str, ...]
    word: str


def sample_prompts(documents: Sequence[Sequence[str]], language: Language, count: int, seed: int) -> list[Prompt]:
    """Draw places before real words, each alike; never at the start of a line, where there is nothing to go by."""
    places = [
        (d, i)
        for d, words in enumerate(documents)
        for i in range(1, len(words))
        if real_word(words[i], language) and not words[i - 1].isspace()
    ]
    chosen = random.Random(seed).sample(places, min(count, len(places)))
    prompts = []
    for d, i in sorted(chosen):
        before = documents[d][:i]
        prompts.append(Prompt("".join(before), tuple(before), real_word(documents[d][i], language) or ""))
    return prompts


@dataclass(frozen=True)
class TextSize:
    """What perplexities are divided by.

    Args:
        units: English: what white space separates. Chinese: characters that are no white space.
        ends: of lines and documents.
        characters: all, line breaks included.
    """

    units: int
    ends: int
    characters: int


def measure_text(documents: Sequence[Sequence[str]], language: Language) -> TextSize:
    """Count the units of documents given as words."""
    texts = ["".join(words) for words in documents]
    spaces = [sum(c.isspace() for c in text) for text in texts]
    characters = sum(map(len, texts))
    units = sum(len(text.split()) for text in texts) if language == "en" else characters - sum(spaces)
    return TextSize(units, sum(text.count("\n") + 1 for text in texts), characters)
