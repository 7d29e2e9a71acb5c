"""Texts as people type them, with the same verdict: marks left out, letters that change places or are missing.

A recurrent model that has only read whole sentences up to their full stop takes a text without one for a sentence that is not
over, and is less sure of it than it is right. One that has read few typing errors takes a wrong letter for a reason to doubt.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

# Not "?", ":", ")" and the like: questions and emoticons may carry the verdict.
_FINAL = re.compile(r"[\s.。!！…~～,，;；、]+$")
_CHINESE = re.compile(r"(?<![不没别])[，。、；！…～]+(?=\w)")  # "不，好吃" is not "不好吃"
_OTHERS = re.compile(r"(?<!\d)[.,](?!\d)|[.,](?=\s)|[。，、；！!…~～\"“”]|(?<=\w);")
# Between letters, and before the endings that some corpora write apart: "does n't", "it 's".
_APOSTROPHES = re.compile(r"(?<=\w) (?=n['’]t\b)|(?<=[^\W\d])['’](?=[^\W\d])|(?<=\w) ['’](?=(?:s|re|ve|ll|d|m)\b)")
_BLANKS = re.compile(r"\s+")
# How often each way of leaving marks out is drawn: at the end, all of them, only apostrophes (dont, its).
_WAYS, _WEIGHTS = ("final", "all", "apostrophes"), (5, 3, 1)


# Words this long keep their sense with one letter wrong; "not" and "isn't" never change.
_LONG_WORD = re.compile(r"[A-Za-z]{5,}")
_WORDS_PER_ERROR = 12


def as_typed(texts: Sequence[str], unmarked_share: float, mistyped_share: float, seed: int) -> list[str]:
    """The texts, some of which lose marks and some of which have typing errors; none becomes empty, and the same seed draws the same ones.

    Args:
        texts: as they were written.
        unmarked_share: of the texts that lose marks, 0..1.
        mistyped_share: of the texts whose Latin words get typing errors, one in every twelve words and at least one, 0..1.
        seed: of the draws.
    """
    rng = random.Random(seed)
    unmarked = [_without_marks(text, rng) if rng.random() < unmarked_share else text for text in texts]
    return [_mistyped(text, rng) if rng.random() < mistyped_share else text for text in unmarked]


def _mistyped(text: str, rng: random.Random) -> str:
    """Letters inside long words change places, are missing, or come twice."""
    places = [(found.start() + 1, found.end() - 2) for found in _LONG_WORD.finditer(text)]
    errors = 1 + len(text.split()) // _WORDS_PER_ERROR
    for first, last in sorted(rng.sample(places, min(errors, len(places))), reverse=True):
        i = rng.randint(first, last - 1)
        wrong = rng.choices((text[i + 1] + text[i], text[i + 1], text[i] + text[i : i + 2]), (2, 1, 1))[0]
        text = text[:i] + wrong + text[i + 2 :]
    return text


def _without_marks(text: str, rng: random.Random) -> str:
    (way,) = rng.choices(_WAYS, _WEIGHTS)
    bare = text
    if way in ("all", "apostrophes"):
        bare = _APOSTROPHES.sub("", bare)
    if way == "all":
        bare = _CHINESE.sub(rng.choice((" ", "")), bare)
        bare = _BLANKS.sub(" ", _OTHERS.sub(" ", bare)).strip()
    if way in ("all", "final"):
        bare = _FINAL.sub("", bare)
    return bare or text
