"""Next word: text in, whole words out that complete its last word or follow it, with true probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from service.errors import FieldError, InvalidRequestError
from service.language_model import START_ID, LanguageModel, Read, text_error
from service.metrics import Metrics
from service.registry import LoadedModel, ModelRegistry
from service.running_text import read_text, start_tokens
from service.sentiment import INLINE_CHARS
from service.settings import LimitSettings
from service.state_token import CarriedState
from service.tokenizer import Pieces
from service.word_search import (
    APOSTROPHES,
    Candidate,
    PieceIds,
    PieceTable,
    SearchLimits,
    SpacedReader,
    UnspacedReader,
    WordReader,
    WordSearch,
    is_word_character,
)

MAX_TYPED = 32  # characters of a half-typed word that are searched for; what stands before them is taken as it is
FEWEST_ROWS = 8  # spellings that one run follows at least
MORE_ROWS = 3  # than words are wanted


@dataclass(frozen=True, slots=True)
class Root:
    """Where the search for a word begins.

    Args:
        stem: pieces that are settled; the search starts from the state after them.
        path: the tokenizer's own pieces of the text behind the stem.
        reader: what the text behind the stem asks for.
        prefix: the half-typed word, as typed.
        spaced: the text ends with a space, so a completion needs none in front.
    """

    stem: list[int]
    path: PieceIds
    reader: WordReader
    prefix: str
    spaced: bool = False


@dataclass(frozen=True, slots=True)
class NextWords:
    """What may come next."""

    model: str
    prefix: str
    candidates: list[Candidate]
    unexplored: float


def typed_word(text: str) -> int:
    """Where the half-typed word at the end of a text with spaces begins; its length if there is none.

    Letters and digits, with apostrophes between them; one at the end may still get its letter.
    """
    start = len(text)
    while start > 0:
        character = text[start - 1]
        inside = character in APOSTROPHES and start > 1 and is_word_character(text[start - 2])
        if not inside and not is_word_character(character):
            break
        start -= 1
    return start


def spaced_root(text: str, pieces: Pieces, table: PieceTable) -> Root:
    """The root for a language with spaces: what stands before the half-typed word and the space in front of it."""
    start = typed_word(text)
    cut = max(start, len(text) - MAX_TYPED)
    count = sum(1 for end in pieces.ends if end <= cut)
    if start == len(text):
        if pieces.ids and table.pieces[pieces.ids[-1]] == b" ":  # the space belongs to the word that comes
            return Root(pieces.ids[:-1], (), SpacedReader(" "), "", spaced=True)
        return Root(pieces.ids, (), SpacedReader(""), "")
    path = tuple(pieces.ids[count:])
    required, path = _spelled(path, table)
    return Root(pieces.ids[:count], path, SpacedReader(required, text[start : pieces.starts[count]]), text[start:])


def unspaced_root(pieces: Pieces, table: PieceTable) -> Root:
    """The root for a language without spaces: the earliest place from which some piece would span the text's end."""
    ids = pieces.ids
    spaced = bool(ids) and table.pieces[ids[-1]] == b" "
    if spaced:
        return Root(ids[:-1], (), UnspacedReader(""), "", spaced=True)
    end = surface_at = len(ids)
    surface = b""
    while surface_at > 0 and len(surface.decode(errors="ignore")) < table.longest_characters:
        surface_at -= 1
        surface = table.pieces[ids[surface_at]] + surface
    characters = (index for index in range(len(surface)) if not 0x80 <= surface[index] < 0xC0)
    spanned = len(surface) - next((index for index in characters if table.has_longer(surface[index:])), len(surface))
    while spanned > 0:
        end -= 1
        spanned -= len(table.pieces[ids[end]])
    required, path = _spelled(tuple(ids[end:]), table)
    return Root(ids[:end], path, UnspacedReader(required), required)


def root_of(text: str, pieces: Pieces, lm: LanguageModel) -> Root:
    """The root for the model's language."""
    return spaced_root(text, pieces, lm.table) if lm.table.spaced else unspaced_root(pieces, lm.table)


def _spelled(path: PieceIds, table: PieceTable) -> tuple[str, PieceIds]:
    """What a path spells, and the path itself unless it spells no whole characters."""
    surface = b"".join(table.pieces[token] for token in path)
    required = surface.decode(errors="ignore")
    return required, path if required.encode() == surface else ()


