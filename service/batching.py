"""Which requests share a model run, and which are refused because they would wait too long.

``BatchPolicy``, ``AdmissionPolicy`` and ``RunTimes`` are plain arithmetic; ``Batcher`` owns the queue and obeys them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from service.engine import FloatArray, IntArray, Model
from service.errors import DeadlineExceededError, OverloadedError

MAX_OUTPUT_FLOATS = 4_000_000  # logits of one run that keeps several positions a row: 16 MB
MAX_SPLIT_COST = 1.15  # time per row of a smaller run over that of the whole batch
CALIBRATION_SHAPES = [  # (B, T), some 30 ms for a layer of 256
    *((rows, longest) for rows in (1, 2, 4, 8) for longest in (1, 3, 6, 12, 24, 48, 96)),
    *((rows, longest) for rows in (16, 32) for longest in (1, 3, 6, 12, 24)),
]
LOOK_AHEAD = 4  # batches' worth of waiting rows that are considered for the next run


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Decides which waiting rows share the next model run. Knows no clock, no queue, no event loop."""

    max_batch_size: int = 32
    max_padded_tokens: int = 2048  # rows x longest row
    chunk_tokens: int = 256  # a longer row runs in parts of this size, others between
    max_padding_ratio: float = 1.5  # padded tokens / real tokens
    free_padded_tokens: int = 128  # below this a run of its own would cost more than the padding

    def take(self, lengths: Sequence[int], max_padded_tokens: int | None = None) -> list[int]:
        """Which of the waiting rows run now.

        Args:
            lengths: tokens of each waiting row's next chunk, oldest first; at least one.
            max_padded_tokens: a tighter bound for this run.

        Returns:
            Their indices, ascending. The oldest is always among them, so none waits for ever; then, oldest first, all
            that fit beside it without stretching the run.
        """
        bound = min(self.max_padded_tokens, max_padded_tokens or self.max_padded_tokens)
        chosen = [0]
        longest = total = lengths[0]
        for index in range(1, len(lengths)):
            if len(chosen) == self.max_batch_size:
                break
            length = lengths[index]
            padded = (len(chosen) + 1) * max(longest, length)
            stretched = padded > self.max_padding_ratio * (total + length) and padded > self.free_padded_tokens
            if padded <= bound and not stretched:
                chosen.append(index)
                longest = max(longest, length)
                total += length
        return chosen


class QueueState(NamedTuple):
    """How much waits or runs. ``head_tokens`` counts only the next chunk of each row: what a new short row waits for."""

    rows: int
    tokens: int
    head_tokens: int
    seconds_per_token: float  # measured: wall time from one finished token to the next, while busy

    @property
    def drain_s(self) -> float:
        """How long until all that waits is done."""
        return self.tokens * self.seconds_per_token


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """Decides whether a row may join the queue. Knows no clock, no queue, no event loop."""

    max_queued_rows: int = 2048
    max_queued_tokens: int = 1_000_000
    max_wait_s: float = 0.2

    def refusal(self, queue: QueueState, tokens: int, chunk_tokens: int, deadline_s: float) -> str | None:
        """Why a row of ``tokens`` tokens must not join, or None if it may.

        A row of one chunk waits for the next chunk of each row before it; a longer row takes turns with all the others,
        so it ends when all that waits has run. An idle model takes any row.
        """
        if queue.tokens == 0:
            return None
        if queue.rows >= self.max_queued_rows:
            return f"{queue.rows} rows are waiting, the limit is {self.max_queued_rows}"
        if queue.tokens + tokens > self.max_queued_tokens:
            return f"{queue.tokens} tokens are waiting, the limit is {self.max_queued_tokens}"
        wait_s = queue.head_tokens * queue.seconds_per_token
        if wait_s > self.max_wait_s:
            return f"the predicted wait is {wait_s:.2f} s, the limit is {self.max_wait_s:g} s"
        before = queue.head_tokens if tokens <= chunk_tokens else queue.tokens
        finish_s = (before + tokens) * queue.seconds_per_token
        if finish_s > deadline_s:
            return f"the predicted time to the answer is {finish_s:.2f} s, the deadline is {deadline_s:g} s"
        return None


