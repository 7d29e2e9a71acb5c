"""How tests tell that one text is like another: training texts may not be like those that choose or test."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from models.corpora import Language

FEWEST_WORDS = {"en": 4, "zh": 7}  # fewer are a stock phrase, which is nobody's


def words(text: str, language: Language) -> list[str]:
    """What is compared: words, in Chinese characters."""
    return re.findall(r"\w+" if language == "en" else r"\w", text.lower())


def alike(a: list[str], b: list[str]) -> bool:
    """At least seven tenths of the words are the same, in the same order."""
    if 2 * len(set(a) & set(b)) < 0.6 * (len(set(a)) + len(set(b))):
        return False
    return SequenceMatcher(None, a, b).ratio() >= 0.7
