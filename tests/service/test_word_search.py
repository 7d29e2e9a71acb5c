"""Word search: the probabilities of whole words equal what enumerating every spelling gives."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.word_search import (
    EXHAUSTIVE,
    FloatArray,
    PieceIds,
    PieceTable,
    SearchLimits,
    SpacedReader,
    UnspacedReader,
    WordReader,
    Words,
    WordSearch,
    is_word_character,
)

END = 2
SPECIALS: tuple[None, ...] = (None, None, None)  # <pad>, <s>, </s>
DEPTH = 4  # pieces after the root; then the text ends for certain, so that everything can be enumerated

ENGLISH = (
    b" a",
    b"a",
    b"b",
    b"ab",
    b" ab",
    b"'",
    b"'s",
    b" ",
    b",",
    b"\xc3",
    b"\xa9",
    b"b,",
    b"\n",
    b"\xe2\x80",
    b"\x99",
)
CHINESE = (*(p.encode() for p in ("电", "影", "电影", "电影院", "院", "，", " ", "a", "a")), b"\xe7", b"\x94", b"\xb5")


class TinyModel:
    """A model whose logits depend on all pieces before and on nothing else: drawn from a generator seeded with them."""

    def __init__(self, vocab_size: int, seed: int) -> None:
        self.vocab_size = vocab_size
        self.seed = seed

    @lru_cache(maxsize=100_000)  # noqa: B019  # the model lives as long as its test
    def logits(self, path: PieceIds) -> FloatArray:
        if len(path) >= DEPTH:
            row = np.full(self.vocab_size, -np.inf, dtype=np.float32)
            row[END] = 0.0
            return row
        rng = np.random.default_rng([self.seed, len(path), *path])
        return (rng.standard_normal(self.vocab_size) * 2).astype(np.float32)

    def probabilities(self, path: PieceIds) -> dict[int, float]:
        row = np.exp(self.logits(path).astype(np.float64))
        row[:END] = 0.0
        return {token: float(p) for token, p in enumerate(row / row.sum()) if p > 0}


def texts(model: TinyModel, path: PieceIds = (), mass: float = 1.0) -> list[tuple[PieceIds, float]]:
    """Every text that the model can write, to its end, with its probability."""
    found: list[tuple[PieceIds, float]] = []
    for token, probability in model.probabilities(path).items():
        if token == END:
            found.append((path, mass * probability))
        else:
            found += texts(model, (*path, token), mass * probability)
    return found


WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def spaced_word(pieces: Sequence[bytes], required: str) -> tuple[str, str] | None:
    text = b"".join(pieces).decode(errors="replace")
    start = 1 if text.startswith(" ") else 0
    match = WORD.match(text, start)
    if match is None or match.end() < len(required):
        return None
    return match[0], text[len(required) : match.end()]


def unspaced_word(pieces: Sequence[bytes], required: str) -> tuple[str, str] | None:
    """The piece that reaches beyond the required text; bytes that spell one character count as one piece."""
    typed = len(required.encode())
    start = 0
    surface = b"".join(pieces)
    ends: list[tuple[int, int]] = []
    for piece in pieces:
        ends.append((start, start + len(piece)))
        start += len(piece)
    index = next((i for i, (_, end) in enumerate(ends) if end > typed), None)
    if index is None:
        return None
    if surface[typed:].startswith(b" ") and ends[index] == (typed, typed + 1):  # a space before the word
        index += 1
    if index == len(ends):
        return None
    start = ends[index][0]
    for _, end in ends[index:]:
        try:
            word = surface[start:end].decode().removeprefix(" ")
        except UnicodeDecodeError as error:
            if "unexpected end" not in error.reason:
                return None
        else:
            return (word, surface[typed:end].decode()) if WORD.fullmatch(word) else None
    return None


def enumerate_words(model: TinyModel, table: PieceTable, required: str) -> tuple[dict[str, float], dict[str, set[str]]]:
    """Completion -> probability given the required text, by enumeration; and the words that each completion may make."""
    read = spaced_word if table.spaced else unspaced_word
    masses: dict[str, float] = defaultdict(float)
    names: dict[str, set[str]] = defaultdict(set)
    total = 0.0
    for path, mass in texts(model):
        pieces = [table.pieces[token] for token in path]
        if not b"".join(pieces).startswith(required.encode()):
            continue
        total += mass
        word = read(pieces, required)
        if word is not None:
            masses[word[1]] += mass
            names[word[1]].add(word[0])
    return {completion: mass / total for completion, mass in masses.items()}, names


def search(
    model: TinyModel, table: PieceTable, reader: WordReader, top_k: int, limits: SearchLimits, seed_path: PieceIds = ()
) -> Words:
    found = WordSearch(table, reader, top_k, limits)
    found.seed(np.stack([model.logits(seed_path[:step]) for step in range(len(seed_path) + 1)]), seed_path)
    while paths := found.next_paths():
        found.feed([model.logits(path) for path in paths])
    return found.words()


def by_word(expected: dict[str, float], names: dict[str, set[str]]) -> tuple[dict[str, float], dict[str, float]]:
    """Word -> probability of the completions that can make no other word, and of all that can make it.

    A completion counts as the word of its likeliest spelling, so the true probability lies between the two.
    """
    sure: dict[str, float] = defaultdict(float)
    possible: dict[str, float] = defaultdict(float)
    for completion, probability in expected.items():
        for word in names[completion]:
            possible[word] += probability
            if len(names[completion]) == 1:
                sure[word] += probability
    return sure, possible


def table_of(pieces: Sequence[bytes], *, spaced: bool) -> PieceTable:
    return PieceTable([*SPECIALS, *pieces], END, spaced=spaced)


@st.composite
def cases(draw: st.DrawFn) -> tuple[TinyModel, PieceTable, WordReader, str]:
    spaced = draw(st.booleans())
    alphabet = ENGLISH if spaced else CHINESE
    pieces = draw(st.lists(st.sampled_from(alphabet), min_size=3, max_size=7, unique=spaced))
    table = table_of(pieces, spaced=spaced)
    model = TinyModel(table.size, draw(st.integers(0, 10_000)))
    required = draw(
        st.sampled_from(
            ["", " ", " a", " ab", "a", "a'", " ab'", "aa"] if spaced else ["", "电", "影", "电影", "影电", " "]
        )
    )
    return model, table, SpacedReader(required) if spaced else UnspacedReader(required), required


@given(cases())
@settings(max_examples=150, deadline=None)  # enumerating is slow
def test_probabilities_equal_enumeration(case: tuple[TinyModel, PieceTable, WordReader, str]) -> None:
    """An unbounded search finds every word with its exact probability, and nothing is left unexplored."""
    model, table, reader, required = case
    expected, names = enumerate_words(model, table, required)
    words = search(model, table, reader, 1000, EXHAUSTIVE)

    sure, possible = by_word(expected, names)
    found = {c.word: c.probability for c in words.candidates}
    assert len(found) == len({c.completion for c in words.candidates}) == len(words.candidates)
    assert {word for word, p in sure.items() if p > 1e-7} <= found.keys() <= possible.keys()
    assert all(sure[word] - 1e-5 <= p <= possible[word] + 1e-5 for word, p in found.items())
    assert all(c.word in names[c.completion] for c in words.candidates)
    assert words.unexplored == pytest.approx(0.0, abs=1e-6)
    assert sum(c.probability for c in words.candidates) + words.no_word == pytest.approx(1.0, abs=1e-5)


def test_text_that_no_piece_can_finish_leaves_no_mass_behind() -> None:
    """Rounding is not probability: where every spelling ends nowhere, nothing is left unexplored."""
    table = table_of(["影".encode(), b"\xe7", b"\x94", b"\xe7"], spaced=False)

    for seed in range(40):
        words = search(TinyModel(table.size, seed), table, UnspacedReader("电"), 5, EXHAUSTIVE)
        assert (words.candidates, words.unexplored) == ([], 0.0)


@given(cases(), st.integers(1, 4), st.integers(0, 12), st.sampled_from([0.0, 1e-3, 0.05]))
@settings(max_examples=150, deadline=None)
def test_a_bounded_search_brackets_the_true_probability(
    case: tuple[TinyModel, PieceTable, WordReader, str], rows_per_run: int, max_rows: int, min_share: float
) -> None:
    """Between what is reported and that plus the unexplored mass, however early the search ended."""
    model, table, reader, required = case
    sure, possible = by_word(*enumerate_words(model, table, required))
    words = search(model, table, reader, 1000, SearchLimits(rows_per_run, max_rows, min_share, min_share))

    found = {c.word: c.probability for c in words.candidates}
    assert all(p - 1e-5 <= possible[word] for word, p in found.items())
    assert all(p <= found.get(word, 0.0) + words.unexplored + 1e-5 for word, p in sure.items())
    assert sum(c.probability for c in words.candidates) + words.no_word + words.unexplored == pytest.approx(
        1.0, abs=1e-5
    )


@given(cases(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_path_given_at_the_start_changes_nothing(
    case: tuple[TinyModel, PieceTable, WordReader, str], data: st.DataObject
) -> None:
    """The tokenizer's own spelling of what was typed comes with the first run, for speed only."""
    model, table, reader, _ = case
    path: PieceIds = ()
    while inner := [
        *table.within(reader.required[len(table_text(table, path)) :]),
        *table.exactly(reader.required[len(table_text(table, path)) :] or b"?"),
    ]:
        path = (*path, data.draw(st.sampled_from(inner)))
        if data.draw(st.booleans()):
            break
    plain = search(model, table, reader, 1000, EXHAUSTIVE)
    seeded = search(model, table, reader, 1000, EXHAUSTIVE, path)

    assert {c.completion: c.probability for c in seeded.candidates} == pytest.approx(
        {c.completion: c.probability for c in plain.candidates}, rel=1e-4, abs=1e-7
    )


