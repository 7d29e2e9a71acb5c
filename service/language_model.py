"""A language model at work: its vocabulary, and the beginnings of texts that it need not read again."""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.batching import Batcher, RowResult
from service.bundle import Manifest
from service.engine import FloatArray
from service.errors import FieldError
from service.registry import LoadedModel
from service.state_cache import StateCache
from service.state_token import bundle_fingerprint
from service.tokenizer import Tokenizer
from service.word_search import PieceIds, PieceTable

PAD_ID, START_ID, END_ID = 0, 1, 2  # of every language model; a text is START_ID and its pieces
NEVER_GENERATED = (PAD_ID, START_ID)

# Tokens between the states that a long prompt leaves behind, for texts that share only its beginning.
CHECKPOINT_TOKENS = 256
MAX_CHECKPOINT = 2048  # tokens; further on only the end is kept: an entry holds its ids too

MAX_KNOWN_BYTES = 4_000_000  # of logits kept beside the states, 48 KB each for 12,000 pieces
ID_BYTES = array("I").itemsize
MAX_KNOWN_TOKENS = 8192  # of a text whose logits are kept: its ids are its key


@dataclass(frozen=True, slots=True)
class Read:
    """A text that was read to its end."""

    state: FloatArray  # (S,)
    logits: FloatArray  # (V,) of the piece that comes next
    cached: int  # tokens that were not run, because their state was kept
    key: _Key | None = None  # what its continuations are kept under, if they are


_Key = tuple[str, bytes]  # caller, token ids


@dataclass(frozen=True, slots=True)
class Prefilled:
    """How far a text was read."""

    state: FloatArray | None  # (S,) after ``position`` tokens; None at 0
    position: int
    cached: int


