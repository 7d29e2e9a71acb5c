"""Word n-gram models to compare with: interpolated modified Kneser-Ney, in sorted arrays.

Source: Kneser & Ney 1995; Chen & Goodman 1999, section 3 (modified discounts, interpolation).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

UNKNOWN, END = 0, 1  # ids of every vocabulary: a word that it does not hold, the end of a document
SPELLING_ORDER = 5
UNSEEN = -1  # index of an n-gram that training did not see


class Vocabulary:
    """Words with ids; what occurs less than twice is unknown, so that unknown words have a probability.

    Args:
        counts: how often each word occurs.
        min_count: of a word with an id of its own.
    """

    def __init__(self, counts: Counter[str], min_count: int = 2) -> None:
        self.words = ["", "", *(word for word, count in counts.items() if count >= min_count)]
        self.rare = [word for word, count in counts.items() if count < min_count]
        self._ids = {word: index for index, word in enumerate(self.words) if index > END}

    def __len__(self) -> int:
        return len(self.words)

    def ids(self, words: Iterable[str]) -> list[int]:
        """One id a word."""
        get = self._ids.get
        return [get(word, UNKNOWN) for word in words]


class _Order(NamedTuple):
    """The n-grams of one length n. A gram's index is its place here; its key is (index of its first n - 1 words, last word)."""

    keys: IntArray  # (G,) sorted: context index x vocabulary size + word
    values: NDArray[np.float32]  # (G,) discounted probability of the last word after the first n - 1
    left: NDArray[np.float32]  # (contexts,) what the discounts leave to the shorter context


class NGramModel:
    """Interpolated modified Kneser-Ney.

    Args:
        stream: (T,) word ids of the training text, documents one after the other, each with ``END`` behind it.
        vocab_size: ids are below it.
        order: longest n-gram; 1 is a unigram model.
    """

    def __init__(self, stream: IntArray, vocab_size: int, order: int) -> None:
        self.vocab_size, self.order = vocab_size, order
        self._orders: list[_Order] = []
        keys_of: list[IntArray] = []
        counts_of: list[IntArray] = []
        before = np.zeros(len(stream) + 1, np.int64)  # [t]: index of the (n - 1)-gram that ends before position t
        for n in range(1, order + 1):
            keys_at = before[n - 1 : -1] * vocab_size + stream[n - 1 :]  # of the n-gram that ends at position n - 1 + i
            keys, first, inverse, counts = np.unique(
                keys_at, return_index=True, return_inverse=True, return_counts=True
            )
            if n > 1:  # a shorter n-gram counts once for each word that was seen before it, not for each time
                seen_before = np.bincount(before[first + n], minlength=len(counts_of[-1]))
                counts_of[-1] = np.maximum(seen_before, 1)
            keys_of.append(keys)
            counts_of.append(counts)
            before = np.full(len(stream) + 1, UNSEEN)
            before[n:] = inverse
        contexts = 1
        for keys, counts in zip(keys_of, counts_of, strict=True):
            self._orders.append(_discounted(keys, counts, contexts, vocab_size))
            contexts = len(keys)

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return sum(array.nbytes for order in self._orders for array in order)

    def probabilities(self, stream: IntArray) -> FloatArray:
        """(T,) probability of each word after those before it in the stream."""
        result = np.full(len(stream), 1 / self.vocab_size)
        context = np.zeros(len(stream), np.int64)  # [t]: index of the (n - 1)-gram before position t
        for order in self._orders:
            index = _find(order.keys, context * self.vocab_size + stream)
            index[context == UNSEEN] = UNSEEN
            seen = context != UNSEEN
            result[seen] *= order.left[context[seen]]
            found = index != UNSEEN
            result[found] += order.values[index[found]]
            context = np.concatenate([[UNSEEN], index[:-1]])
        return result

    def distribution(self, history: Sequence[int]) -> FloatArray:
        """(V,) probability of every word after a history, of which the last ``order - 1`` words count."""
        result = np.full(self.vocab_size, 1 / self.vocab_size)
        for n, order in enumerate(self._orders, start=1):
            if n - 1 > len(history):
                break
            context = self._context(history[len(history) - (n - 1) :])
            if context == UNSEEN:
                break
            low, high = np.searchsorted(order.keys, [context * self.vocab_size, (context + 1) * self.vocab_size])
            result *= order.left[context]
            result[order.keys[low:high] - context * self.vocab_size] += order.values[low:high]
        return result

    def _context(self, words: Sequence[int]) -> int:
        """Index of an n-gram, or ``UNSEEN``."""
        index = 0
        for order, word in zip(self._orders, words, strict=False):
            index = int(_find(order.keys, np.array([index * self.vocab_size + word]))[0])
            if index == UNSEEN:
                break
        return index


