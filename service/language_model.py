"""A language model at work: its vocabulary, and the beginnings of texts that it need not read again."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from service.batching import Batcher
from service.bundle import Manifest
from service.engine import FloatArray
from service.errors import FieldError
from service.registry import LoadedModel
from service.state_cache import StateCache
from service.state_token import bundle_fingerprint
from service.tokenizer import Tokenizer
from service.word_search import PieceTable

PAD_ID, START_ID, END_ID = 0, 1, 2  # of every language model; a text is START_ID and its pieces
NEVER_GENERATED = (PAD_ID, START_ID)

CHECKPOINT_TOKENS = (
    256  # a long prompt leaves states at these distances behind, for texts that share only its beginning
)
MAX_CHECKPOINT = 2048  # tokens; further on only the end is kept: an entry holds its ids too


ROOTS_KEPT = 64  # texts whose next-piece logits are kept as well: about 3 MB for 12,000 pieces
MAX_ROOT_TOKENS = 8192  # of such a text: its ids are its key


@dataclass(frozen=True, slots=True)
class Read:
    """A text that was read to its end."""

    state: FloatArray  # (S,)
    logits: FloatArray  # (V,) of the piece that comes next
    cached: int  # tokens that were not run because their state was kept


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
        self._roots: OrderedDict[tuple[str, bytes], Read] = OrderedDict()
        self._fingerprint = bundle_fingerprint(self.manifest.files)

    async def read(self, input_ids: Sequence[int], caller: str = "") -> Read:
        """Read a whole text, from the longest beginning whose state is known.

        Args:
            input_ids: (T,) the whole text, T >= 1, START_ID included.
            caller: whose states may be used and kept.
        """
        prefilled = await self._prefill(input_ids, caller)
        result = await self.batcher.run(input_ids[prefilled.position :], prefilled.state)
        self.keep(input_ids, result.state, caller)
        return Read(result.state, result.logits[-1], prefilled.cached)

    async def read_again(self, input_ids: Sequence[int], caller: str = "") -> Read:
        """As ``read``, for texts that are read many times: while a word is typed, the text before it stays the same."""
        key = (caller, array("I", input_ids).tobytes())
        known = self._roots.get(key)
        if known is not None:
            self._roots.move_to_end(key)
            return known
        found = await self.read(input_ids, caller)
        if self.cache.max_bytes and len(input_ids) <= MAX_ROOT_TOKENS:
            # Copies: a row of a batch would keep the whole batch alive.
            self._roots[key] = Read(found.state.copy(), found.logits.copy(), len(input_ids))
            if len(self._roots) > ROOTS_KEPT:
                self._roots.popitem(last=False)
        return found

    async def _prefill(self, input_ids: Sequence[int], caller: str) -> Prefilled:
        """Read a text but for its last token, whose logits are wanted and not kept."""
        last = len(input_ids) - 1
        found = self.cache.longest_prefix((self._fingerprint, caller), input_ids[:last])
        state, position = (found.state, found.length) if found else (None, 0)
        cached = position
        while position < last:
            end = min(last, (position // CHECKPOINT_TOKENS + 1) * CHECKPOINT_TOKENS)
            state = (await self.batcher.run(input_ids[position:end], state)).state
            position = end
            if position == last or position <= MAX_CHECKPOINT:
                self.keep(input_ids[:position], state, caller)
        return Prefilled(state, position, cached)

    def keep(self, input_ids: Sequence[int], state: FloatArray, caller: str = "") -> None:
        """Remember the state (S,) after exactly these ids."""
        self.cache.insert((self._fingerprint, caller), input_ids, state)


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