@dataclass(slots=True)
class RunTimes:
    """Predicts how long a model run takes from those before it: moving averages by size class. Knows no clock."""

    weight: float = 0.1  # of the newest run
    _by_class: dict[tuple[int, int], float] = field(default_factory=dict)

    def record(self, rows: int, longest: int, seconds: float) -> None:
        """Learn that a run of this shape took ``seconds``."""
        size_class = (rows.bit_length(), longest.bit_length())
        per_token = seconds / (rows * longest)
        known = self._by_class.get(size_class, per_token)
        self._by_class[size_class] = known + self.weight * (per_token - known)

    def rows_within(self, seconds: float, rows: int, longest: int) -> int:
        """How many of ``rows`` rows can run in ``seconds`` without costing more per row; 0 if none can.

        Half as many at a time, since a run of a few rows may cost as much per row as a large one (a recurrent layer that
        keeps its weights in the cache) or much more (an output layer whose weights are read anew at every run).
        """
        whole = self.predict(rows, longest)
        if whole is None:
            return 0
        part = rows
        while part:
            predicted = self.predict(part, longest)
            if predicted is None or predicted * rows > MAX_SPLIT_COST * whole * part:
                return 0
            if predicted <= seconds:
                return part
            part //= 2
        return 0

    def predict(self, rows: int, longest: int) -> float | None:
        """Expected seconds of a run of this shape; None while no run of its size class was seen."""
        per_token = self._by_class.get((rows.bit_length(), longest.bit_length()))
        return None if per_token is None else per_token * rows * longest


class RowResult(NamedTuple):
    """What a model run says about one row. Both are views into the run's arrays: copy what outlives the request."""

    state: FloatArray  # (S,)
    logits: FloatArray  # (K, N)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One finished model run, for the metrics."""

    rows: int
    tokens: int
    padded_tokens: int
    run_s: float
    waits_s: list[float]  # of the rows that ran for the first time
    inline: bool


class BatchObserver(Protocol):
    """What a batcher tells about its work."""

    def observe_run(self, record: RunRecord) -> None:
        """A run ended."""
        ...

    def observe_failed(self, error: Exception) -> None:
        """The model failed on a row, alone."""
        ...

    def observe_cancelled(self, stage: str) -> None:
        """A row was dropped, ``queued`` or ``running``, because nobody waits for it any more."""
        ...

    def observe_rejected(self, reason: str) -> None:
        """A row was refused (``overloaded``) or ran out of time (``deadline``)."""
        ...


class _Row:
    """One text, or one step of a generation, on its way through the model."""

    __slots__ = ("deadline", "enqueued", "future", "input_ids", "keep", "length", "logits", "position", "state")

    def __init__(
        self,
        input_ids: Sequence[int] | IntArray,
        state: FloatArray | None,
        keep: int,
        future: asyncio.Future[RowResult],
        enqueued: float,
        deadline: float,
    ) -> None:
        self.input_ids = input_ids
        self.length = len(input_ids)
        self.position = 0
        self.state = state
        self.keep = keep
        self.logits: list[FloatArray] = []
        self.future = future
        self.enqueued = enqueued
        self.deadline = deadline


_Outcome = tuple[FloatArray, FloatArray] | Exception
_Batch = tuple[list[_Row], list[int]]  # rows, and how many tokens of each are in this run
_Executed = tuple[list[_Outcome], float]  # one outcome a row: (S,) and (K, N), or why it failed; seconds