def _find(keys: IntArray, wanted: IntArray) -> IntArray:
    """Where each wanted key stands, or ``UNSEEN``."""
    if not len(keys):  # training text shorter than an n-gram
        return np.full(len(wanted), UNSEEN)
    index = np.searchsorted(keys, wanted)
    index[index == len(keys)] = 0
    index[keys[index] != wanted] = UNSEEN
    return index


def _discounted(keys: IntArray, counts: IntArray, contexts: int, vocab_size: int) -> _Order:
    """Probabilities from counts: each loses its discount, which its context gives to shorter ones."""
    discount = discounts(counts)[np.minimum(counts, 3)]
    context = keys // vocab_size
    total = np.bincount(context, counts, contexts)
    left = np.bincount(context, discount, contexts) / np.maximum(total, 1)
    left[total == 0] = 1.0  # nothing was seen after this one: all comes from the shorter context
    return _Order(keys, ((counts - discount) / total[context]).astype(np.float32), left.astype(np.float32))


def discounts(counts: IntArray) -> FloatArray:
    """(4,) what n-grams with a count of 0, 1, 2 and 3 or more lose; from how many have a count of 1, 2, 3 and 4."""
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].tolist()
    if not (n1 and n2):
        return np.array([0.0, 0.5, 0.5, 0.5])  # too little text to estimate from
    share = n1 / (n1 + 2 * n2)
    found = [1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3 if n3 else 1.5]
    return np.array([0.0, *(min(max(d, 0.1), most) for d, most in zip(found, (0.9, 1.9, 2.9), strict=True))])


@dataclass(frozen=True)
class WordModel:
    """An n-gram model over words that also spells words it does not know, so that any text has a probability.

    The cost of an unknown word is that of "unknown" times that of its spelling, under a model of the training text's
    rare words.
    """

    vocabulary: Vocabulary
    ngrams: NGramModel
    letters: Vocabulary
    spelling: NGramModel

    def nll(self, documents: Sequence[Sequence[str]]) -> float:
        """Nats of all documents, their ends included."""
        total = 0.0
        for words in documents:
            total -= float(
                np.log(self.ngrams.probabilities(np.array([END, *self.vocabulary.ids(words), END]))[1:]).sum()
            )
        unknown = [w for words in documents for w, i in zip(words, self.vocabulary.ids(words), strict=True) if not i]
        return total + sum(map(self._spelling_nll, unknown))

    def distribution(self, history: Sequence[str]) -> FloatArray:
        """(V,) probability of every word of the vocabulary after the words of a document so far."""
        return self.ngrams.distribution([END, *self.vocabulary.ids(history[-self.ngrams.order :])])

    def _spelling_nll(self, word: str) -> float:
        ids = np.array([END, *self.letters.ids(word), END])
        any_character = (ids == UNKNOWN).sum() * np.log(0x110000)  # one of all code points
        return float(any_character - np.log(self.spelling.probabilities(ids)[1:]).sum())


def train_word_models(documents: Sequence[Sequence[str]], orders: Sequence[int]) -> list[WordModel]:
    """One model for each order, with the same vocabulary and spelling.

    Args:
        documents: words of each document; joined they are its text.
        orders: longest n-grams.
    """
    vocabulary = Vocabulary(Counter(word for words in documents for word in words))
    letters = Vocabulary(Counter(letter for word in vocabulary.rare for letter in word))
    spelling = NGramModel(_stream(letters, vocabulary.rare), len(letters), SPELLING_ORDER)
    stream = _stream(vocabulary, documents)
    return [WordModel(vocabulary, NGramModel(stream, len(vocabulary), order), letters, spelling) for order in orders]


def _stream(vocabulary: Vocabulary, documents: Iterable[Iterable[str]]) -> IntArray:
    return np.array([END, *(i for words in documents for i in [*vocabulary.ids(words), END])], np.int64)
