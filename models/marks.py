"""Punctuation as people leave it out when they type: the same verdict without final marks, or without any.

A recurrent model that has only read whole sentences up to their full stop takes a text without one for a sentence that is not
over, and is less sure of it than it is right.
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


def as_typed(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """The texts, of which ``share`` lose marks; none becomes empty, and the same seed draws the same ones.

    Args:
        texts: as they were written.
        share: 0..1.
        seed: of the draw.
    """
    rng = random.Random(seed)
    return [_without(text, rng) if share and rng.random() < share else text for text in texts]


def _without(text: str, rng: random.Random) -> str:
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
