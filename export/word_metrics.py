"""Measures of next-word suggestions: how often the next word is among them, and how much typing they save."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from time import perf_counter

from export.suggest import Suggester
from export.words import Prompt

SUGGESTIONS = 3


def top_k_recall(prompts: Sequence[Prompt], suggested: Sequence[Sequence[str]], top_k: int) -> float:
    """Share of places where the very word, letter case included, is among the first ``top_k`` that were suggested for it.

    Raises:
        ValueError: there is no place.
    """
    if not prompts:
        raise ValueError("no place to ask for a word")
    hits = sum(prompt.word in words[:top_k] for prompt, words in zip(prompts, suggested, strict=True))
    return hits / len(prompts)


def keystroke_savings(
    suggester: Suggester, prompts: Sequence[Prompt], *, spaced: bool, top_k: int = SUGGESTIONS
) -> float:
    """Share of keystrokes that a user saves who takes a word as soon as it is suggested.

    Only the words asked for count, not the marks between them. By hand a word costs its letters, and in languages with
    spaces one more for the space behind it. Suggestions are shown before the first letter and after each; taking one is
    one keystroke and types that space too. Nobody takes a word that costs as much by hand.
    """
    by_hand = [len(prompt.word) + spaced for prompt in prompts]
    needed = list(by_hand)
    letters = 0
    waiting = list(range(len(prompts)))
    while waiting := [i for i in waiting if letters + 1 < by_hand[i]]:
        typed = [prompts[i].word[:letters] for i in waiting]
        suggested = suggester.suggest([prompts[i] for i in waiting], typed, top_k)
        taken = {i for i, words in zip(waiting, suggested, strict=True) if prompts[i].word in words}
        for i in taken:
            needed[i] = letters + 1
        waiting = [i for i in waiting if i not in taken]
        letters += 1
    return 1 - sum(needed) / sum(by_hand)


def milliseconds_per_suggestion(suggester: Suggester, prompts: Sequence[Prompt], top_k: int = SUGGESTIONS) -> float:
    """Median time for the suggestions at one place, whose context was not read before."""
    times = []
    for prompt in prompts:
        suggester.forget()
        began = perf_counter()
        suggester.suggest([prompt], [""], top_k)
        times.append(perf_counter() - began)
    return statistics.median(times) * 1e3
