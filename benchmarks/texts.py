"""Texts to send: made from word lists by a seed, with lengths as people write them."""

from __future__ import annotations

from functools import cache

import numpy as np

MEAN_WORDS = 20
_LENGTH_SIGMA = 0.6  # of the logarithm: the middle 80 % of the texts have 8 to 36 words
_SHORTEST, _LONGEST = 3, 120

_COMMON = """
the of and to a in is it that was for on with as be this have from at by not are but had his they she which or we an were one
their all there can her has been if more when will would who so no out up into them some could what time its about then than
other only now over also new these two may first any my like our me such because good very much even movie film story actor
plot scene character music ending great bad boring funny slow long love hate really never best worst well made watch think
people know see look feel way work little old real thing life year day man woman world end quite still just too many most
after before again always place food service room staff price quality money nothing something everything enough almost
perhaps together without between against during through under where why how each
"""
_ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sl sp st str t th tr v w"
_VOWELS = "a e i o u ai ea ee ie oo ou"
_CODAS = ["", "", "", "n", "r", "s", "t", "l", "m", "nd", "st", "ng", "ck", "rt"]
_CHINESE = tuple("的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里")


# What people type: next-word prediction is measured on language, since no model knows the made-up words of the others.
EVERYDAY = (
    "I would like to see the new movie tomorrow, but I do not know who is in it.",
    "Have you read any good books lately? I am looking for something funny to take on holiday.",
    "We could meet at the station at six and have dinner before the concert starts.",
    "My sister just started a new job in the city and she really likes the people there.",
    "The weather was terrible all week, so we stayed at home and watched old films together.",
    "Can you tell me how to get to the nearest bus stop from here, please?",
    "I have never been a big fan of football, but my whole family loves to watch it.",
    "She said that the restaurant was a bit expensive, although the food was really good.",
    "Do you think that they will ever make another season of that show?",
    "It took me almost two hours to get home last night because of the traffic.",
)


@cache
def vocabulary(size: int, seed: int = 0) -> tuple[str, ...]:
    """``size`` different words: common English ones first, then words made of syllables."""
    rng = np.random.default_rng(seed)
    words = dict.fromkeys(_COMMON.split())
    onsets, vowels = _ONSETS.split(), _VOWELS.split()
    while len(words) < size:
        syllables = int(rng.integers(1, 4))
        parts = [rng.choice(onsets) + rng.choice(vowels) + rng.choice(_CODAS) for _ in range(syllables)]
        words["".join(parts)] = None
    return tuple(words)[:size]


def english_texts(count: int, seed: int, words: int | None = None, vocabulary_size: int = 4000) -> list[str]:
    """``count`` texts, words drawn by Zipf's law.

    Args:
        count: how many.
        seed: the same seed makes the same texts.
        words: words of every text; None draws each length from a log-normal distribution with a mean of ``MEAN_WORDS``.
        vocabulary_size: how many different words there are.
    """
    rng = np.random.default_rng(seed)
    known = vocabulary(vocabulary_size)
    weights = 1 / np.arange(1, len(known) + 1)
    weights /= weights.sum()
    return [
        " ".join(known[index] for index in rng.choice(len(known), size=length, p=weights)) + "."
        for length in _lengths(rng, count, words)
    ]


def chinese_texts(count: int, seed: int) -> list[str]:
    """``count`` texts of common characters; as many characters as an English text has words, times 1.5."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(_CHINESE, size=length * 3 // 2)) + "。" for length in _lengths(rng, count, None)]


def _lengths(rng: np.random.Generator, count: int, words: int | None) -> list[int]:
    if words is not None:
        return [words] * count
    drawn = rng.lognormal(np.log(MEAN_WORDS) - _LENGTH_SIGMA**2 / 2, _LENGTH_SIGMA, size=count)
    return [int(length) for length in np.clip(np.rint(drawn), _SHORTEST, _LONGEST)]
