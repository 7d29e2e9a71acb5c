"""Suggestions for the next word: from a bundle, by the service's own search, and from n-gram models."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from export.ngrams import WordModel
from export.scoring import MAX_PADDED_TOKENS, MAX_ROWS, OpenBundle, length_batches, pad
from export.words import Prompt, real_word
from service.bundle import Language
from service.engine import Engine, FloatArray
from service.word_search import PieceIds, PieceTable, SpacedReader, UnspacedReader, WordReader, WordSearch

START_ID, END_ID = 1, 2
CONTEXT_TOKENS = 256  # a bundle reads at most so many tokens before the word
CONTEXT_CHARACTERS = 4_096  # hold so many tokens; what stands further back is not encoded
SEARCHES_AT_ONCE = 16
FLOAT32_BYTES = 4


class Suggester(Protocol):
    """A model that suggests words.

    ``megabytes`` is what its numbers and words take in memory.
    """

    megabytes: float

    def suggest(self, prompts: Sequence[Prompt], typed: Sequence[str], top_k: int) -> list[list[str]]:
        """For each prompt the likeliest words that begin with what was typed of it, likeliest first."""
        ...

    def forget(self) -> None:
        """Drop what is kept of contexts read so far."""
        ...


@dataclass(frozen=True)
class _Root:
    state: FloatArray  # (S,)
    logits: FloatArray  # (V,)


class BundleSuggester:
    """Suggests what ``/v1/next-word`` would."""

    def __init__(self, bundle: OpenBundle) -> None:
        self._bundle = bundle
        self.megabytes = bundle.manifest.parameters * FLOAT32_BYTES / 1e6
        self._spaced = bundle.manifest.language == "en"
        pieces = [bundle.tokenizer.token_bytes(i) or None for i in range(bundle.tokenizer.vocab_size)]
        self._table = PieceTable(pieces, END_ID, spaced=self._spaced)
        self._roots: dict[str, _Root] = {}

    def suggest(self, prompts: Sequence[Prompt], typed: Sequence[str], top_k: int) -> list[list[str]]:
        """As every suggester; reads each context once."""
        self._read([prompt.context for prompt in prompts])
        found: list[list[str]] = []
        for start in range(0, len(prompts), SEARCHES_AT_ONCE):
            part = slice(start, start + SEARCHES_AT_ONCE)
            roots = [self._roots[prompt.context] for prompt in prompts[part]]
            searches = [WordSearch(self._table, self._reader(beginning), top_k) for beginning in typed[part]]
            run_searches(self._bundle.engine, searches, [r.state for r in roots], [r.logits for r in roots])
            for search, beginning in zip(searches, typed[part], strict=True):
                found.append([beginning + candidate.completion for candidate in search.words().candidates])
        return found

    def forget(self) -> None:
        """As every suggester."""
        self._roots.clear()

    def _reader(self, typed: str) -> WordReader:
        return SpacedReader(" " + typed) if self._spaced else UnspacedReader(typed)

    def _read(self, contexts: Sequence[str]) -> None:
        new = [context for context in dict.fromkeys(contexts) if context not in self._roots]
        ids = [self._bundle.tokenizer.ids(context[-CONTEXT_CHARACTERS:]) for context in new]
        encoded = [[START_ID, *of_context[-CONTEXT_TOKENS:]] for of_context in ids]
        engine = self._bundle.engine
        for batch in length_batches([len(ids) for ids in encoded], MAX_ROWS, MAX_PADDED_TOKENS):
            input_ids, lengths = pad([encoded[i] for i in batch])
            states, logits = engine.run(input_ids, lengths, engine.zero_state(len(batch)), 1)
            for i, state, row in zip(batch, states, logits[:, -1], strict=True):
                self._roots[new[i]] = _Root(state.copy(), row.copy())


def run_searches(
    engine: Engine, searches: Sequence[WordSearch], states: Sequence[FloatArray], logits: Sequence[FloatArray]
) -> None:
    """Bring searches to their end; all of them share every model run.

    Args:
        engine: of the language model.
        searches: fresh ones.
        states: (S,) after each root.
        logits: (V,) after each root.
    """
    known: list[dict[PieceIds, FloatArray]] = [{(): state} for state in states]  # by the pieces after the root
    for search, row in zip(searches, logits, strict=True):
        search.seed(row[None])
    while True:
        asked = [(i, path) for i, search in enumerate(searches) for path in search.next_paths()]
        if not asked:
            return
        input_ids = np.array([[path[-1]] for _, path in asked])
        before = np.stack([known[i][path[:-1]] for i, path in asked])
        after, new_logits = engine.run(input_ids, np.ones(len(asked), np.int64), before, 1)
        answers: list[list[FloatArray]] = [[] for _ in searches]
        for (i, path), state, row in zip(asked, after, new_logits[:, -1], strict=True):
            known[i][path] = state
            answers[i].append(row)
        for search, rows in zip(searches, answers, strict=True):
            if rows:
                search.feed(rows)


class NGramSuggester:
    """Suggests the likeliest real words of an n-gram model's vocabulary."""

    def __init__(self, model: WordModel, language: Language) -> None:
        self._model = model
        self.megabytes = (model.ngrams.nbytes + sum(len(word.encode()) for word in model.vocabulary.words)) / 1e6
        real = sorted((real_word(word, language) or "", i) for i, word in enumerate(model.vocabulary.words))
        real = [(word, i) for word, i in real if word]
        self._words = [word for word, _ in real]
        self._ids = np.array([i for _, i in real], np.int64)

    def suggest(self, prompts: Sequence[Prompt], typed: Sequence[str], top_k: int) -> list[list[str]]:
        """As every suggester."""
        found: list[list[str]] = []
        for prompt, beginning in zip(prompts, typed, strict=True):
            distribution = self._model.distribution(prompt.history)
            low = bisect_left(self._words, beginning)
            high = bisect_left(self._words, beginning + "\U0010ffff")
            best = likeliest(distribution[self._ids[low:high]], top_k)
            found.append([self._words[low + i] for i in best])
        return found

    def forget(self) -> None:
        """As every suggester; nothing is kept."""


def likeliest(probabilities: NDArray[np.float64], top_k: int) -> list[int]:
    """Indices of the ``top_k`` largest of (N,) numbers, largest first, among equals the first; without sorting the others."""
    if len(probabilities) > top_k:
        least = np.partition(probabilities, -top_k)[-top_k]
        candidates = np.flatnonzero(probabilities >= least)
    else:
        candidates = np.arange(len(probabilities))
    order = np.argsort(-probabilities[candidates], kind="stable")[:top_k]
    chosen: list[int] = candidates[order].tolist()
    return chosen
