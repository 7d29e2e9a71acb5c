"""Sentiment: texts in, a label with its probability for each out, and on request the prediction after every token."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from time import perf_counter

from service.batching import RowResult
from service.errors import FieldError, InvalidRequestError
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


def check_pieces(pieces: Pieces, pointer: str, max_tokens: int, max_trace_tokens: int | None) -> FieldError | None:
    """What is wrong with a text once its tokens are known; ``max_trace_tokens`` where a trace is asked for."""
    tokens = len(pieces.ids)
    if tokens == 0:
        return FieldError(pointer, "blank", "holds nothing that the model can read")
    if tokens > max_tokens:
        return FieldError(pointer, "too_long", f"has {tokens} tokens, this model's limit is {max_tokens}")
    if max_trace_tokens is not None and tokens > max_trace_tokens:
        return FieldError(pointer, "too_long", f"has {tokens} tokens, the limit with trace is {max_trace_tokens}")
    return None


def sentiment_result(model: LoadedModel, text: str, pieces: Pieces, row: RowResult, trace: bool) -> SentimentResult:
    """Probabilities, label and trace from the logits (K, N) of one text: K = 1, or with a trace one per token."""
    manifest = model.manifest
    labels = manifest.labels
    points = [softmax(logits, manifest.temperature) for logits in row.logits.tolist()]
    final = points[-1]
    score = max(final)
    return SentimentResult(
        model=manifest.id,
        label=labels[final.index(score)],
        score=score,
        probabilities=dict(zip(labels, final, strict=True)),
        tokens=len(pieces.ids),
        trace=[
            TracePoint(token=text[start:end], start=start, end=end, probabilities=dict(zip(labels, point, strict=True)))
            for start, end, point in zip(pieces.starts, pieces.ends, points, strict=True)
        ]
        if trace
        else None,
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
        self._limits = limits
        self._metrics = metrics

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
        pieces = await self._tokenize(texts, models)
        max_trace_tokens = limits.max_trace_tokens if trace else None
        _raise_if_any(
            [
                check_pieces(piece, pointer, chosen.manifest.max_tokens, max_trace_tokens)
                for piece, pointer, chosen in zip(pieces, pointers, models, strict=True)
            ]
        )
        rows = await _run_rows(models, pieces, trace)
        results: list[SentimentResult] = []
        for chosen, text, piece, row in zip(models, texts, pieces, rows, strict=True):
            if trace and len(piece.ids) > INLINE_TRACE_TOKENS:
                results.append(await asyncio.to_thread(sentiment_result, chosen, text, piece, row, trace))
            else:
                results.append(sentiment_result(chosen, text, piece, row, trace))
        return results

    async def _tokenize(self, texts: Sequence[str], models: Sequence[LoadedModel]) -> list[Pieces]:
        """Each text's pieces; long ones on another thread (the tokenizer lets the event loop run meanwhile)."""
        start = perf_counter()
        pieces: list[Pieces] = []
        budget = INLINE_CHARS
        for text, model in zip(texts, models, strict=True):
            if len(text) > budget:
                pieces.append(await asyncio.to_thread(model.tokenizer.encode, text))
                budget = INLINE_CHARS
            else:
                pieces.append(model.tokenizer.encode(text))
                budget -= len(text)
        self._metrics.tokenization_seconds.observe((models[0].id,), perf_counter() - start)
        return pieces


async def _run_rows(models: Sequence[LoadedModel], pieces: Sequence[Pieces], trace: bool) -> list[RowResult]:
    """Run each text's pieces, all submitted at once so that they share runs; if one fails, the others are dropped."""
    futures: list[asyncio.Future[RowResult]] = []
    try:
        for model, piece in zip(models, pieces, strict=True):
            futures.append(model.batcher.submit(piece.ids, None, len(piece.ids) if trace else 1))
        return [await future for future in futures]
    finally:
        for future in futures:
            future.cancel()  # does nothing to those that are done


def _raise_if_any(found: Sequence[FieldError | None]) -> None:
    errors = [error for error in found if error is not None]
    if errors:
        raise InvalidRequestError.of(*errors)
