"""Which requests share a model run, and which are refused because they would wait too long.

``BatchPolicy``, ``AdmissionPolicy`` and ``RunTimes`` are plain arithmetic; ``Batcher`` owns the queue and obeys them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
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
JUST_NOW_S = 0.02
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
            if len(chosen) == self.max_batch_size or (len(chosen) + 1) * longest > bound:
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


_Outcome = tuple[FloatArray, FloatArray] | Exception  # (S,) and (K, N) of a row, or why it failed
_Batch = tuple[list[_Row], list[int]]  # rows, and how many tokens of each are in this run


class _Ended(NamedTuple):
    """What the event loop is told about a run."""

    record: RunRecord
    results: list[tuple[_Row, RowResult | Exception]]  # of the rows that have come to their end


class _Queue:
    """The rows that wait on one event loop, and what is left to do.

    The loop adds rows. Whoever has the model takes them, puts unfinished ones back and counts what is done: no number has
    two writers, so none needs a lock.
    """

    __slots__ = (
        *("added_head_tokens", "added_tokens", "done_head_tokens", "done_tokens"),
        *("loop", "on_thread", "rows", "scheduled"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.rows: deque[_Row] = deque()
        self.added_tokens = self.added_head_tokens = 0
        self.done_tokens = self.done_head_tokens = 0
        self.scheduled = False  # a dispatch is on its way, or the thread has the model; the loop's own, as is the next
        self.on_thread = False  # the thread has the model

    def tell(self, callback: Callable[..., None], *arguments: object) -> bool:
        """Call back on the event loop; False if it was closed meanwhile, so that nobody waits any more."""
        assert self.loop is not None  # noqa: S101  # rows came through submit
        try:
            self.loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            return False
        return True


class Batcher:
    """Gathers the rows of concurrent callers into model runs, without ever waiting for more rows.

    A free model takes whatever is queued at once; what arrives meanwhile forms the next batch. Short runs happen on the
    event loop, where they cost no hand-over, longer ones on the model's own thread. That takes its next batches from the
    queue itself until none waits: a loop that is busy with hundreds of connections would leave the model idle for as long.
    So at any time either the loop or the thread has the model.

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
        self._queue = _Queue(None)
        self._seconds_per_token = 0.0
        self._last_end = 0.0
        self._backlog = False  # rows were waiting when the last run ended
        self._jobs: SimpleQueue[tuple[_Queue, _Batch] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing = False

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
        queue = self._queue
        return QueueState(
            rows=len(queue.rows),
            tokens=queue.added_tokens - queue.done_tokens,
            head_tokens=queue.added_head_tokens - queue.done_head_tokens,
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
        if loop is not self._queue.loop:
            self._queue = _Queue(loop)  # nobody waits any more on the one before, if there was one
        queue = self._queue
        length = len(input_ids)
        if not 1 <= logits_to_keep <= length:
            raise ValueError(f"logits_to_keep is {logits_to_keep}, the row has {length} tokens")
        if deadline_s is None:
            deadline_s = self._deadline_s
        if not admitted:
            self.admit(length, deadline_s=deadline_s)
        now = perf_counter()
        row = _Row(input_ids, state, logits_to_keep, loop.create_future(), now, now + deadline_s)
        queue.added_tokens += length
        queue.added_head_tokens += self._next_tokens(row)
        queue.rows.append(row)
        if not queue.scheduled:
            # Not at once: whoever else became ready in this round of the event loop joins first.
            queue.scheduled = True
            loop.call_soon(self._dispatch, queue)
        return row.future

    @property
    def uses_the_loop(self) -> bool:
        """Whether the model ran on the event loop just now: a generation's next step comes soon."""
        return not self._queue.on_thread and perf_counter() - self._last_end < JUST_NOW_S

    @property
    def is_full(self) -> bool:
        """Whether even the shortest row would wait too long now."""
        queue = self._queue
        head_tokens = queue.added_head_tokens - queue.done_head_tokens
        return head_tokens * self._seconds_per_token > self._admission.max_wait_s

    def admit(self, tokens: int, *, deadline_s: float | None = None) -> None:
        """Let a request of about so many tokens in; its rows may then be submitted as ``admitted``.

        For asking before work is spent on the request, and once for all rows of it: they don't wait for strangers.

        Raises:
            OverloadedError: the queue is full, or the answer would come too late.
        """
        error = self.refusal(tokens, deadline_s=deadline_s)
        if error is not None:
            raise error

    def refusal(self, tokens: int, *, deadline_s: float | None = None) -> OverloadedError | None:
        """What ``admit`` would raise, counted as a refusal; None if it would not."""
        queue = self.queue_state
        if queue.tokens == 0:
            return None
        deadline_s = self._deadline_s if deadline_s is None else deadline_s
        reason = self._admission.refusal(queue, tokens, self._policy.chunk_tokens, deadline_s)
        if reason is None:
            return None
        if self._observer is not None:
            self._observer.observe_rejected("overloaded")
        return OverloadedError(f"Too much work is queued: {reason}.", queue.drain_s)

    def close(self) -> None:
        """End the model's thread after its current run. Rows still waiting fail with ``OverloadedError``."""
        self._closing = True
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        queue = self._queue
        while queue.rows:
            row = queue.rows.popleft()
            self._count_rest_done(queue, row)
            if not row.future.done():
                row.future.set_exception(OverloadedError("the service is shutting down", 1.0))

    def _next_tokens(self, row: _Row) -> int:
        return min(row.length - row.position, self._policy.chunk_tokens)

    def _count_rest_done(self, queue: _Queue, row: _Row) -> None:
        queue.done_tokens += row.length - row.position
        queue.done_head_tokens += self._next_tokens(row)

    def _dispatch(self, queue: _Queue) -> None:
        """Start the next run, if a row waits for one. The event loop has the model."""
        batch = self._form_batch(queue)
        if batch is None:
            queue.scheduled = False
            return
        rows, counts = batch
        inline_rows = self._run_times.rows_within(self._inline_run_s, len(rows), max(counts))
        if inline_rows and (inline_rows == len(rows) or self._split):
            queue.rows.extendleft(reversed(rows[inline_rows:]))
            batch = (rows[:inline_rows], counts[:inline_rows])
            self._deliver(queue, self._process(queue, batch, inline=True), True)
        else:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="model", daemon=True)
                self._thread.start()
            queue.on_thread = True
            self._jobs.put((queue, batch))

    def _work(self) -> None:
        """The model's thread: from a first batch on, run what waits, then give the model back to the event loop."""
        while (job := self._jobs.get()) is not None:
            queue, batch = job
            while True:
                ended = self._process(queue, batch, inline=False)
                following = None if self._closing else self._form_batch(queue)
                alive = queue.tell(self._deliver, queue, ended, following is None)
                if following is None or not alive:
                    break
                batch = following

    def _form_batch(self, queue: _Queue) -> _Batch | None:
        """Take rows from the queue that run together; drop those that nobody waits for or whose time is up."""
        now = perf_counter()
        waiting: list[_Row] = []
        dropped: list[_Row] = []
        more_rows = LOOK_AHEAD * self._policy.max_batch_size
        more_tokens = LOOK_AHEAD * self._policy.max_padded_tokens
        while queue.rows and more_rows > 0 and more_tokens > 0:
            row = queue.rows.popleft()
            if row.future.done() or now > row.deadline:
                self._count_rest_done(queue, row)
                dropped.append(row)
            else:
                waiting.append(row)
                more_rows -= 1
                more_tokens -= self._next_tokens(row)
        if dropped:
            queue.tell(self._drop, dropped, now)
        if not waiting:
            return None
        # Rows that keep one position don't share a run with rows that keep many: theirs are K times the logits.
        keeps_one = waiting[0].keep == 1
        alike = [row for row in waiting if (row.keep == 1) == keeps_one]
        bound = None if keeps_one else max(1, MAX_OUTPUT_FLOATS // self._engine.logits_size)
        chosen = [alike[index] for index in self._policy.take([self._next_tokens(row) for row in alike], bound)]
        if len(chosen) < len(waiting):
            taken = set(map(id, chosen))
            queue.rows.extendleft([row for row in reversed(waiting) if id(row) not in taken])
        counts = [self._next_tokens(row) for row in chosen]
        return chosen, counts

    def _drop(self, rows: list[_Row], now: float) -> None:
        """Tell whoever still waits for these rows that their time is up."""
        for row in rows:
            if row.future.done():
                self._observe_cancelled("queued")
            else:
                if self._observer is not None:
                    self._observer.observe_rejected("deadline")
                row.future.set_exception(
                    DeadlineExceededError(f"The deadline passed after {now - row.enqueued:.2f} s in the queue.")
                )

    @staticmethod
    def _kept_here(row: _Row, count: int) -> int:
        """How many of the row's last ``keep`` positions lie in its next ``count`` tokens (they end the chunk)."""
        return max(0, min(count, row.position + count - (row.length - row.keep)))

    def _process(self, queue: _Queue, batch: _Batch, *, inline: bool) -> _Ended:
        """Run a batch, count it as done, put unfinished rows back. For whoever has the model."""
        rows, counts = batch
        started = perf_counter()
        outcomes = self._execute(batch)
        now = perf_counter()
        record = RunRecord(
            rows=len(rows),
            tokens=sum(counts),
            padded_tokens=len(rows) * max(counts),
            run_s=now - started,
            waits_s=[started - row.enqueued for row in rows if row.position == 0],
            inline=inline,
        )
        self._learn(counts, record.run_s, now)
        results: list[tuple[_Row, RowResult | Exception]] = []
        for row, count, outcome in zip(rows, counts, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._count_rest_done(queue, row)
                results.append((row, outcome))
                continue
            state, logits = outcome
            kept = self._kept_here(row, count)
            kept_logits = logits[logits.shape[0] - kept :]
            queue.done_tokens += count
            queue.done_head_tokens += count
            row.position += count
            if row.position == row.length:
                if row.logits:
                    kept_logits = np.concatenate([*row.logits, kept_logits])
                results.append((row, RowResult(state, kept_logits)))
            else:
                if kept:
                    row.logits.append(kept_logits)
                row.state = state
                queue.done_head_tokens -= self._next_tokens(row)
                queue.rows.append(row)
        self._backlog = bool(queue.rows)
        return _Ended(record, results)

    def _execute(self, batch: _Batch) -> list[_Outcome]:
        """Run a batch; if it fails, each of its rows alone, so that a bad row fails alone."""
        rows, counts = batch
        try:
            state, logits = self._run(rows, counts)
            return list(zip(state, logits, strict=True))
        except Exception as error:  # noqa: BLE001  # whatever a model run raises belongs to its rows
            if len(rows) == 1:
                return [error]
            return [self._execute(([row], [count]))[0] for row, count in zip(rows, counts, strict=True)]

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

    def _deliver(self, queue: _Queue, ended: _Ended, last: bool) -> None:
        """Hand the rows that have come to their end their results; after the ``last`` run the event loop has the model."""
        observer = self._observer
        if observer is not None:
            observer.observe_run(ended.record)
        for row, result in ended.results:
            if row.future.done():
                self._observe_cancelled("running")
            elif isinstance(result, Exception):
                if observer is not None:
                    observer.observe_failed(result)
                row.future.set_exception(result)
            else:
                row.future.set_result(result)
        if last:
            queue.on_thread = False
            queue.scheduled = bool(queue.rows)
            if queue.rows:
                assert queue.loop is not None  # noqa: S101  # rows came through submit
                queue.loop.call_soon(self._dispatch, queue)

    def _learn(self, counts: list[int], run_s: float, now: float) -> None:
        """Update the predictions: of a run's own time, and of the wall time per token while there is work."""
        self._run_times.record(len(counts), max(counts), run_s)
        # If rows were waiting when the last run ended, all the time since then went into these tokens.
        per_token = (now - self._last_end if self._backlog else run_s) / sum(counts)
        self._seconds_per_token += 0.1 * (per_token - self._seconds_per_token) if self._seconds_per_token else per_token
        self._last_end = now

    def _observe_cancelled(self, stage: str) -> None:
        if self._observer is not None:
            self._observer.observe_cancelled(stage)
