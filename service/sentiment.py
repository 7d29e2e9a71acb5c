"""Sentiment: texts in, a label with its probability for each out, and on request the prediction after every token."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from service.batching import RowResult
from service.bundle import Language
from service.errors import FieldError, InvalidRequestError, OverloadedError
from service.metrics import Metrics
from service.registry import LoadedModel, ModelRegistry
from service.schemas import SentimentResult, TracePoint
from service.settings import LimitSettings
from service.tokenizer import Pieces

INLINE_CHARS = 2_000  # longer texts are tokenised, and long traces built, off the event loop
INLINE_TRACE_TOKENS = 500


def softmax(logits: Sequence[float], temperature: float) -> list[float]:
    """Probabilities from logits, safe at any size of logit.

    Args:
        logits: (N,) finite scores.
        temperature: divides the logits, > 0.

    Returns:
        (N,) probabilities that sum to 1.
    """
    highest = max(logits)
    weights = [math.exp((logit - highest) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def about_tokens(characters: int, language: Language) -> int:
    """A guess at how many tokens a text will have, for the queue to be asked before the text is tokenised."""
    return characters // (2 if language == "zh" else 4) + 1


def check_text(text: str, pointer: str, max_chars: int) -> FieldError | None:
    """What is wrong with a text before any model sees it; None if nothing is."""
    if len(text) > max_chars:
        return FieldError(pointer, "too_long", f"has {len(text)} characters, the limit is {max_chars}")
    if not text or text.isspace():
        return FieldError(pointer, "blank", "holds no text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return FieldError(
                pointer,
                "lone_surrogate",
                "holds a lone surrogate, which is half a character and not valid Unicode text",
            )
    return None


def check_tokens(tokens: int, pointer: str, max_tokens: int, max_trace_tokens: int | None) -> FieldError | None:
    """What is wrong with a text of so many tokens; ``max_trace_tokens`` where a trace is asked for."""
    if tokens == 0:
        return FieldError(pointer, "blank", "holds nothing that the model can read")
    if tokens > max_tokens:
        return FieldError(pointer, "too_long", f"has {tokens} tokens, this model's limit is {max_tokens}")
    if max_trace_tokens is not None and tokens > max_trace_tokens:
        return FieldError(pointer, "too_long", f"has {tokens} tokens, the limit with trace is {max_trace_tokens}")
    return None


@dataclass(slots=True)
class TokenizedText:
    """One text on its way: what is known of it so far."""

    text: str
    model: LoadedModel
    ids: list[int]
    pieces: Pieces | None  # only where a trace is asked for: offsets cost time
    characters_before: int = 0  # of a text that goes on: what was read in earlier parts
    tokens_before: int = 0


def sentiment_result(text: TokenizedText, row: RowResult) -> SentimentResult:
    """Probabilities, label and trace from the logits (K, N) of one text: K = 1, or with a trace one per token."""
    manifest = text.model.manifest
    labels = manifest.labels
    points = [softmax(logits, manifest.temperature) for logits in row.logits.tolist()]
    final = points[-1]
    score = max(final)
    trace: list[TracePoint] | None = None
    if text.pieces is not None:
        trace = [
            TracePoint(
                token=text.text[start:end],
                start=text.characters_before + start,
                end=text.characters_before + end,
                probabilities=dict(zip(labels, point, strict=True)),
            )
            for start, end, point in zip(text.pieces.starts, text.pieces.ends, points, strict=True)
        ]
    return SentimentResult(
        model=manifest.id,
        label=labels[final.index(score)],
        score=score,
        probabilities=dict(zip(labels, final, strict=True)),
        tokens=text.tokens_before + len(text.ids),
        trace=trace,
    )


class SentimentClassifier:
    """The use case behind ``/v1/sentiment`` and ``rnnserve predict``.

    Args:
        registry: the loaded models.
        limits: what one request may ask for.
        metrics: where tokenisation is counted.
    """

    def __init__(self, registry: ModelRegistry, limits: LimitSettings, metrics: Metrics) -> None:
        self._registry = registry
        self._batchers = [model.batcher for model in registry if model.manifest.task == "sentiment"]
        self._limits = limits
        self._metrics = metrics

    @property
    def is_full(self) -> bool:
        """Whether some model's queue is full, so that it is worth asking for a ``refusal`` early."""
        return any(batcher.is_full for batcher in self._batchers)

    def refusal(self, texts: Sequence[str], model: str | None) -> OverloadedError | None:
        """Why the models can't read these texts in time; None if they can, and for texts that ``classify`` won't take.

        Raises:
            UnknownModelError: see ``ModelRegistry.resolve``.
        """
        limits = self._limits
        if len(texts) > limits.max_texts or any(check_text(text, "", limits.max_chars) for text in texts):
            return None
        return _refusal(texts, [self._registry.resolve(model, "sentiment", text) for text in texts])

    async def classify_one(
        self, text: str, *, model: str | None = None, trace: bool = False, pointer: str = "/text"
    ) -> SentimentResult:
        """Predict the sentiment of one text; as ``classify``, in fewer steps."""
        error = check_text(text, pointer, self._limits.max_chars)
        if error is not None:
            raise InvalidRequestError.of(error)
        chosen = self._registry.resolve(model, "sentiment", text)
        chosen.batcher.admit(about_tokens(len(text), chosen.manifest.language))
        start = perf_counter()
        if len(text) > INLINE_CHARS:
            known = await asyncio.to_thread(_tokenized, text, chosen, trace)
        else:
            known = _tokenized(text, chosen, trace)
        self._metrics.tokenization_seconds.observe((chosen.id,), perf_counter() - start)
        tokens = len(known.ids)
        max_trace_tokens = self._limits.max_trace_tokens if trace else None
        error = check_tokens(tokens, pointer, chosen.manifest.max_tokens, max_trace_tokens)
        if error is not None:
            raise InvalidRequestError.of(error)
        row = await chosen.batcher.submit(known.ids, None, tokens if trace else 1, admitted=True)
        if trace and tokens > INLINE_TRACE_TOKENS:
            return await asyncio.to_thread(sentiment_result, known, row)
        return sentiment_result(known, row)

    async def classify(
        self, texts: Sequence[str], *, model: str | None = None, trace: bool = False, pointers: Sequence[str] = ()
    ) -> list[SentimentResult]:
        """Predict the sentiment of each text.

        Args:
            texts: at least one, in any mix of languages.
            model: name of the model for all of them; None lets each text's script decide.
            trace: also return the prediction after every token.
            pointers: each text's place in the request, for error messages; ``/texts/0`` and so on by default.

        Returns:
            One result per text, in their order.

        Raises:
            InvalidRequestError: names every text that is blank, too long or not valid Unicode.
            UnknownModelError: see ``ModelRegistry.resolve``.
            OverloadedError, DeadlineExceededError, ModelRunError, NonFiniteOutputError: see ``Batcher.run``.
        """
        limits = self._limits
        if not 1 <= len(texts) <= limits.max_texts:
            code = "too_many" if texts else "too_few"
            detail = f"has {len(texts)} texts, at least 1 and at most {limits.max_texts} are allowed"
            raise InvalidRequestError.of(FieldError("/texts", code, detail))
        pointers = pointers or [f"/texts/{index}" for index in range(len(texts))]
        _raise_if_any(
            [check_text(text, pointer, limits.max_chars) for text, pointer in zip(texts, pointers, strict=True)]
        )
        models = [self._registry.resolve(model, "sentiment", text) for text in texts]
        error = _refusal(texts, models)
        if error is not None:
            raise error
        known = await self._tokenize(texts, models, trace)
        max_trace_tokens = limits.max_trace_tokens if trace else None
        _raise_if_any(
            [
                check_tokens(len(text.ids), pointer, text.model.manifest.max_tokens, max_trace_tokens)
                for text, pointer in zip(known, pointers, strict=True)
            ]
        )
        rows = await _run_rows(known)
        results: list[SentimentResult] = []
        for text, row in zip(known, rows, strict=True):
            if trace and len(text.ids) > INLINE_TRACE_TOKENS:
                results.append(await asyncio.to_thread(sentiment_result, text, row))
            else:
                results.append(sentiment_result(text, row))
        return results

    async def _tokenize(self, texts: Sequence[str], models: Sequence[LoadedModel], trace: bool) -> list[TokenizedText]:
        """Each text's pieces; long ones on another thread (the tokenizer lets the event loop run meanwhile)."""
        start = perf_counter()
        known: list[TokenizedText] = []
        budget = INLINE_CHARS
        for text, model in zip(texts, models, strict=True):
            if len(text) > budget:
                known.append(await asyncio.to_thread(_tokenized, text, model, trace))
                budget = INLINE_CHARS
            else:
                known.append(_tokenized(text, model, trace))
                budget -= len(text)
        self._metrics.tokenization_seconds.observe((models[0].id,), perf_counter() - start)
        return known


