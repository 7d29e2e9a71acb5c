"""Texts that go on: where one stands, the token that carries it to any replica, and the sentiment of what was read so far."""

from __future__ import annotations

import asyncio
from functools import partial

import numpy as np

from service.batching import RowResult
from service.bundle import Task
from service.errors import FieldError, InvalidRequestError, UnsettledTextError
from service.language_model import START_ID
from service.registry import LoadedModel, ModelRegistry
from service.schemas import SentimentResult
from service.sentiment import INLINE_CHARS, TokenizedText, check_text, check_tokens, sentiment_result
from service.settings import LimitSettings
from service.state_token import CarriedState, StateSealer, bundle_fingerprint
from service.tokenizer import Settled, Tokenizer


def start_of_text(model: LoadedModel) -> CarriedState:
    """Nothing read yet."""
    return CarriedState(np.zeros(model.manifest.state_size, np.float32), tail="", tokens=0, characters=0)


class StateTokens:
    """Opens what a request's ``state`` brings and seals what ``return_state`` takes away.

    Args:
        registry: the loaded models.
        sealer: the keys.
    """

    def __init__(self, registry: ModelRegistry, sealer: StateSealer) -> None:
        self._registry = registry
        self._sealer = sealer
        self._by_fingerprint = {bundle_fingerprint(model.manifest.files): model for model in registry}
        self._fingerprints = {model.id: fingerprint for fingerprint, model in self._by_fingerprint.items()}

    def begin(
        self, token: str | None, task: Task, model: str | None, text: str, caller: str = ""
    ) -> tuple[LoadedModel, CarriedState]:
        """The model that reads on and where the text stands: the token's, or the start of a text.

        Args:
            token: a state token; None starts a text.
            task: what is asked of the model.
            model: a model's name; without it the token's own model goes on, or the script of ``text`` decides.
            text: the new part.
            caller: who asks.

        Raises:
            UnknownModelError: see ``ModelRegistry.resolve``.
            The refusals of ``StateSealer.open``.
        """
        if token is None:
            chosen = self._registry.resolve(model, task, text)
            return chosen, start_of_text(chosen)
        if model is not None:
            allowed = [self._fingerprints[self._registry.resolve(model, task, text).id]]
        else:
            allowed = [print_ for print_, loaded in self._by_fingerprint.items() if loaded.manifest.task == task]
        fingerprint, carried = self._sealer.open(token, allowed, caller)
        return self._by_fingerprint[fingerprint], carried

    def seal(self, model: LoadedModel, carried: CarriedState, caller: str = "") -> str:
        """A token for where the text stands. Raises as ``StateSealer.seal``."""
        return self._sealer.seal(carried, self._fingerprints[model.id], caller)


async def settle(
    tokenizer: Tokenizer, carried: CarriedState, text: str, pointer: str, *, reserve: bool = False
) -> Settled:
    """Pieces of the tail and the new part; long parts are tokenised off the event loop.

    Raises:
        UnsettledTextError: see ``Tokenizer.settle``; names ``pointer``, the part's place in the request.
    """
    whole, at_start = carried.tail + text, carried.tokens == 0
    try:
        if len(whole) > INLINE_CHARS:
            return await asyncio.to_thread(partial(tokenizer.settle, whole, at_start, reserve=reserve))
        return tokenizer.settle(whole, at_start, reserve=reserve)
    except UnsettledTextError as error:
        raise UnsettledTextError(error.characters, error.limit, pointer) from None


async def read_text(
    model: LoadedModel, carried: CarriedState, text: str, pointer: str = "/text"
) -> tuple[CarriedState, Settled]:
    """Read a further part of a text with a language model, as far as its pieces are settled.

    Args:
        model: a language model.
        carried: where the text stands.
        text: what comes next, already checked; may end anywhere.
        pointer: the text's place in the request, for error messages.

    Returns:
        Where the text stands now, and its pieces: the settled ones, which were read, and the unsettled ones of the tail.

    Raises:
        UnsettledTextError: the text has no word boundary near its end.
        OverloadedError, DeadlineExceededError, ModelRunError, NonFiniteOutputError: see ``Batcher.run``.
    """
    settled = await settle(model.tokenizer, carried, text, pointer, reserve=True)
    if not len(settled.final):
        return CarriedState(carried.state, settled.tail, carried.tokens, carried.characters), settled
    input_ids = [*start_tokens(carried), *settled.final.ids]
    row = await model.batcher.run(input_ids, carried.state)
    characters = carried.characters + len(carried.tail) + len(text) - len(settled.tail)
    return CarriedState(row.state.copy(), settled.tail, carried.tokens + len(input_ids), characters), settled


def start_tokens(carried: CarriedState) -> list[int]:
    """What a language model reads before the next piece: the start token, if it has read nothing yet."""
    return [START_ID] if carried.tokens == 0 else []


async def read_sentiment(
    model: LoadedModel,
    carried: CarriedState,
    text: str,
    limits: LimitSettings,
    *,
    trace: bool = False,
    pointer: str = "/text",
) -> tuple[SentimentResult, CarriedState]:
    """Read a further part of a text.

    Args:
        model: a sentiment model.
        carried: where the text stands.
        text: what comes next; may end anywhere, even inside a word.
        limits: what one request may ask for.
        trace: also return the prediction after each piece of the tail and the new part; offsets count from the start of
            the whole text.
        pointer: the text's place in the request, for error messages.

    Returns:
        The prediction for all that was read so far, equal to that of the whole text read at once, and where it stands now.

    Raises:
        InvalidRequestError: the part is too long or not valid Unicode, or nothing but blanks was read so far.
        UnsettledTextError: the text has no word boundary near its end.
        OverloadedError, DeadlineExceededError, ModelRunError, NonFiniteOutputError: see ``Batcher.run``.
    """
    error = check_text(text, pointer, limits.max_chars)
    if error is not None and error.code == "blank":  # blanks may go on from a text, not begin one
        nothing = FieldError(pointer, "blank", "holds no text, and nothing came before it")
        error = None if carried.tail.strip() else nothing
    _raise(error)
    whole = carried.tail + text
    settled = await settle(model.tokenizer, carried, text, pointer)
    pieces = settled.pieces
    max_trace_tokens = limits.max_trace_tokens if trace else None
    _raise(check_tokens(len(pieces), pointer, model.manifest.max_tokens, max_trace_tokens))
    state, logits = carried.state, []
    if len(settled.final):
        row = await model.batcher.run(settled.final.ids, state, len(settled.final) if trace else 1)
        state = row.state.copy()
        logits.append(row.logits)
    ahead = await model.batcher.run(settled.unsettled.ids, state, len(settled.unsettled) if trace else 1)
    logits = [*logits, ahead.logits] if trace else [ahead.logits]
    read = TokenizedText(whole, model, pieces.ids, pieces if trace else None, carried.characters, carried.tokens)
    return sentiment_result(read, RowResult(ahead.state, np.concatenate(logits))), CarriedState(
        state,
        settled.tail,
        tokens=carried.tokens + len(settled.final),
        characters=carried.characters + len(whole) - len(settled.tail),
    )


def _raise(error: FieldError | None) -> None:
    if error is not None:
        raise InvalidRequestError.of(error)
