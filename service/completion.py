"""Completion: prompts in, text that goes on from them out, token by token or whole; and the log-probabilities of both.

All running generations advance together: each awaits one row of the batcher per step, so they share the model's runs, join
and leave between steps, and never wait for one another's end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import NamedTuple, TypeVar, cast

import numpy as np

from service.engine import FloatArray
from service.errors import FieldError, InvalidRequestError
from service.language_model import END_ID, NEVER_GENERATED, PAD_ID, START_ID, LanguageModel, text_error
from service.metrics import Metrics
from service.openai_schemas import CompletionRequest, FinishReason
from service.registry import ModelRegistry
from service.running_text import StateTokens, read_text, settle
from service.sampling import Sampler, SamplingParams, TokenLogprob, score, token_logprob
from service.sentiment import INLINE_CHARS
from service.settings import LimitSettings
from service.state_token import CarriedState
from service.streaming import TextStream

SCORED_TOKENS = 64  # positions whose logits are held at once while a prompt is scored: 3 MB for 12,000 pieces
INLINE_SCORES = 8  # more positions than this are scored off the event loop
WAITING_DELTAS = 64  # of one stream, before its generations wait for a client that reads slowly
SMALLEST_TOP_P = 1e-9  # top_p 0 means the likeliest token alone

DEFAULT_MAX_TOKENS = 16
SPECIAL_NAMES = {PAD_ID: "<pad>", START_ID: "<s>", END_ID: "</s>"}

T = TypeVar("T")


class TokenEntry(NamedTuple):
    """One token in the log-probabilities of a text."""

    token: str
    offset: int  # characters before it, prompt included
    logprob: float | None  # None for the first token of a prompt
    top: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Delta:
    """The next part of one choice."""

    index: int
    text: str
    entries: Sequence[TokenEntry] = ()
    finish_reason: FinishReason | None = None
    state: str | None = None  # sealed, at the end, where it was asked for
    mean_logprob: float = 0.0  # of all generated tokens, at the end, where completions are ranked


@dataclass(frozen=True, slots=True)
class Choice:
    """One finished completion."""

    index: int
    text: str
    entries: list[TokenEntry]
    finish_reason: FinishReason
    state: str | None = None


@dataclass(slots=True)
class Usage:
    """Tokens counted while a request runs."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """A request's options with their defaults filled in.

    Args:
        logprobs: how many alternatives to name for each token; None for no log-probabilities.
        others: as in OpenAI's API.
    """

    sampling: SamplingParams
    max_tokens: int
    n: int
    best_of: int
    echo: bool
    logprobs: int | None
    stop: tuple[str, ...]

    @classmethod
    def of(cls, request: CompletionRequest) -> Options:
        """Fill in the defaults."""
        stop = request.stop or ()
        n = request.n or 1
        return cls(
            sampling=SamplingParams(
                temperature=1.0 if request.temperature is None else request.temperature,
                top_p=1.0 if request.top_p is None else max(request.top_p, SMALLEST_TOP_P),
                top_k=max(request.top_k or 0, 0),
                frequency_penalty=request.frequency_penalty or 0.0,
                presence_penalty=request.presence_penalty or 0.0,
                logit_bias=request.logit_bias or {},
                seed=request.seed,
            ),
            max_tokens=DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens,
            n=n,
            best_of=request.best_of or n,
            echo=bool(request.echo),
            logprobs=request.logprobs,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
        )

    @property
    def scores_prompt(self) -> bool:
        """Whether the prompt's own log-probabilities are asked for."""
        return self.echo and self.logprobs is not None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the client counts it: without the start token that the model wants in front."""

    text: str
    ids: list[int]
    offsets: list[int]  # characters before each token
    goes_on: bool = False  # from a state: nothing stands in front
    pending: bytes = (
        b""  # of a character that the last ids begin: the text is without it, and completions may complete it
    )

    @property
    def input_ids(self) -> list[int]:
        """What the model reads."""
        return self.ids if self.goes_on or self.ids[:1] == [START_ID] else [START_ID, *self.ids]


@dataclass(frozen=True, slots=True)
class Started:
    """A prompt that was read: every one of its completions goes on from here."""

    prompt: Prompt
    state: FloatArray | None  # (S,); None if nothing is to be generated
    logits: FloatArray | None  # (V,) of the first token
    entries: list[TokenEntry]  # the prompt's own, if it was scored


@dataclass(slots=True)
class Job:
    """A request that was checked and whose prompts were read."""

    lm: LanguageModel
    options: Options
    prompts: list[Started]
    caller: str
    began: float
    carried: CarriedState | None = None  # where the text stood before the prompt, if it goes on or is to go on
    return_state: bool = False
    usage: Usage = field(default_factory=Usage)


class Completer:
    """The use case behind ``/v1/completions``.

    Args:
        registry: the loaded models.
        models: the language models among them, by id.
        limits: what one request may ask for.
        metrics: where generated tokens and the time to the first one are counted.
        states: opens and seals the states of texts that go on.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        models: Mapping[str, LanguageModel],
        limits: LimitSettings,
        metrics: Metrics,
        states: StateTokens,
    ) -> None:
        self._states = states
        self._registry = registry
        self._models = models
        self._limits = limits
        self._metrics = metrics

    async def start(self, request: CompletionRequest, caller: str = "") -> Job:
        """Check a request and read its prompts. What fails here fails before the first byte of an answer.

        Args:
            request: as sent.
            caller: whose cached states may be used.

        Raises:
            UnknownModelError: see ``ModelRegistry.resolve``.
            InvalidRequestError: a prompt is empty, too long or holds impossible ids; a limit or a bias is out of range.
            OverloadedError, DeadlineExceededError, ModelRunError, NonFiniteOutputError: see ``Batcher.run``.
        """
        began = perf_counter()
        lm = self._models[self._registry.resolve(request.model, "language-model", "").id]
        options = Options.of(request)
        sources = _sources(request)
        self._check(request, options, len(sources), lm.vocab_size)
        job = Job(lm, options, [], caller, began)
        if request.state is not None or request.return_state:
            _, job.carried = self._states.begin(request.state, "language-model", request.model, "", caller)
            job.return_state = bool(request.return_state)
        prompts = [await self._read(lm, source, pointer, job.carried) for source, pointer in sources]
        job.prompts = await _together([self._begin(job, prompt) for prompt in prompts])
        return job

    async def complete(self, job: Job) -> list[Choice]:
        """Generate every completion of a job: ``n`` for each prompt, sorted by index."""
        best_of = job.options.best_of
        finished = await _together([self._whole(job, started, i) for started in job.prompts for i in range(best_of)])
        choices: list[Choice] = []
        for first in range(0, len(finished), best_of):
            # The likeliest per token come first; without a choice to make, all of them in their own order.
            ranked = finished[first : first + best_of]
            if best_of > job.options.n:
                ranked = sorted(ranked, key=lambda item: -item[1])
            for choice, _ in ranked[: job.options.n]:
                choices.append(replace(choice, index=len(choices)))
        return choices

    async def stream(self, job: Job) -> AsyncGenerator[Delta, None]:
        """Generate every completion of a job, part by part as they come."""
        n = job.options.n
        streams = [
            self._generate(job, started, position * n + i, i)
            for position, started in enumerate(job.prompts)
            for i in range(n)
        ]
        async with aclosing(streams[0] if len(streams) == 1 else _merged(streams)) as deltas:
            async for delta in deltas:
                yield delta

    def _check(self, request: CompletionRequest, options: Options, prompts: int, vocab_size: int) -> None:
        limits = self._limits
        errors: list[FieldError] = []
        if options.best_of < options.n:
            errors.append(FieldError("/best_of", "too_small", f"is {options.best_of}, n is {options.n}"))
        if request.stream and (request.best_of or 1) > 1:
            errors.append(FieldError("/best_of", "not_with_stream", "can't be streamed: the best is known at the end"))
        if request.stream_options is not None and not request.stream:
            errors.append(FieldError("/stream_options", "only_with_stream", "needs stream"))
        if (request.state is not None or request.return_state) and (
            not isinstance(request.prompt, str) or options.echo
        ):
            field = "/state" if request.state is not None else "/return_state"
            errors.append(FieldError(field, "single_text", "goes with one prompt, given as text, without echo"))
        if prompts == 0:
            errors.append(FieldError("/prompt", "too_few", "is empty"))
        if options.max_tokens > limits.max_completion_tokens:
            detail = f"is {options.max_tokens}, the limit is {limits.max_completion_tokens}"
            errors.append(FieldError("/max_tokens", "too_large", detail))
        if prompts * options.best_of > limits.max_choices:
            detail = f"{prompts} prompts x {options.best_of} completions, the limit is {limits.max_choices}"
            errors.append(FieldError("/prompt", "too_many", detail))
        wrong = next((token for token in options.sampling.logit_bias if not 0 <= token < vocab_size), None)
        if wrong is not None:
            detail = f"token id {wrong} is outside the vocabulary, 0 to {vocab_size - 1}"
            errors.append(FieldError("/logit_bias", "out_of_range", detail))
        if errors:
            raise InvalidRequestError.of(*errors)

    async def _read(
        self, lm: LanguageModel, source: str | Sequence[int], pointer: str, carried: CarriedState | None = None
    ) -> Prompt:
        """Tokenise a prompt, with the tail of the text that it goes on; or check its token ids."""
        if isinstance(source, str):
            error = text_error(source, pointer, self._limits.max_chars)
            if error is None and not source and not (carried is not None and carried.tail):
                error = FieldError(pointer, "blank", "is empty")
            if error is not None:
                raise InvalidRequestError.of(error)
            start = perf_counter()
            if carried is not None:
                settled = await settle(lm.tokenizer, carried, source, pointer)
                pieces = settled.pieces
            elif len(source) > INLINE_CHARS:
                pieces = await asyncio.to_thread(lm.tokenizer.encode, source)
            else:
                pieces = lm.tokenizer.encode(source)
            self._metrics.tokenization_seconds.observe((lm.id,), perf_counter() - start)
            shift = len(carried.tail) if carried else 0
            goes_on = carried is not None and carried.tokens > 0
            prompt = Prompt(source, pieces.ids, [max(0, start - shift) for start in pieces.starts], goes_on)
        else:
            error = _ids_error(source, pointer, lm.vocab_size)
            if error is not None:
                raise InvalidRequestError.of(error)
            text = TextStream()
            offsets: list[int] = []
            parts: list[str] = []
            for token in source:
                offsets.append(text.decoded)
                parts.append(text.push(lm.table.pieces[token]))
            prompt = Prompt("".join(parts), list(source), offsets, pending=text.pending)
        if len(prompt.ids) > lm.manifest.max_tokens:
            detail = f"has {len(prompt.ids)} tokens, this model's limit is {lm.manifest.max_tokens}"
            raise InvalidRequestError.of(FieldError(pointer, "too_long", detail))
        return prompt

    async def _begin(self, job: Job, prompt: Prompt) -> Started:
        """Read a prompt with the model, from the longest beginning whose state is known; or score it whole."""
        lm, options, usage = job.lm, job.options, job.usage
        usage.prompt_tokens += len(prompt.ids)
        if options.scores_prompt:
            return await self._score(lm, prompt, options.logprobs or 0)
        if options.max_tokens == 0:
            return Started(prompt, None, None, [])
        input_ids = prompt.input_ids
        if prompt.goes_on and job.carried is not None:  # no cache: it knows texts from their start
            result = await lm.batcher.run(input_ids, job.carried.state)
            return Started(prompt, result.state, result.logits[-1], [])
        read = await lm.read(input_ids, job.caller)
        # The start token that we put in front is not counted: the client did not send it.
        usage.cached_tokens += max(0, read.cached - (len(input_ids) - len(prompt.ids)))
        return Started(prompt, read.state, read.logits, [])

    @staticmethod
    async def _score(lm: LanguageModel, prompt: Prompt, top: int) -> Started:
        """Log-probabilities of every token of a prompt, some positions at a time."""
        input_ids = prompt.input_ids
        implied = len(input_ids) - len(prompt.ids)  # 1 where we put the start token in front
        state: FloatArray | None = None
        logits: FloatArray | None = None
        scores: list[TokenLogprob] = []
        for begin in range(0, len(input_ids), SCORED_TOKENS):
            chunk = input_ids[begin : begin + SCORED_TOKENS]
            targets = np.array(input_ids[begin + 1 : begin + 1 + len(chunk)])
            result = await lm.batcher.submit(chunk, state, len(chunk), admitted=begin > 0)
            state, logits = result.state, result.logits[-1]
            rows = result.logits[: len(targets)]
            if len(targets) > INLINE_SCORES:
                scores += await asyncio.to_thread(score, rows, targets, top)
            else:
                scores += score(rows, targets, top)
        entries = [
            _entry(lm, token, offset, scored if position else None)
            for position, (token, offset, scored) in enumerate(
                zip(prompt.ids, prompt.offsets, [*[None] * (1 - implied), *scores], strict=True)
            )
        ]
        return Started(prompt, state, logits, entries)

    async def _whole(self, job: Job, started: Started, stream: int) -> tuple[Choice, float]:
        """One completion from beginning to end, with its mean log-probability per token."""
        text: list[str] = []
        entries: list[TokenEntry] = []
        mean = 0.0
        reason: FinishReason = "length"
        state: str | None = None
        async for delta in self._generate(job, started, 0, stream):
            text.append(delta.text)
            entries += delta.entries
            mean = delta.mean_logprob
            reason = delta.finish_reason or reason
            state = delta.state
        return Choice(0, "".join(text), entries, reason, state), mean

    async def _generate(self, job: Job, started: Started, index: int, stream: int) -> AsyncGenerator[Delta, None]:
        """Draw token after token, each from the model's answer to the one before.

        Args:
            job: the request.
            started: where to go on from.
            index: of the choice.
            stream: which of the prompt's completions this is: what its seed is combined with.

        Yields:
            Text as soon as it is certain.
        """
        lm, options = job.lm, job.options
        if options.echo:
            last = options.max_tokens == 0
            yield Delta(index, started.prompt.text, started.entries, "length" if last else None)
        elif options.max_tokens == 0:
            yield Delta(index, "", finish_reason="length", state=await self._state(job, started, ""))
        if options.max_tokens == 0:
            return
        assert started.logits is not None  # noqa: S101  # read, since there is something to generate
        state, logits = started.state, started.logits
        sampler = Sampler(options.sampling, lm.vocab_size, stream=stream, forbidden=NEVER_GENERATED)
        text = TextStream(options.stop, started.prompt.pending)
        parts: list[str] = []
        typed = len(started.prompt.text)
        pieces = lm.table.pieces
        scored = options.logprobs is not None or options.best_of > options.n
        entries = _EntryQueue(typed)
        generated: list[int] = []
        total = 0.0
        try:
            while True:
                token = sampler.sample(logits)
                generated.append(token)
                if len(generated) == 1 and index == 0:
                    self._metrics.first_token_seconds.observe((lm.id,), perf_counter() - job.began)
                if scored:
                    chosen = token_logprob(logits, token, options.logprobs or 0)
                    total += chosen.logprob
                    if options.logprobs is not None:
                        entries.add(_entry(lm, token, typed + text.decoded, chosen))
                delta = text.push(pieces[token])
                if token == END_ID or text.stopped or len(generated) == options.max_tokens:
                    break
                certain = entries.take(text.sent)
                if delta or certain:
                    parts.append(delta)
                    yield Delta(index, delta, certain)
                result = await lm.batcher.submit([token], state, admitted=True)
                state, logits = result.state, result.logits[-1]
            delta += text.finish()
            reason: FinishReason = "stop" if token == END_ID or text.stopped else "length"
            left = entries.take(text.sent) if text.stopped else entries.take_all()
            sealed = await self._state(job, started, "".join([*parts, delta]))
            yield Delta(index, delta, left, reason, sealed, total / len(generated))
        finally:
            job.usage.completion_tokens += len(generated)
            self._metrics.generated_tokens.add((lm.id,), len(generated))
            if len(generated) > 1 and state is not None and not started.prompt.goes_on:
                lm.keep([*started.prompt.input_ids, *generated[:-1]], state, job.caller)

    async def _state(self, job: Job, started: Started, completion: str) -> str | None:
        """The sealed state after prompt and completion, as if both had been sent as text; None unless asked for."""
        if not job.return_state or job.carried is None:
            return None
        standing, _ = await read_text(job.lm.model, job.carried, started.prompt.text + completion, "/prompt")
        return self._states.seal(job.lm.model, standing, job.caller)