def _tokenized(text: str, model: LoadedModel, trace: bool) -> TokenizedText:
    if not trace:
        return TokenizedText(text, model, model.tokenizer.ids(text), None)
    pieces = model.tokenizer.encode(text)
    return TokenizedText(text, model, pieces.ids, pieces)


def _refusal(texts: Sequence[str], models: Sequence[LoadedModel]) -> OverloadedError | None:
    """Ask each model's queue before anything is spent on the request: tokenising may take as long as a refusal saves."""
    characters: dict[str, int] = {}
    for text, model in zip(texts, models, strict=True):
        characters[model.id] = characters.get(model.id, 0) + len(text)
    for model in models:
        if model.id in characters:
            tokens = about_tokens(characters.pop(model.id), model.manifest.language)
            error = model.batcher.refusal(tokens)
            if error is not None:
                return error
    return None


async def _run_rows(texts: Sequence[TokenizedText]) -> list[RowResult]:
    """Run each text, all submitted at once so that they share runs; if one fails, the others are dropped."""
    futures: list[asyncio.Future[RowResult]] = []
    try:
        for text in texts:
            keep = 1 if text.pieces is None else len(text.ids)
            futures.append(text.model.batcher.submit(text.ids, None, keep, admitted=True))
        return [await future for future in futures]
    finally:
        for future in futures:
            if not future.cancel() and not future.cancelled():
                future.exception()  # looked at, else asyncio logs it as forgotten


def _raise_if_any(found: Sequence[FieldError | None]) -> None:
    errors = [error for error in found if error is not None]
    if errors:
        raise InvalidRequestError.of(*errors)
