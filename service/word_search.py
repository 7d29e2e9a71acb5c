"""Whole words with true probabilities, from a model that predicts pieces. A pure search: whoever drives it runs the model.

A word is the sum of all its spellings in pieces, each with the probability that the word ends there. What the search did
not follow is counted, so every answer is a bound: the true probability of a candidate lies between ``probability`` and
``probability + unexplored``.
"""

from __future__ import annotations

import codecs
import heapq
import re
import sys
import unicodedata
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

APOSTROPHES = "'’"


def _marks() -> str:
    """A regular expression's ranges of all combining marks (Unicode category M)."""
    ranges: list[str] = []
    start: int | None = None
    for code in range(0x300, sys.maxunicode + 2):
        mark = code <= sys.maxunicode and unicodedata.category(chr(code))[0] == "M"
        if mark and start is None:
            start = code
        elif not mark and start is not None:
            ranges.append(f"{chr(start)}-{chr(code - 1)}")
            start = None
    return "".join(ranges)


_LETTER = rf"(?:[^\W_]|[{_marks()}])"
_WORD = re.compile(rf"{_LETTER}+(?:[{APOSTROPHES}]{_LETTER}+)*")
_LETTER_RE = re.compile(_LETTER)


def is_word_character(character: str) -> bool:
    """Whether words are made of it: a letter, a digit, or a mark on one."""
    return _LETTER_RE.match(character) is not None


class Phase(IntEnum):
    """How far into a word some text is."""

    BEFORE = 0  # nothing, or nothing but the typed text in a language whose words need no seam
    SPACE = 1  # one space; no word yet
    WORD = 2
    APOSTROPHE = 3  # a word and an apostrophe, which belongs to it if a letter follows
    CHARACTER = 4  # the last character is not complete
    ENDED = 5


class Word(NamedTuple):
    """A word and what to append to the text to have it there."""

    word: str
    completion: str


class Reading(NamedTuple):
    """What some text after the root says about the next word."""

    phase: Phase
    word: Word | None  # the word if it ends here; None if there is none


NOTHING = Reading(Phase.ENDED, None)


class WordReader(ABC):
    """Knows where words begin and end in a language, for one typed beginning.

    Args:
        required: the text that every continuation of the root must begin with: what was typed, a space before it included.
    """

    def __init__(self, required: str) -> None:
        self.required = required.encode()

    @abstractmethod
    def read(self, surface: bytes, piece_start: int) -> Reading:
        """Read what follows the root.

        Args:
            surface: begins with ``required``.
            piece_start: where the piece that first reached beyond ``required`` starts.
        """


class SpacedReader(WordReader):
    """Languages with spaces. A word is letters and digits, with apostrophes between them; anything else ends it.

    Args:
        required: as for every reader.
        head: the beginning of a very long typed word that stands before the root.
    """

    def __init__(self, required: str, head: str = "") -> None:
        super().__init__(required)
        self._head = head
        self._typed = len(head) + len(required)

    def read(self, surface: bytes, piece_start: int) -> Reading:  # noqa: ARG002  # words don't depend on pieces here
        """Read what follows the root, as every reader does."""
        text, complete = _decode(surface)
        text = self._head + text
        start = 1 if text.startswith(" ") else 0
        match = _WORD.match(text, start)
        if match is None:
            if len(text) > start:
                return NOTHING
            return Reading((Phase.SPACE if start else Phase.BEFORE) if complete else Phase.CHARACTER, None)
        end = match.end()
        word = Word(text[start:end], text[self._typed : end]) if end >= self._typed else None
        rest = text[end:]
        if rest and rest not in APOSTROPHES:
            return Reading(Phase.ENDED, word)
        if not complete:
            return Reading(Phase.CHARACTER, word)
        return Reading(Phase.APOSTROPHE if rest else Phase.WORD, word)


class UnspacedReader(WordReader):
    """Languages without spaces. A word is the piece that reaches beyond the typed text; bytes are joined to characters."""

    def read(self, surface: bytes, piece_start: int) -> Reading:
        """Read what follows the root, as every reader does."""
        beyond = surface[len(self.required) :]
        completion, complete = _decode(beyond)
        if not beyond:
            return Reading(Phase.BEFORE, None)
        if not complete:
            return Reading(Phase.CHARACTER, None)
        if completion == " ":
            return Reading(Phase.SPACE, None)
        word = _decode(surface[piece_start:])[0].removeprefix(" ")
        if _WORD.fullmatch(word):
            return Reading(Phase.ENDED, Word(word, completion))
        return NOTHING