class _EntryQueue:
    """Log-probabilities of generated tokens, until their text is certain.

    Args:
        typed: characters of the prompt, which offsets include.
    """

    __slots__ = ("_typed", "_waiting")

    def __init__(self, typed: int) -> None:
        self._typed = typed
        self._waiting: deque[TokenEntry] = deque()

    def add(self, entry: TokenEntry) -> None:
        """Append the newest token."""
        self._waiting.append(entry)

    def take(self, sent: int) -> list[TokenEntry]:
        """The tokens of which the first ``sent`` characters of the completion hold at least the beginning."""
        ready: list[TokenEntry] = []
        while self._waiting and self._waiting[0].offset - self._typed < sent:
            ready.append(self._waiting.popleft())
        return ready

    def take_all(self) -> list[TokenEntry]:
        """All of them: the text ends here, with a token that has no text of its own or with half a character."""
        ready = list(self._waiting)
        self._waiting.clear()
        return ready


def token_text(lm: LanguageModel, token: int) -> str:
    """A token as log-probabilities name it: its text; ``bytes:`` and escapes where that is no text; a special one's name."""
    piece = lm.table.pieces[token]
    if not piece:
        return SPECIAL_NAMES.get(token, "")
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def _entry(lm: LanguageModel, token: int, offset: int, scored: TokenLogprob | None) -> TokenEntry:
    text = token_text(lm, token)
    if scored is None:
        return TokenEntry(text, offset, None, None)
    top: dict[str, float] = {}
    for other, logprob in scored.top:
        top.setdefault(token_text(lm, other), logprob)  # two tokens may have one text: the likelier one counts
    top.setdefault(text, scored.logprob)
    return TokenEntry(text, offset, scored.logprob, top)