class LanguageModel:
    """One loaded language model with its cache of states.

    Args:
        model: the bundle's engine, batcher and tokenizer.
        cache: states by prefix; others may use it too.
    """

    def __init__(self, model: LoadedModel, cache: StateCache) -> None:
        self.model = model
        self.manifest: Manifest = model.manifest
        self.id = model.id
        self.batcher: Batcher = model.batcher
        self.tokenizer: Tokenizer = model.tokenizer
        self.cache = cache
        self.vocab_size = model.manifest.vocab_size
        pieces = [self.tokenizer.token_bytes(token) or None for token in range(self.vocab_size)]
        self.table = PieceTable(pieces, END_ID, spaced=self.manifest.language == "en")
        self._known: OrderedDict[_Key, Read] = OrderedDict()
        self._max_known = (
            MAX_KNOWN_BYTES // (4 * (self.vocab_size + self.manifest.state_size)) if cache.max_bytes else 0
        )
        self._fingerprint = bundle_fingerprint(self.manifest.files)

    async def read(self, input_ids: Sequence[int], caller: str = "") -> Read:
        """Read a whole text, from the longest beginning whose state is known.

        Args:
            input_ids: (T,) the whole text, T >= 1, START_ID included.
            caller: whose states may be used and kept.
        """
        prefilled = await self._prefill(input_ids, caller)
        admitted = prefilled.position > prefilled.cached  # a first part was: the rest is not refused
        result = await self.batcher.submit(input_ids[prefilled.position :], prefilled.state, admitted=admitted)
        self.keep(input_ids, result.state, caller)
        return Read(result.state, result.logits[-1], prefilled.cached)

    async def read_again(self, input_ids: Sequence[int], caller: str = "") -> Read:
        """As ``read``, for texts that are read many times: while a word is typed, the text before it stays the same."""
        if len(input_ids) > MAX_KNOWN_TOKENS:
            return await self.read(input_ids, caller)
        key = (caller, _packed(input_ids))
        return self._look_up(key) or self._note(key, await self.read(input_ids, caller))

    async def follow(self, read: Read, paths: Sequence[PieceIds]) -> list[FloatArray]:
        """Logits (V,) after each of several continuations of a text, those that are not known in as few runs as possible.

        Args:
            read: the text.
            paths: pieces that follow it, at least one each.
        """
        found = [self._look_up(_continued(read, path)) for path in paths]
        futures: dict[int, asyncio.Future[RowResult]] = {}
        try:
            for index, path in enumerate(paths):  # one by one: if one is refused, those before it are cancelled below
                if found[index] is None:
                    futures[index] = self.batcher.submit(path, read.state)
            for index, future in futures.items():
                row = await future
                found[index] = self._note(_continued(read, paths[index]), Read(row.state, row.logits[-1], 0))
        finally:
            for future in futures.values():
                future.cancel()  # does nothing to those that are done
        return [known.logits for known in found if known is not None]

    async def spell(self, read: Read, path: PieceIds) -> FloatArray:
        """Logits (P + 1, V) after a text and after each of the P pieces that follow it, in one run at most."""
        rows, at = [read.logits], read
        for position in range(1, len(path) + 1):
            known = self._look_up(_continued(read, path[:position]))
            if known is None:
                result = await self.batcher.run(path[position - 1 :], at.state, len(path) - position + 1)
                self._note(_continued(read, path), Read(result.state, result.logits[-1], 0))
                return np.concatenate([np.stack(rows), result.logits])
            rows.append(known.logits)
            at = known
        return np.stack(rows)

    def _look_up(self, key: _Key | None) -> Read | None:
        known = self._known.get(key) if key is not None else None
        if known is not None and key is not None:
            self._known.move_to_end(key)
        return known

    def _note(self, key: _Key | None, read: Read) -> Read:
        """Keep a copy under the key, if there is one: a row of a batch would keep the whole batch alive."""
        if key is None or not self._max_known:
            return read
        kept = Read(read.state.copy(), read.logits.copy(), len(key[1]) // ID_BYTES, key)
        self._known[key] = kept
        if len(self._known) > self._max_known:
            self._known.popitem(last=False)
        return replace(kept, cached=read.cached)

    async def _prefill(self, input_ids: Sequence[int], caller: str) -> Prefilled:
        """Read a text but for its last token, whose logits are wanted and not kept."""
        last = len(input_ids) - 1
        known = self._look_up((caller, _packed(input_ids[:last]))) if last <= MAX_KNOWN_TOKENS else None
        if known is not None:
            return Prefilled(known.state, last, last)
        found = self.cache.longest_prefix((self._fingerprint, caller), input_ids[:last])
        state, position = (found.state, found.length) if found else (None, 0)
        cached = position
        while position < last:
            end = min(last, (position // CHECKPOINT_TOKENS + 1) * CHECKPOINT_TOKENS)
            state = (await self.batcher.submit(input_ids[position:end], state, admitted=position > cached)).state
            position = end
            if position == last or position <= MAX_CHECKPOINT:
                self.keep(input_ids[:position], state, caller)
        return Prefilled(state, position, cached)

    def keep(self, input_ids: Sequence[int], state: FloatArray, caller: str = "") -> None:
        """Remember the state (S,) after exactly these ids."""
        self.cache.insert((self._fingerprint, caller), input_ids, state)


def _packed(ids: Sequence[int]) -> bytes:
    return array("I", ids).tobytes()


def _continued(read: Read, path: PieceIds) -> _Key | None:
    return None if read.key is None else (read.key[0], read.key[1] + _packed(path))


def text_error(text: str, pointer: str, max_chars: int) -> FieldError | None:
    """What is wrong with a text before any model sees it; None if nothing is. Unlike a classifier's it may be blank."""
    if len(text) > max_chars:
        return FieldError(pointer, "too_long", f"has {len(text)} characters, the limit is {max_chars}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            detail = "holds a lone surrogate, which is half a character and not valid Unicode text"
            return FieldError(pointer, "lone_surrogate", detail)
    return None