def _decode(data: bytes) -> tuple[str, bool]:
    """Text of the complete characters, and whether that is all; bytes that are no UTF-8 become U+FFFD."""
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data)
        return text, not decoder.getstate()[0]


class PieceTable:
    """A vocabulary, indexed by what its pieces spell.

    Args:
        pieces: (V,) the bytes of each piece; None for special ones, which spell nothing.
        end_id: the special piece that ends a document.
        spaced: whether the language puts spaces between words.
    """

    def __init__(self, pieces: Sequence[bytes | None], end_id: int, *, spaced: bool) -> None:
        self.pieces = tuple(piece or b"" for piece in pieces)
        self.size = len(pieces)
        self.end_id = end_id
        self.spaced = spaced
        spelled = sorted((piece, index) for index, piece in enumerate(pieces) if piece)
        self._sorted = [piece for piece, _ in spelled]
        self._sorted_ids = np.array([index for _, index in spelled], dtype=np.int64)
        self._by_bytes: dict[bytes, list[int]] = {}
        for piece, index in spelled:
            self._by_bytes.setdefault(piece, []).append(index)
        # Pieces that spell the same as another one (an ASCII letter and its byte), and that other one.
        twins = [(index, same[0]) for same in self._by_bytes.values() for index in same[1:]]
        self.twins: IntArray = np.array(twins, dtype=np.int64).reshape(-1, 2).T
        self._longest = max(map(len, self._sorted), default=0)
        self._beginnings = {
            piece[:end] for piece in self._sorted for end in range(1, len(piece)) if not 0x80 <= piece[end] < 0xC0
        }
        self.longest_characters = max((len(piece.decode(errors="replace")) for piece in self._sorted), default=0)
        self.silent = np.array(
            [index for index, piece in enumerate(pieces) if not piece and index != end_id], dtype=np.int64
        )
        self._classify(pieces)

    def _classify(self, pieces: Sequence[bytes | None]) -> None:
        """For each phase: which pieces end the word (or the hope of one), which go on, which are a word by themselves: 0 or 1."""
        probes = {Phase.BEFORE: b"", Phase.SPACE: b" ", Phase.WORD: b"a", Phase.APOSTROPHE: b"a'"}
        if not self.spaced:
            probes = {Phase.BEFORE: b"", Phase.SPACE: b" "}
        reader: WordReader = SpacedReader("") if self.spaced else UnspacedReader("")
        ends = {phase: np.zeros(self.size, dtype=np.float32) for phase in Phase}
        goes_on = {phase: np.zeros(self.size, dtype=np.float32) for phase in Phase}
        self.words = np.zeros(self.size, dtype=np.float32)  # unspaced: pieces that are words
        for phase, probe in probes.items():
            stop = reader.read(probe, 0).word
            for index, piece in enumerate(pieces):
                if not piece:
                    continue
                reading = reader.read(probe + piece, len(probe))
                if reading.phase is Phase.ENDED and reading.word == stop:
                    ends[phase][index] = 1.0
                else:
                    goes_on[phase][index] = 1.0
                    if phase is Phase.BEFORE and not self.spaced and reading.phase is Phase.ENDED:
                        self.words[index] = 1.0
        if not self.spaced:
            goes_on[Phase.BEFORE] *= 1.0 - self.words  # counted as a whole, see WordSearch
        for index, piece in enumerate(pieces):
            if piece:
                continues = 0x80 <= piece[0] < 0xC0
                goes_on[Phase.CHARACTER][index] = continues
                ends[Phase.CHARACTER][index] = not continues
        # Pieces that are the same word with and without a space in front.
        pairs = [
            (same[0], bare[0])
            for piece, same in self._by_bytes.items()
            if self.words[same[0]] and piece[:1] == b" " and (bare := self.exactly(piece[1:])) and self.words[bare[0]]
        ]
        self.spaced_words: IntArray = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        for phase in Phase:
            ends[phase][self.end_id] = 1.0
        self.ends = ends
        self.goes_on = goes_on

    def extending(self, prefix: bytes) -> IntArray:
        """Ids of the pieces that begin with ``prefix``, which is not empty; the one that equals it included."""
        low = bisect_left(self._sorted, prefix)
        stem = prefix.rstrip(b"\xff")  # what sorts right behind all that begin with the prefix: its last byte plus one
        high = bisect_left(self._sorted, stem[:-1] + bytes([stem[-1] + 1]), lo=low) if stem else len(self._sorted)
        return self._sorted_ids[low:high]

    def within(self, text: bytes) -> list[int]:
        """Ids of the pieces that ``text`` begins with, without those that equal it."""
        longest = min(self._longest, len(text) - 1)
        return [index for length in range(1, longest + 1) for index in self._by_bytes.get(text[:length], ())]

    def exactly(self, text: bytes) -> Sequence[int]:
        """Ids of the pieces that spell ``text``."""
        return self._by_bytes.get(text, ())

    def has_longer(self, text: bytes) -> bool:
        """Whether some piece begins with ``text``, which ends with a whole character, and goes on."""
        return text in self._beginnings


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """How far a search goes.

    Args:
        rows_per_run: most spellings that one model run follows.
        max_rows: most spellings followed in all.
        min_share: a spelling with less than this share of the probability is not followed.
        min_branch: within one spelling, the same for its continuations, as a share of all of them.
    """

    rows_per_run: int = 12
    max_rows: int = 48
    min_share: float = 1e-3
    min_branch: float = 1e-3