def _sources(request: CompletionRequest) -> list[tuple[str | list[int], str]]:
    """Each prompt with its place in the request."""
    prompt = request.prompt
    if isinstance(prompt, str):
        return [(prompt, "/prompt")]
    if prompt and isinstance(prompt[0], int):
        return [(prompt, "/prompt")]
    return [(part, f"/prompt/{index}") for index, part in enumerate(cast(list[str | list[int]], prompt))]


def _ids_error(ids: Sequence[int], pointer: str, vocab_size: int) -> FieldError | None:
    if not ids:
        return FieldError(pointer, "blank", "is empty")
    for position, token in enumerate(ids):
        if not 0 <= token < vocab_size:
            detail = f"token id {token} at position {position} is outside the vocabulary, 0 to {vocab_size - 1}"
            return FieldError(pointer, "out_of_range", detail)
        if token == PAD_ID:
            return FieldError(pointer, "out_of_range", f"token id {PAD_ID} at position {position} is padding, not text")
    return None


async def _together(coroutines: Sequence[Coroutine[object, object, T]]) -> list[T]:
    """Run all at once; if one fails, the others are cancelled."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()  # does nothing to those that are done


async def _merged(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """What the streams yield, as it comes; if one fails, the others are closed."""
    queue: asyncio.Queue[T | Exception | None] = asyncio.Queue(WAITING_DELTAS)

    async def pump(stream: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(stream):
                async for item in stream:
                    await queue.put(item)
        except Exception as error:  # noqa: BLE001  # raised below, where the stream is read
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.ensure_future(pump(stream)) for stream in streams]
    running = len(tasks)
    try:
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