class Batcher:
    """Gathers the rows of concurrent callers into model runs, without ever waiting for more rows.

    A free model takes whatever is queued at once; what arrives meanwhile forms the next batch. Short runs happen on the
    event loop, where they cost no hand-over, longer ones on the model's own thread.

    Args:
        engine: the model.
        policy: which rows share a run.
        admission: which rows are refused.
        inline_run_s: runs predicted to be at most this long happen on the event loop; 0 for none.
        split: cut longer runs into such short ones where that costs no more, as it should be where no CPU is free for
            the model's thread anyway.
        deadline_s: longest time of one row, unless its caller says otherwise.
        observer: told about runs, cancelled and refused rows.
        run_times: what is known of this model's runs; else ``calibrate`` finds out, or the first runs do.
    """

    def __init__(
        self,
        engine: Model,
        policy: BatchPolicy | None = None,
        *,
        admission: AdmissionPolicy | None = None,
        inline_run_s: float = 0.0,
        split: bool = False,
        deadline_s: float = 30.0,
        observer: BatchObserver | None = None,
        run_times: RunTimes | None = None,
    ) -> None:
        self._engine = engine
        self._policy = policy or BatchPolicy()
        self._admission = admission or AdmissionPolicy()
        self._inline_run_s = inline_run_s
        self._split = split
        self._deadline_s = deadline_s
        self._observer = observer
        self._run_times = run_times or RunTimes()
        self._queue: deque[_Row] = deque()
        self._tokens = 0  # of waiting rows
        self._head_tokens = 0  # of waiting rows, each counted with its next chunk only
        self._running_tokens = 0  # of running rows, what is left of long ones included
        self._running_head_tokens = 0  # of the run itself
        self._seconds_per_token = 0.0
        self._last_end = 0.0
        self._backlog = False  # rows were waiting when the last run ended
        self._scheduled = False  # a dispatch is on its way, or a run is going on
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def calibrate(self) -> None:
        """Time runs of the usual shapes, so that the first predictions are not guesses. Blocks; call it before serving."""
        for rows, longest in CALIBRATION_SHAPES:
            lengths = np.full(rows, longest)
            state = np.zeros((rows, self._engine.state_size), np.float32)
            start = perf_counter()
            self._engine.run(np.ones((rows, longest), np.int64), lengths, state, 1)
            seconds = perf_counter() - start
            self._run_times.record(rows, longest, seconds)
            self._seconds_per_token = seconds / (rows * longest)

    @property
    def queue_state(self) -> QueueState:
        """How much waits or runs now."""
        return QueueState(
            rows=len(self._queue),
            tokens=self._tokens + self._running_tokens,
            head_tokens=self._head_tokens + self._running_head_tokens,
            seconds_per_token=self._seconds_per_token,
        )

    async def run(
        self,
        input_ids: Sequence[int] | IntArray,
        state: FloatArray | None = None,
        logits_to_keep: int = 1,
        *,
        deadline_s: float | None = None,
    ) -> RowResult:
        """Feed one row to the model, together with whoever else is waiting.

        Args:
            input_ids: (T,) the row's tokens, T >= 1.
            state: (S,) what the row has read before; None at the start of a text.
            logits_to_keep: K, 1..T: how many last positions get logits.
            deadline_s: longest time to the result, in seconds from now.

        Returns:
            The state after the last token and the logits (K, N) of the last K positions.

        Raises:
            OverloadedError: the queue is full, or the row would come too late.
            DeadlineExceededError: the deadline passed while the row waited.
            ModelRunError, NonFiniteOutputError: the model failed on this row.
        """
        return await self.submit(input_ids, state, logits_to_keep, deadline_s=deadline_s)

    def submit(
        self,
        input_ids: Sequence[int] | IntArray,
        state: FloatArray | None = None,
        logits_to_keep: int = 1,
        *,
        deadline_s: float | None = None,
        admitted: bool = False,
    ) -> asyncio.Future[RowResult]:
        """As ``run``, but returns at once. Rows submitted together share a run; cancelling the future drops the row.

        ``admitted`` rows go on with work that was let in before, so they are never refused: a generation's next step.

        Raises:
            OverloadedError: the queue is full, or the row would come too late.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        length = len(input_ids)
        if not 1 <= logits_to_keep <= length:
            raise ValueError(f"logits_to_keep is {logits_to_keep}, the row has {length} tokens")
        if deadline_s is None:
            deadline_s = self._deadline_s
        if not admitted:
            self.admit(length, deadline_s=deadline_s)
        now = perf_counter()
        row = _Row(input_ids, state, logits_to_keep, loop.create_future(), now, now + deadline_s)
        self._enqueue(row)
        if not self._scheduled:
            # Not at once: whoever else became ready in this round of the event loop joins first.
            self._scheduled = True
            loop.call_soon(self._dispatch)
        return row.future

    def admit(self, tokens: int, *, deadline_s: float | None = None) -> None:
        """Let a request of about so many tokens in; its rows may then be submitted as ``admitted``.

        For asking before work is spent on the request, and once for all rows of it: they don't wait for strangers.

        Raises:
            OverloadedError: the queue is full, or the answer would come too late.
        """
        queue = self.queue_state
        if queue.tokens == 0:
            return
        deadline_s = self._deadline_s if deadline_s is None else deadline_s
        refusal = self._admission.refusal(queue, tokens, self._policy.chunk_tokens, deadline_s)
        if refusal is not None:
            if self._observer is not None:
                self._observer.observe_rejected("overloaded")
            raise OverloadedError(f"Too much work is queued: {refusal}.", queue.drain_s)

    def close(self) -> None:
        """End the model's thread after its current run. Rows still waiting fail with ``OverloadedError``."""
        for row in self._queue:
            if not row.future.done():
                row.future.set_exception(OverloadedError("the service is shutting down", 1.0))
        self._queue.clear()
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve another event loop; nobody waits any more on the one before, if there was one."""
        self._loop = loop
        self._queue.clear()
        self._tokens = self._head_tokens = self._running_tokens = self._running_head_tokens = 0
        self._scheduled = False

    def _next_tokens(self, row: _Row) -> int:
        return min(row.length - row.position, self._policy.chunk_tokens)

    def _enqueue(self, row: _Row) -> None:
        self._queue.append(row)
        self._tokens += row.length - row.position
        self._head_tokens += self._next_tokens(row)

    def _dequeue(self) -> _Row:
        row = self._queue.popleft()
        self._tokens -= row.length - row.position
        self._head_tokens -= self._next_tokens(row)
        return row

    def _requeue_first(self, rows: list[_Row]) -> None:
        self._queue.extendleft(reversed(rows))
        for row in rows:
            self._tokens += row.length - row.position
            self._head_tokens += self._next_tokens(row)

    def _dispatch(self) -> None:
        """Start the next run, if a row waits for one."""
        batch = self._form_batch()
        if batch is None:
            self._scheduled = False
            return
        rows, counts = batch
        inline_rows = self._run_times.rows_within(self._inline_run_s, len(rows), max(counts))
        if inline_rows and (inline_rows == len(rows) or self._split):
            self._requeue_first(rows[inline_rows:])
            batch = (rows[:inline_rows], counts[:inline_rows])
        self._running_head_tokens = sum(batch[1])
        self._running_tokens = sum(row.length - row.position for row in batch[0])
        if inline_rows == len(batch[0]):
            self._finish(batch, self._execute(batch), inline=True)
        else:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="model", daemon=True)
                self._thread.start()
            self._jobs.put(batch)

    def _form_batch(self) -> _Batch | None:
        """Take rows from the queue that run together; drop those that nobody waits for or whose time is up."""
        now = perf_counter()
        waiting: list[_Row] = []
        look_ahead = LOOK_AHEAD * self._policy.max_batch_size
        while self._queue and len(waiting) < look_ahead:
            row = self._dequeue()
            if row.future.done():
                self._observe_cancelled("queued")
            elif now > row.deadline:
                if self._observer is not None:
                    self._observer.observe_rejected("deadline")
                row.future.set_exception(
                    DeadlineExceededError(f"The deadline passed after {now - row.enqueued:.2f} s in the queue.")
                )
            else:
                waiting.append(row)
        if not waiting:
            return None
        # Rows that keep one position don't share a run with rows that keep many: theirs are K times the logits.
        keeps_one = waiting[0].keep == 1
        alike = [row for row in waiting if (row.keep == 1) == keeps_one]
        bound = None if keeps_one else max(1, MAX_OUTPUT_FLOATS // self._engine.logits_size)
        chosen = [alike[index] for index in self._policy.take([self._next_tokens(row) for row in alike], bound)]
        if len(chosen) < len(waiting):
            taken = set(map(id, chosen))
            self._requeue_first([row for row in waiting if id(row) not in taken])
        counts = [self._next_tokens(row) for row in chosen]
        return chosen, counts

    @staticmethod
    def _kept_here(row: _Row, count: int) -> int:
        """How many of the row's last ``keep`` positions lie in its next ``count`` tokens (they end the chunk)."""
        return max(0, min(count, row.position + count - (row.length - row.keep)))

    def _work(self) -> None:
        """The model's thread: run what comes, hand the outcome back to the event loop."""
        while (batch := self._jobs.get()) is not None:
            executed = self._execute(batch)
            loop = batch[0][0].future.get_loop()
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits for the outcome
                loop.call_soon_threadsafe(self._finish, batch, executed)

    def _execute(self, batch: _Batch) -> _Executed:
        """Run a batch; if it fails, each of its rows alone, so that a bad row fails alone."""
        rows, counts = batch
        start = perf_counter()
        try:
            state, logits = self._run(rows, counts)
            outcomes: list[_Outcome] = list(zip(state, logits, strict=True))
        except Exception as error:  # noqa: BLE001  # whatever a model run raises belongs to its rows
            if len(rows) == 1:
                outcomes = [error]
            else:
                outcomes = []
                for row, count in zip(rows, counts, strict=True):
                    outcomes += self._execute(([row], [count]))[0]
        return outcomes, perf_counter() - start

    def _run(self, rows: list[_Row], counts: list[int]) -> tuple[FloatArray, FloatArray]:
        size, longest = len(rows), max(counts)
        keep = max(1, *(self._kept_here(row, count) for row, count in zip(rows, counts, strict=True)))
        input_ids = np.zeros((size, longest), np.int64)
        state = np.zeros((size, self._engine.state_size), np.float32)
        for index, row in enumerate(rows):
            begin = row.position
            count = counts[index]
            input_ids[index, :count] = row.input_ids[begin : begin + count] if count < row.length else row.input_ids
            if row.state is not None:
                state[index] = row.state
        return self._engine.run(input_ids, np.array(counts, np.int64), state, keep)

    def _finish(self, batch: _Batch, executed: _Executed, *, inline: bool = False) -> None:
        """Hand each row its outcome, put unfinished rows back, start the next run."""
        rows, counts = batch
        outcomes, run_s = executed
        now = perf_counter()
        self._learn(counts, run_s, now)
        if self._observer is not None:
            self._observe(batch, run_s, now, inline=inline)
        self._running_tokens = self._running_head_tokens = 0
        for row, count, outcome in zip(rows, counts, outcomes, strict=True):
            future = row.future
            if future.done():
                self._observe_cancelled("running")
            elif isinstance(outcome, Exception):
                if self._observer is not None:
                    self._observer.observe_failed(outcome)
                future.set_exception(outcome)
            else:
                state, logits = outcome
                kept = self._kept_here(row, count)
                if row.position + count == row.length and not row.logits:
                    future.set_result(RowResult(state, logits[logits.shape[0] - kept :]))
                    continue
                if kept:
                    row.logits.append(logits[logits.shape[0] - kept :])
                row.position += count
                row.state = state
                if row.position == row.length:
                    future.set_result(RowResult(state, np.concatenate(row.logits)))
                else:
                    self._enqueue(row)
        self._backlog = bool(self._queue)
        if self._backlog:
            assert self._loop is not None  # noqa: S101  # rows came through submit
            self._loop.call_soon(self._dispatch)
        else:
            self._scheduled = False

    def _learn(self, counts: list[int], run_s: float, now: float) -> None:
        """Update the predictions: of a run's own time, and of the wall time per token while there is work."""
        self._run_times.record(len(counts), max(counts), run_s)
        # If rows were waiting when the last run ended, all the time since then went into these tokens.
        per_token = (now - self._last_end if self._backlog else run_s) / sum(counts)
        self._seconds_per_token += 0.1 * (per_token - self._seconds_per_token) if self._seconds_per_token else per_token
        self._last_end = now

    def _observe(self, batch: _Batch, run_s: float, now: float, *, inline: bool) -> None:
        assert self._observer is not None  # noqa: S101  # the caller checked
        rows, counts = batch
        started = now - run_s
        self._observer.observe_run(
            RunRecord(
                rows=len(rows),
                tokens=sum(counts),
                padded_tokens=len(rows) * max(counts),
                run_s=run_s,
                waits_s=[started - row.enqueued for row in rows if row.position == 0],
                inline=inline,
            )
        )

    def _observe_cancelled(self, stage: str) -> None:
        if self._observer is not None:
            self._observer.observe_cancelled(stage)