def table_text(table: PieceTable, path: PieceIds) -> bytes:
    return b"".join(table.pieces[token] for token in path)


@given(cases(), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_the_top_words_come_first(case: tuple[TinyModel, PieceTable, WordReader, str], top_k: int) -> None:
    model, table, reader, _ = case
    everything = search(model, table, reader, 1000, EXHAUSTIVE)
    top = search(model, table, reader, top_k, EXHAUSTIVE)

    assert len(top.candidates) == min(top_k, len(everything.candidates))
    probabilities = [c.probability for c in top.candidates]
    assert probabilities == sorted(probabilities, reverse=True)


class Scripted(TinyModel):
    """A model that says what the test wants: path of texts -> text -> probability; what is left goes to the end."""

    def __init__(self, table: PieceTable, script: dict[tuple[str, ...], dict[str, float]]) -> None:
        super().__init__(table.size, 0)
        self.table = table
        self.script = script

    def logits(self, path: PieceIds) -> FloatArray:  # type: ignore[override]  # not cached: cheap
        row = np.zeros(self.vocab_size)
        chances = self.script.get(tuple(self.table.pieces[token].decode() for token in path), {})
        for text, chance in chances.items():
            row[self.table.exactly(text.encode())[0]] = chance
        row[END] = max(1.0 - sum(chances.values()), 0.0)
        logits = np.full(self.vocab_size, -np.inf, dtype=np.float32)
        np.log(row, out=logits, where=row > 0, casting="same_kind")
        return logits


def rounded(words: Words) -> list[tuple[str, str, float]]:
    return [(c.word, c.completion, round(c.probability, 4)) for c in words.candidates]


def test_a_half_typed_word_is_completed_where_the_tokenizer_cuts_it_otherwise() -> None:
    """``tom`` alone is the piece " tom"; "tomorrow" is one piece of its own and "tomcat" begins with " to"."""
    table = table_of([b" to", b" tom", b" tomorrow", b"mcat", b"ato", b"."], spaced=True)
    model = Scripted(
        table,
        {
            (): {" to": 0.5, " tom": 0.1, " tomorrow": 0.2},
            (" to",): {"mcat": 0.1, ".": 0.9},
            (" tom",): {"ato": 0.5, ".": 0.5},
        },
    )
    words = search(model, table, SpacedReader(" tom"), 10, EXHAUSTIVE, (4,))

    assert rounded(words) == [
        ("tomorrow", "orrow", round(0.2 / 0.35, 4)),
        ("tom", "", round(0.05 / 0.35, 4)),
        ("tomato", "ato", round(0.05 / 0.35, 4)),
        ("tomcat", "cat", round(0.05 / 0.35, 4)),
    ]


def test_a_word_with_a_space_in_front_and_without_is_one_candidate() -> None:
    """Its probability is that of both, and its completion the likelier one."""
    table = table_of(["我".encode(), " 我".encode(), "你".encode(), b" "], spaced=False)
    model = Scripted(table, {(): {"我": 0.2, " 我": 0.15, "你": 0.3, " ": 0.2}, (" ",): {"我": 0.5}})

    assert rounded(search(model, table, UnspacedReader(""), 10, EXHAUSTIVE)) == [
        ("我", " 我", 0.45),
        ("你", "你", 0.3),
    ]


def test_the_likeliest_word_may_be_likeliest_only_in_both_its_ways_together() -> None:
    """Neither of its pieces is the likeliest piece."""
    table = table_of(["我".encode(), " 我".encode(), "你".encode()], spaced=False)
    model = Scripted(table, {(): {"我": 0.2, " 我": 0.15, "你": 0.3}})

    assert rounded(search(model, table, UnspacedReader(""), 1, EXHAUSTIVE)) == [("我", "我", 0.35)]


def test_a_word_that_comes_in_two_ways_takes_one_place_of_the_wanted_ones() -> None:
    """Two words are wanted: the search may not end when it knows one of them twice."""
    table = table_of([b"a", b" a", b" b"], spaced=True)
    model = Scripted(table, {(): {"a": 0.4, " a": 0.35, " b": 0.2}})
    limits = SearchLimits(rows_per_run=2, max_rows=20, min_share=0.0, min_branch=0.0)

    assert rounded(search(model, table, SpacedReader(""), 2, limits)) == [("a", "a", 0.75), ("b", " b", 0.2)]


def test_a_chinese_word_may_begin_inside_the_typed_text() -> None:
    table = table_of(["电".encode(), "影".encode(), "电影".encode(), "脑".encode()], spaced=False)
    model = Scripted(table, {(): {"电": 0.2, "电影": 0.3, "脑": 0.5}, ("电",): {"脑": 0.5, "影": 0.25}})
    words = search(model, table, UnspacedReader("电"), 10, EXHAUSTIVE, (3,))

    assert rounded(words) == [
        ("电影", "影", round(0.35 / 0.5, 4)),
        ("脑", "脑", round(0.1 / 0.5, 4)),
    ]
    assert words.no_word == pytest.approx(0.05 / 0.5, abs=1e-5)


def test_an_apostrophe_belongs_to_a_word_only_before_a_letter() -> None:
    table = table_of([b" I", b"'", b"'ll", b"m", b" "], spaced=True)
    model = Scripted(
        table,
        {
            (): {" I": 1.0},
            (" I",): {"'ll": 0.5, "'": 0.5},
            (" I", "'"): {"m": 0.5, " ": 0.5},
            (" I", "'ll"): {" ": 1.0},
            (" I", "'", "m"): {" ": 1.0},
        },
    )

    words = search(model, table, SpacedReader(" "), 10, EXHAUSTIVE)

    assert {c.word: round(c.probability, 4) for c in words.candidates} == {"I'll": 0.5, "I'm": 0.25, "I": 0.25}


def test_very_long_typed_words_keep_their_beginning() -> None:
    """Only the end of a long word is searched for again; its head stands before the root."""
    table = table_of([b"na", b"nana", b" "], spaced=True)
    model = Scripted(table, {(): {"na": 0.5, "nana": 0.5}, ("na",): {" ": 1.0}, ("nana",): {" ": 1.0}})

    words = search(model, table, SpacedReader("na", head="ba"), 10, EXHAUSTIVE)

    assert {(c.word, c.completion) for c in words.candidates} == {("bana", ""), ("banana", "na")}


def test_no_word_holds_control_characters_or_half_characters() -> None:
    table = table_of([b"\x07", b"a\x00", b"\xc3", b"\xff", b"\xa9", b" ", b"\xef\xbf\xbd"], spaced=True)
    for seed in range(20):
        for reader in (SpacedReader(""), UnspacedReader("")):
            words = search(
                TinyModel(table.size, seed),
                PieceTable([*SPECIALS, *table.pieces[3:]], END, spaced=isinstance(reader, SpacedReader)),
                reader,
                100,
                EXHAUSTIVE,
            )
            assert all(
                all(is_word_character(c) for c in w.word) and w.word and "�" not in w.word for w in words.candidates
            )


def test_an_ordinary_search_takes_two_runs() -> None:
    """The root's, and one for the likeliest spellings: that is what keeps next-word fast."""
    table = table_of([b" " + bytes([letter]) for letter in range(97, 123)] + [b" "], spaced=True)
    rng = np.random.default_rng(0)
    found = WordSearch(table, SpacedReader(" "), 5)
    found.seed((rng.standard_normal((1, table.size)) * 2).astype(np.float32))
    paths = found.next_paths()
    ended = np.full(table.size, -5.0, dtype=np.float32)
    ended[END] = 5.0
    found.feed([ended] * len(paths))

    assert 5 <= len(paths) <= 12
    assert found.next_paths() == []
    assert len(found.words().candidates) == 5


def test_a_path_that_spells_something_else_is_refused() -> None:
    table = table_of([b"a", b"b"], spaced=True)

    with pytest.raises(ValueError, match="spell"):
        WordSearch(table, SpacedReader("a"), 5).seed(np.zeros((2, table.size), dtype=np.float32), (4,))


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        ("a", True),
        ("é", True),
        ("7", True),
        ("电", True),
        ("\u0301", True),
        ("_", False),
        (" ", False),
        ("'", False),
        ("。", False),
        ("\0", False),
    ],
)
def test_word_characters(character: str, expected: bool) -> None:
    assert is_word_character(character) is expected


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=1, unique=True), st.binary(min_size=1, max_size=3))
def test_a_table_finds_pieces_by_their_beginning(pieces: list[bytes], prefix: bytes) -> None:
    table = table_of(pieces, spaced=True)

    assert sorted(table.extending(prefix)) == [i + 3 for i, piece in enumerate(pieces) if piece.startswith(prefix)]
    assert sorted(table.within(prefix)) == [
        i + 3 for i, piece in enumerate(pieces) if prefix.startswith(piece) and piece != prefix
    ]
    assert list(table.exactly(prefix)) == [i + 3 for i, piece in enumerate(pieces) if piece == prefix]


@given(
    st.lists(st.text("ab电影", min_size=1, max_size=4), min_size=1, unique=True),
    st.text("ab电影", min_size=1, max_size=3),
)
def test_a_table_knows_which_text_a_piece_would_extend(pieces: list[str], text: str) -> None:
    table = table_of([piece.encode() for piece in pieces], spaced=False)

    assert table.has_longer(text.encode()) == any(piece.startswith(text) and piece != text for piece in pieces)
