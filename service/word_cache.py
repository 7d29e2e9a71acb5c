"""Pieces of plain English words, remembered: most words of most texts were seen before, and looking up is ten times as fast."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

MAX_WORDS = 20_000  # some 5 MB; later words are tokenised every time
# What stands between two spaces and touches nothing outside: it starts with a letter or digit, so no space before it is
# dropped (as before ")" or "n't"), and has no character that normalisation turns into something else (quotes, <br>).
WORD = re.compile(r"(?![Nn]'[Tt])[A-Za-z0-9][A-Za-z0-9,.!?;:'-]{0,39}")
SAMPLE_TEXTS, SAMPLE_WORDS = 40, 12
SAMPLE_ENDINGS = ("", "", "", ",", ".", "!", "?!", "...", "n't", "'s", "-7", "'")


class WordCache:
    """Token ids of texts that are plain words between spaces.

    Right only for tokenizers that cut at every space and treat the first word as any other; ``is_exact`` finds out.

    Args:
        encode: the tokenizer's own way from text to ids.
    """

    def __init__(self, encode: Callable[[str], list[int]]) -> None:
        self._encode = encode
        self._ids: dict[str, list[int]] = {"": []}

    def ids(self, text: str) -> list[int] | None:
        """The ids of a text, or None where it is not only plain words."""
        known = self._ids
        ids: list[int] = []
        for word in text.split(" "):
            found = known.get(word)
            if found is None:
                if WORD.fullmatch(word) is None:
                    return None
                found = self._encode(word)
                if len(known) < MAX_WORDS:
                    known[word] = found
            ids += found
        return ids

    def is_exact(self, words: Sequence[str]) -> bool:
        """Whether the ids of texts made of these words, plain ones, are the tokenizer's own. Leaves the cache empty."""
        if not words:
            return False
        random = Random(0)
        exact = True
        for _ in range(SAMPLE_TEXTS):
            text = " ".join(random.choice(words) + random.choice(SAMPLE_ENDINGS) for _ in range(SAMPLE_WORDS))
            exact = exact and self.ids(text) in (None, self._encode(text))
        self._ids = {"": []}
        return exact