EXHAUSTIVE = SearchLimits(rows_per_run=1 << 20, max_rows=1 << 20, min_share=0.0, min_branch=0.0)

PieceIds = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Spelling:
    """Pieces after the root and what they spell."""

    path: PieceIds
    surface: bytes
    piece_start: int
    mass: float
    reading: Reading  # of a surface that begins with the required text; NOTHING before that


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that may come next.

    Args:
        word: the whole word.
        completion: what to append to the text; empty if the text may already end with the whole word. Where the word may
            come with a space in front or without, the likelier of the two.
        probability: a lower bound, given what was typed.
    """

    word: str
    completion: str
    probability: float


@dataclass(frozen=True, slots=True)
class Words:
    """What a search found. All words that were found, what is no word, and what was not explored sum to 1."""

    candidates: list[Candidate]  # the top k of the words that were found, likeliest first
    no_word: float  # the text ends, or a mark comes instead of a word
    unexplored: float


class WordSearch:
    """Finds the likeliest words after a root state, best spellings first.

    Seed it with the root's logits, then run the model on ``next_paths()`` and ``feed`` it the logits until no path comes.

    Args:
        table: the vocabulary.
        reader: where words end, and what they must begin with.
        top_k: how many candidates are wanted: the search ends early once nothing that is left can be one by itself.
        limits: how far it goes.
    """

    def __init__(self, table: PieceTable, reader: WordReader, top_k: int, limits: SearchLimits | None = None) -> None:
        self._table = table
        self._reader = reader
        self._required = reader.required
        self._top_k = top_k
        self._limits = limits or SearchLimits()
        self._rows = 0
        self._found: dict[str, float] = {}  # completion -> mass
        self._word_of: dict[str, str] = {}
        self._word_mass: dict[str, float] = {}  # completion -> mass of the spelling that named the word
        self._piece_words: NDArray[np.float64] | None = None  # (V,) mass of single-piece words, unspaced languages
        self._nothing = 0.0
        self._waiting = 0.0  # in the queue
        self._lost = 0.0  # continuations too unlikely to keep
        self._queue: list[tuple[float, int, int]] = []  # heap of (-mass, branches, rank)
        self._branches: list[tuple[_Spelling, IntArray, NDArray[np.float64]]] = []
        self._running: list[_Spelling] = []

    def seed(self, logits: FloatArray, path: Sequence[int] = ()) -> None:
        """Start from the root.

        Args:
            logits: (P + 1, V) after the root and after each piece of ``path``.
            path: pieces that spell the required text or its beginning, P >= 0: they are followed at no extra run.

        Raises:
            ValueError: the path spells something else.
        """
        if not self._required.startswith(b"".join(self._table.pieces[token] for token in path)):
            raise ValueError("the path does not spell the beginning of the required text")
        spelling = _Spelling((), b"", 0, 1.0, self._read(b"", 0))
        for row, token in zip(logits, [*path, None], strict=True):
            probabilities = self._probabilities(row)
            self._expand(spelling, probabilities, skip=token)
            if token is not None:
                spelling = self._extend(spelling, token, spelling.mass * float(probabilities[token]))

    def next_paths(self) -> list[PieceIds]:
        """The spellings, as piece ids after the root, whose logits the search needs now; none when it is done."""
        limits = self._limits
        wanted = min(limits.rows_per_run, limits.max_rows - self._rows)
        if wanted > 0 and self._queue:
            total = self._resolved() + self._unresolved()
            enough = max(limits.min_share * total, self._kth_mass())
            while len(self._running) < wanted and self._queue and -self._queue[0][0] > enough:
                self._follow(self._pop())
        self._rows += len(self._running)
        return [spelling.path for spelling in self._running]

    def feed(self, logits: Sequence[FloatArray]) -> None:
        """Go on with the logits (V,) of each of the paths asked for, in their order."""
        running, self._running = self._running, []
        for spelling, row in zip(running, logits, strict=True):
            self._expand(spelling, self._probabilities(row))

    def words(self) -> Words:
        """The candidates, as far as the search went."""
        self._gather_piece_words()
        total = self._resolved() + self._unresolved()
        if total <= 0.0:
            return Words([], 1.0, 0.0)  # no text begins like this
        completions: dict[str, str] = {}  # word -> its likeliest completion
        for completion in sorted(self._found, key=lambda text: (-self._found[text], text)):
            completions.setdefault(self._word_of[completion], completion)
        masses = self._masses_of_words()
        best = heapq.nsmallest(self._top_k, masses, key=lambda word: (-masses[word], completions[word]))
        candidates = [Candidate(word, completions[word], masses[word] / total) for word in best if masses[word] > 0]
        return Words(candidates, self._nothing / total, self._unresolved() / total)

    def _probabilities(self, logits: FloatArray) -> FloatArray:
        """(V,) logits -> probabilities of all pieces but those that no text holds."""
        weights: FloatArray = logits - logits.max()
        np.exp(weights, out=weights)
        weights[self._table.silent] = 0.0
        weights *= np.float32(1.0) / weights.sum()
        return weights

    def _expand(self, spelling: _Spelling, probabilities: FloatArray, skip: int | None = None) -> None:
        """Split a spelling's mass among its continuations: known ends, spellings to follow, and what is too unlikely.

        ``skip`` is a continuation that the caller follows itself.
        """
        if len(spelling.surface) < len(self._required):
            self._expand_typed(spelling, probabilities, skip)
            return
        table, phase = self._table, spelling.reading.phase
        ended = float(probabilities @ table.ends[phase])
        self._end(spelling.reading.word, spelling.mass * ended)
        if phase is Phase.BEFORE and not table.spaced:
            mass = probabilities.astype(np.float64) * table.words
            mass *= spelling.mass
            np.add.at(mass, table.twins[1], mass[table.twins[0]])
            mass[table.twins[0]] = 0.0
            ended += float(probabilities @ table.words)
            self._piece_words = mass if self._piece_words is None else self._piece_words + mass
        self._branch(spelling, probabilities * table.goes_on[phase], 1.0 - ended)

    def _expand_typed(self, spelling: _Spelling, probabilities: FloatArray, skip: int | None) -> None:
        """Within the typed text: only pieces that spell it, or its rest and more, are possible."""
        rest = self._required[len(spelling.surface) :]
        ids = self._table.extending(rest)
        possible = np.zeros_like(probabilities)
        possible[ids] = probabilities[ids]
        inner = [index for index in self._table.within(rest) if index != skip]
        if skip is not None:
            possible[skip] = 0.0
        self._branch(spelling, possible, float(possible.sum()))
        if inner:
            inner.sort(key=lambda index: -probabilities[index])
            self._push(spelling, np.array(inner), probabilities[inner].astype(np.float64) * spelling.mass)

    def _branch(self, spelling: _Spelling, probabilities: FloatArray, total: float) -> None:
        """Queue the continuations, likeliest first, that have a share worth keeping of what they have together."""
        ids = np.flatnonzero(probabilities > max(self._limits.min_branch * total, 0.0))
        kept = probabilities[ids].astype(np.float64)
        order = np.argsort(-kept, kind="stable")
        if len(ids) < np.count_nonzero(probabilities):  # else the difference would be rounding alone
            self._lost += spelling.mass * max(total - float(kept.sum()), 0.0)
        self._push(spelling, ids[order], kept[order] * spelling.mass)

    def _push(self, spelling: _Spelling, ids: IntArray, masses: NDArray[np.float64]) -> None:
        if len(ids):
            self._waiting += float(masses.sum())
            self._branches.append((spelling, ids, masses))
            heapq.heappush(self._queue, (-float(masses[0]), len(self._branches) - 1, 0))

    def _pop(self) -> _Spelling:
        """Take the likeliest waiting spelling."""
        _, branches, rank = self._queue[0]
        spelling, ids, masses = self._branches[branches]
        if rank + 1 < len(ids):
            heapq.heapreplace(self._queue, (-float(masses[rank + 1]), branches, rank + 1))
        else:
            heapq.heappop(self._queue)
        mass = float(masses[rank])
        self._waiting = self._waiting - mass if self._queue else 0.0  # no rounding may stay behind as mass
        return self._extend(spelling, int(ids[rank]), mass)

    def _extend(self, spelling: _Spelling, token: int, mass: float) -> _Spelling:
        surface = spelling.surface + self._table.pieces[token]
        # The first piece beyond the required text is the one that an unspaced word consists of; a space does not count.
        begun = spelling.reading.phase in (Phase.WORD, Phase.APOSTROPHE, Phase.CHARACTER)
        piece_start = spelling.piece_start if begun else len(spelling.surface)
        return _Spelling((*spelling.path, token), surface, piece_start, mass, self._read(surface, piece_start))

    def _read(self, surface: bytes, piece_start: int) -> Reading:
        if len(surface) < len(self._required):
            return NOTHING
        return self._reader.read(surface, piece_start)

    def _follow(self, spelling: _Spelling) -> None:
        """Ask for a spelling's logits, unless it already says which word it is."""
        if spelling.reading.phase is Phase.ENDED and len(spelling.surface) >= len(self._required):
            self._end(spelling.reading.word, spelling.mass)
        else:
            self._running.append(spelling)

    def _end(self, word: Word | None, mass: float) -> None:
        if word is None:
            self._nothing += mass
            return
        completion = word.completion
        self._found[completion] = self._found.get(completion, 0.0) + mass
        if mass > self._word_mass.get(completion, -1.0):
            self._word_mass[completion] = mass
            self._word_of[completion] = word.word

    def _gather_piece_words(self) -> None:
        """Move the likeliest single-piece words, and those that are known from other spellings, to the found ones.

        After it, the likeliest ``top_k`` of all words so far are among the found ones, with all their known mass.
        """
        masses = self._piece_words
        if masses is None:
            return
        with_space, without = self._table.spaced_words
        together = masses.copy()
        together[without] += masses[with_space]
        together[with_space] = 0.0
        best = np.flatnonzero((together >= _kth_largest(together, self._top_k)) & (together > 0.0))
        words = {self._table.pieces[index].removeprefix(b" ") for index in best}
        words.update(text.encode().removeprefix(b" ") for text in [*self._found, *self._word_of.values()])
        for index in [index for word in words for form in (word, b" " + word) for index in self._table.exactly(form)]:
            mass = float(masses[index])
            if mass > 0.0:
                completion = self._table.pieces[index].decode()
                self._end(Word(completion.removeprefix(" "), completion), mass)
                masses[index] = 0.0
        # The others are words too, only not among the likeliest: known, so not unexplored.

    def _resolved(self) -> float:
        pieces = 0.0 if self._piece_words is None else float(self._piece_words.sum())
        return sum(self._found.values()) + self._nothing + pieces

    def _unresolved(self) -> float:
        return max(self._waiting, 0.0) + self._lost + sum(spelling.mass for spelling in self._running)

    def _masses_of_words(self) -> dict[str, float]:
        """Word -> mass of all its completions that were found."""
        masses: dict[str, float] = {}
        for completion, mass in self._found.items():
            word = self._word_of[completion]
            masses[word] = masses.get(word, 0.0) + mass
        return masses

    def _kth_mass(self) -> float:
        """What a spelling must have to be among the first by itself: the mass of the last of the top k words so far."""
        self._gather_piece_words()
        return _kth_largest(np.array(list(self._masses_of_words().values())), self._top_k)


def _kth_largest(masses: NDArray[np.float64], k: int) -> float:
    """The k-th largest of (N,) masses; 0 if there are fewer."""
    return float(np.partition(masses, -k)[-k]) if len(masses) >= k else 0.0