class NextWordPredictor:
    """The use case behind ``/v1/next-word`` and ``rnnserve predict --next-word``.

    Args:
        registry: the loaded models.
        models: the language models among them, by id.
        limits: what one request may ask for.
        metrics: where tokenisation is counted.
    """

    def __init__(
        self, registry: ModelRegistry, models: Mapping[str, LanguageModel], limits: LimitSettings, metrics: Metrics
    ) -> None:
        self._registry = registry
        self._models = models
        self._limits = limits
        self._metrics = metrics

    async def predict(self, text: str, *, top_k: int = 5, model: str | None = None, caller: str = "") -> NextWords:
        """The likeliest words that complete the text's last word, or follow it.

        Args:
            text: anything, also nothing.
            top_k: how many words, 1..``limits.max_top_k``.
            model: its name; None lets the text's script decide.
            caller: whose cached states may be used.

        Raises:
            InvalidRequestError: the text is too long or not valid Unicode, or top_k is out of range.
            UnknownModelError: see ``ModelRegistry.resolve``.
            OverloadedError, DeadlineExceededError, ModelRunError, NonFiniteOutputError: see ``Batcher.run``.
        """
        self._check(text, top_k)
        lm = self._models[self._registry.resolve(model, "language-model", text).id]
        start = perf_counter()
        if len(text) > INLINE_CHARS:
            pieces = await asyncio.to_thread(lm.tokenizer.encode, text)
        else:
            pieces = lm.tokenizer.encode(text)
        self._metrics.tokenization_seconds.observe((lm.id,), perf_counter() - start)
        if len(pieces.ids) > lm.manifest.max_tokens:
            detail = f"has {len(pieces.ids)} tokens, this model's limit is {lm.manifest.max_tokens}"
            raise InvalidRequestError.of(FieldError("/text", "too_long", detail))
        root = root_of(text, pieces, lm)
        return await self._search(lm, root, await lm.read_again([START_ID, *root.stem], caller), top_k)

    async def predict_on(
        self, text: str, carried: CarriedState, model: LoadedModel, *, top_k: int = 5
    ) -> tuple[NextWords, CarriedState]:
        """As ``predict``, for the next part of a text that goes on from ``carried``; also where the text stands now."""
        self._check(text, top_k)
        lm = self._models[model.id]
        standing, settled = await read_text(model, carried, text)
        whole = carried.tail + text
        shift = len(whole) - len(standing.tail)
        ahead = settled.unsettled
        pieces = Pieces(ahead.ids, [start - shift for start in ahead.starts], [end - shift for end in ahead.ends])
        root = root_of(standing.tail, pieces, lm)
        stem = [*start_tokens(standing), *root.stem]
        if not stem:  # some piece could span all of the tail; its first piece is settled all the same
            stem = pieces.ids[:1]
            root = root_of(standing.tail, Pieces(pieces.ids[1:], pieces.starts[1:], pieces.ends[1:]), lm)
            stem += root.stem
        row = await lm.batcher.run(stem, standing.state)
        return await self._search(lm, root, Read(row.state, row.logits[-1], 0), top_k), standing

    async def _search(self, lm: LanguageModel, root: Root, read: Read, top_k: int) -> NextWords:
        """Words after the root's stem, which was read."""
        limits = SearchLimits(rows_per_run=max(FEWEST_ROWS, top_k + MORE_ROWS))
        search = WordSearch(lm.table, root.reader, top_k, limits)
        await self._drive(search, root, lm, read)
        words = search.words()
        candidates = words.candidates
        if root.spaced and not lm.table.spaced:
            candidates = [Candidate(c.word, c.completion.removeprefix(" "), c.probability) for c in candidates]
        return NextWords(lm.id, root.prefix, candidates, words.unexplored)

    def _check(self, text: str, top_k: int) -> None:
        error = text_error(text, "/text", self._limits.max_chars)
        if error is None and not 1 <= top_k <= self._limits.max_top_k:
            code = "too_small" if top_k < 1 else "too_large"
            error = FieldError(
                "/top_k", code, f"is {top_k}, at least 1 and at most {self._limits.max_top_k} are allowed"
            )
        if error is not None:
            raise InvalidRequestError.of(error)

    @staticmethod
    async def _drive(search: WordSearch, root: Root, lm: LanguageModel, read: Read) -> None:
        """Run the model for the search: whatever spellings it asks for, all rows of a step together."""
        path = root.path if len(root.path) > 1 else ()  # a single piece shares a run with its alternatives
        search.seed(await lm.spell(read, path), path)
        while paths := search.next_paths():
            search.feed(await lm.follow(read, paths))
