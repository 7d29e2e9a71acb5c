"""Which rows share a model run, which are refused, and that nobody notices his company."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching import AdmissionPolicy, Batcher, BatchPolicy, QueueState, RowResult, RunRecord, RunTimes
from service.engine import FloatArray, IntArray
from service.errors import DeadlineExceededError, ModelRunError, NonFiniteOutputError, OverloadedError

BAD_TOKEN = 99


class RecurrentSum:
    """A model small enough to follow by hand: the state is a decaying sum of the tokens, each logit a view of it.

    Args:
        on_run: called with the ids before each run, on the thread that runs it; may raise.
    """

    state_size = 2
    logits_size = 2

    def __init__(self, on_run: Callable[[IntArray], None] = lambda ids: None) -> None:
        self.runs: list[IntArray] = []
        self._on_run = on_run

    def run(
        self, input_ids: IntArray, lengths: IntArray, state: FloatArray, logits_to_keep: int
    ) -> tuple[FloatArray, FloatArray]:
        """As ``Engine.run``."""
        self.runs.append(input_ids)
        self._on_run(input_ids)
        rows, time = input_ids.shape
        assert ((lengths >= 1) & (lengths <= time)).all()
        assert 1 <= logits_to_keep <= time
        final = state.copy()
        logits = np.zeros((rows, logits_to_keep, 2), np.float32)
        for row in range(rows):
            length = int(lengths[row])
            for position in range(length):
                final[row] = final[row] * np.float32(0.5) + np.array([input_ids[row, position], 1], np.float32)
                slot = position - (length - logits_to_keep)
                if slot >= 0:
                    logits[row, slot] = final[row]
        return final, logits


def known_times() -> RunTimes:
    """As if every shape had been run: 0.1 ms for a token."""
    times = RunTimes()
    for rows in (1, 2, 4, 8, 16, 32):
        for longest in (1, 2, 4, 8, 16, 32, 64):
            times.record(rows, longest, rows * longest * 0.0001)
    return times


def alone(tokens: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """State (S,) and every position's logits (T, N) of one row in a run of its own."""
    ids = np.array([tokens])
    state, logits = RecurrentSum().run(ids, np.array([len(tokens)]), np.zeros((1, 2), np.float32), len(tokens))
    return state[0], logits[0]


@given(lengths=st.lists(st.integers(1, 600), min_size=1, max_size=80), size=st.integers(1, 40))
def test_policy_takes_the_oldest_and_stays_within_its_bounds(lengths: list[int], size: int) -> None:
    """None waits for ever, and no run is larger than the operator allows."""
    policy = BatchPolicy(max_batch_size=size, max_padded_tokens=1000)

    chosen = policy.take(lengths)

    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= size
    assert len(chosen) == 1 or len(chosen) * max(lengths[index] for index in chosen) <= 1000


def test_policy_keeps_short_rows_out_of_a_long_row_s_run() -> None:
    """Padding thirty short rows to a long one would cost more than a run of their own."""
    assert BatchPolicy().take([256] + [8] * 30) == [0]
    assert BatchPolicy().take([8] * 15 + [256] + [8] * 16) == [*range(15), *range(16, 32)]


def test_policy_takes_all_alike_rows_up_to_the_batch_size() -> None:
    """Nothing is left behind for no reason."""
    assert BatchPolicy(max_batch_size=4).take([10, 11, 9, 10, 10]) == [0, 1, 2, 3]


def queue(rows: int = 1, tokens: int = 100, head_tokens: int = 100, seconds_per_token: float = 0.001) -> QueueState:
    """A queue that holds so much."""
    return QueueState(rows, tokens, head_tokens, seconds_per_token)


def test_admission_takes_anything_when_nothing_waits() -> None:
    """One long text on an idle service is not overload."""
    assert AdmissionPolicy(max_queued_tokens=10).refusal(queue(rows=0, tokens=0, head_tokens=0), 1000, 256, 1e9) is None


@pytest.mark.parametrize(
    ("waiting", "tokens", "deadline_s", "reason"),
    [
        (queue(rows=8), 1, 9.0, "8 rows are waiting, the limit is 8"),
        (queue(tokens=995), 10, 9.0, "995 tokens are waiting, the limit is 1000"),
        (queue(head_tokens=600), 10, 9.0, "the predicted wait is 0.60 s, the limit is 0.5 s"),
        (queue(head_tokens=200), 10, 0.2, "the predicted time to the answer is 0.21 s, the deadline is 0.2 s"),
        (
            queue(tokens=500, head_tokens=10),
            300,
            0.5,
            "the predicted time to the answer is 0.80 s, the deadline is 0.5 s",
        ),
        (queue(tokens=500, head_tokens=10), 10, 0.5, None),
    ],
)
def test_admission_names_the_limit_that_is_reached(
    waiting: QueueState, tokens: int, deadline_s: float, reason: str | None
) -> None:
    """A short row waits for one chunk of each before it, a long one for all of them."""
    policy = AdmissionPolicy(max_queued_rows=8, max_queued_tokens=1000, max_wait_s=0.5)

    assert policy.refusal(waiting, tokens, 256, deadline_s) == reason


def test_run_times_are_known_by_size_class_and_follow_the_machine() -> None:
    """A machine that becomes slower is noticed; a size never seen is not guessed."""
    times = RunTimes()
    times.record(1, 20, 0.002)

    assert times.predict(1, 30) == pytest.approx(0.003)
    assert times.predict(8, 20) is None
    for _ in range(100):
        times.record(1, 20, 0.004)
    assert times.predict(1, 20) == pytest.approx(0.004, rel=0.01)


def test_a_batch_is_cut_only_where_that_costs_no_more() -> None:
    """A recurrent layer is as quick per row with 8 rows as with 32; an output layer read anew at every run is not."""
    layer, output = RunTimes(), RunTimes()
    for rows in (1, 2, 4, 8, 16, 32):
        layer.record(rows, 20, max(rows, 4) * 0.0001)
        output.record(rows, 1, 0.001 + rows * 0.00001)

    assert layer.rows_within(0.001, 32, 20) == 8
    assert layer.rows_within(0.01, 32, 20) == 32
    assert layer.rows_within(0.0003, 32, 20) == 0
    assert output.rows_within(0.0011, 32, 1) == 0
    assert output.rows_within(0.0011, 1, 1) == 1
    assert layer.rows_within(1.0, 32, 300) == 0  # never seen


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("inline_run_s", [0.0, 0.0005, 10.0], ids=["thread", "short", "inline"])
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.booleans()), min_size=1, max_size=12
    ),
    chunk=st.integers(1, 50),
    size=st.integers(1, 5),
)
def test_a_row_s_result_depends_on_the_row_alone(
    inline_run_s: float, split: bool, rows: list[tuple[list[int], bool]], chunk: int, size: int
) -> None:
    """Whatever the company, the chunks and the thread: the same state and logits as in a run of its own."""

    async def scenario() -> list[RowResult]:
        policy = BatchPolicy(max_batch_size=size, max_padded_tokens=60, chunk_tokens=chunk)
        batcher = Batcher(RecurrentSum(), policy, inline_run_s=inline_run_s, split=split, run_times=known_times())
        try:
            return await asyncio.gather(
                *(batcher.run(tokens, None, len(tokens) if every else 1) for tokens, every in rows)
            )
        finally:
            batcher.close()

    results = asyncio.run(scenario())

    for (tokens, every), result in zip(rows, results, strict=True):
        state, logits = alone(tokens)
        np.testing.assert_array_equal(result.state, state)
        np.testing.assert_array_equal(result.logits, logits if every else logits[-1:])


async def test_rows_that_arrive_together_share_a_run() -> None:
    """Batching needs no waiting time: one round of the event loop is enough."""
    model = RecurrentSum()
    batcher = Batcher(model)

    await asyncio.gather(*(batcher.run([1, 2, 3]) for _ in range(8)))
    batcher.close()

    assert [run.shape for run in model.runs] == [(8, 3)]


async def test_rows_that_arrive_during_a_run_form_the_next_one() -> None:
    """A busy service batches by itself."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(ids: IntArray) -> None:
        entered.set()
        go_on.wait(10)

    model = RecurrentSum(hold)
    batcher = Batcher(model)
    first = batcher.submit([1])
    await asyncio.to_thread(entered.wait, 10)
    later = [batcher.submit([token]) for token in (2, 3, 4)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *later)
    batcher.close()

    assert [run.tolist() for run in model.runs] == [[[1]], [[2], [3], [4]]]


async def test_the_model_goes_on_while_the_event_loop_is_busy() -> None:
    """A loop that is held up by hundreds of connections does not leave the model idle."""
    entered, go_on, second = threading.Event(), threading.Event(), threading.Event()

    def hold(ids: IntArray) -> None:
        if ids.tolist() == [[2]]:
            second.set()
        entered.set()
        go_on.wait(10)

    batcher = Batcher(RecurrentSum(hold))
    first = batcher.submit([1])
    await asyncio.to_thread(entered.wait, 10)
    later = batcher.submit([2])
    go_on.set()

    assert second.wait(10)  # blocks the event loop
    assert not first.done()
    for row, token in ((first, 1), (later, 2)):
        np.testing.assert_array_equal((await row).state, alone([token])[0])
    batcher.close()


async def test_a_model_on_the_event_loop_is_known_to_use_it() -> None:
    """Whoever would pause the loop asks first."""
    inline = Batcher(RecurrentSum(), inline_run_s=10.0, run_times=known_times())
    seen = [inline.uses_the_loop]
    await inline.run([1])
    seen.append(inline.uses_the_loop)
    assert seen == [False, True]

    entered, go_on = threading.Event(), threading.Event()

    def hold(ids: IntArray) -> None:
        entered.set()
        go_on.wait(10)

    on_thread = Batcher(RecurrentSum(hold))
    waiting = on_thread.submit([1])
    await asyncio.to_thread(entered.wait, 10)
    assert not on_thread.uses_the_loop
    go_on.set()
    await waiting
    on_thread.close()


async def test_the_event_loop_answers_while_a_long_row_runs() -> None:
    """A blocked loop would stall every other request and the health check."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(ids: IntArray) -> None:
        entered.set()
        go_on.wait(10)

    batcher = Batcher(RecurrentSum(hold))
    waiting = asyncio.create_task(batcher.run([1] * 5000))
    await asyncio.sleep(0.01)  # reached only if the loop is free

    assert entered.is_set()
    assert not waiting.done()
    go_on.set()
    await waiting
    batcher.close()


async def test_a_short_row_overtakes_a_long_one() -> None:
    """A text of 100 chunks holds nobody up for longer than one chunk."""
    model = RecurrentSum()
    batcher = Batcher(model, BatchPolicy(chunk_tokens=10), inline_run_s=10.0, run_times=known_times())
    long = batcher.submit([1] * 1000)
    short = batcher.submit([2])
    await short

    assert not long.done()
    assert len(model.runs) <= 3
    await long
    batcher.close()


async def test_a_row_that_nobody_waits_for_never_reaches_the_model() -> None:
    """A client that left costs no model run."""
    observer = Recorder()
    model = RecurrentSum()
    batcher = Batcher(model, observer=observer)
    kept, gone = batcher.submit([1]), batcher.submit([2])
    gone.cancel()
    await kept
    batcher.close()

    assert [run.tolist() for run in model.runs] == [[[1]]]
    assert observer.cancelled == ["queued"]


async def test_a_row_that_nobody_waits_for_runs_no_further_chunk() -> None:
    """A long text whose client leaves stops at the next chunk."""
    observer = Recorder()
    model = RecurrentSum()
    batcher = Batcher(model, BatchPolicy(chunk_tokens=1), inline_run_s=10.0, observer=observer, run_times=known_times())
    gone = batcher.submit([1] * 100)
    while len(model.runs) < 3:  # noqa: ASYNC110  # counts turns of the loop, not time
        await asyncio.sleep(0)
    gone.cancel()
    await batcher.run([2])
    batcher.close()

    assert len(model.runs) < 10
    assert observer.cancelled == ["queued"]


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.runs: list[RunRecord] = []
        self.failed: list[Exception] = []
        self.cancelled: list[str] = []
        self.rejected: list[str] = []

    def observe_run(self, record: RunRecord) -> None:
        """A run ended."""
        self.runs.append(record)

    def observe_failed(self, error: Exception) -> None:
        """A row failed."""
        self.failed.append(error)

    def observe_cancelled(self, stage: str) -> None:
        """A row was dropped."""
        self.cancelled.append(stage)

    def observe_rejected(self, reason: str) -> None:
        """A row was refused."""
        self.rejected.append(reason)


@pytest.mark.parametrize("error", [ModelRunError("refused"), NonFiniteOutputError("NaN"), RuntimeError("surprise")])
async def test_a_bad_row_fails_alone(error: Exception) -> None:
    """The others of its run get their answers."""

    def refuse(ids: IntArray) -> None:
        if (ids == BAD_TOKEN).any():
            raise error

    observer = Recorder()
    batcher = Batcher(RecurrentSum(refuse), observer=observer)
    outcomes = await asyncio.gather(
        *(batcher.run(tokens) for tokens in ([1, 2], [BAD_TOKEN], [3])), return_exceptions=True
    )
    batcher.close()

    assert outcomes[1] is error
    assert observer.failed == [error]
    for tokens, outcome in (([1, 2], outcomes[0]), ([3], outcomes[2])):
        assert isinstance(outcome, RowResult)
        np.testing.assert_array_equal(outcome.state, alone(tokens)[0])


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    """The wait is queued work over the measured drain rate."""
    observer = Recorder()
    batcher = Batcher(RecurrentSum(), admission=AdmissionPolicy(max_queued_rows=3), observer=observer)
    batcher.calibrate()
    waiting = [batcher.submit([1] * 10) for _ in range(3)]
    expected = batcher.queue_state.drain_s

    with pytest.raises(OverloadedError, match="the limit is 3") as refusal:
        batcher.submit([1])

    assert refusal.value.retry_after_s == expected > 0
    assert not batcher.is_full  # the rows are too many, but they don't take long
    assert observer.rejected == ["overloaded"]
    await asyncio.gather(*waiting)
    batcher.close()


async def test_a_queue_full_of_long_rows_is_counted_in_tokens() -> None:
    """Ten books are more work than ten words."""
    admission = AdmissionPolicy(max_queued_tokens=10_000)
    batcher = Batcher(RecurrentSum(), BatchPolicy(chunk_tokens=512), admission=admission)
    waiting = [batcher.submit([1] * 4000) for _ in range(2)]

    with pytest.raises(OverloadedError, match="8000 tokens are waiting, the limit is 10000"):
        batcher.submit([1] * 4000)

    short = batcher.submit([1] * 5)
    await asyncio.gather(short, *waiting)
    batcher.close()


async def test_a_row_past_its_deadline_is_not_run() -> None:
    """An answer that comes too late is not worth a model run."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(ids: IntArray) -> None:
        entered.set()
        go_on.wait(10)

    observer = Recorder()
    model = RecurrentSum(hold)
    batcher = Batcher(model, observer=observer)
    first = batcher.submit([1])
    await asyncio.to_thread(entered.wait, 10)
    late = batcher.submit([2], deadline_s=0.0)
    go_on.set()

    with pytest.raises(DeadlineExceededError):
        await late
    await first
    batcher.close()
    assert [run.tolist() for run in model.runs] == [[[1]]]
    assert observer.rejected == ["deadline"]


async def test_a_queue_is_full_when_the_shortest_row_would_wait_too_long() -> None:
    """So that requests can be refused before they are looked at."""
    batcher = Batcher(RecurrentSum(), admission=AdmissionPolicy(max_wait_s=1e-9))
    batcher.calibrate()
    assert batcher.refusal(1) is None
    full = [batcher.is_full]
    waiting = batcher.submit([1] * 10)

    full.append(batcher.is_full)
    refusal = batcher.refusal(1)
    assert refusal is not None
    assert "the predicted wait" in refusal.detail
    await waiting
    assert [*full, batcher.is_full] == [False, True, False]
    assert batcher.queue_state[:3] == (0, 0, 0)
    batcher.close()


async def test_logits_to_keep_must_fit_the_row() -> None:
    """A caller's mistake is told to the caller, not to the model."""
    batcher = Batcher(RecurrentSum())

    with pytest.raises(ValueError, match="logits_to_keep is 3, the row has 2 tokens"):
        batcher.submit([1, 2], None, 3)
    with pytest.raises(ValueError, match="the row has 0 tokens"):
        batcher.submit([])


async def test_a_run_is_reported_with_its_padding_and_the_waits() -> None:
    """What the metrics show is what happened."""
    observer = Recorder()
    batcher = Batcher(RecurrentSum(), observer=observer)
    await asyncio.gather(batcher.run([1, 2, 3]), batcher.run([1]))
    batcher.close()

    (record,) = observer.runs
    assert (record.rows, record.tokens, record.padded_tokens) == (2, 4, 6)
    assert len(record.waits_s) == 2
    assert all(wait >= 0 for wait in record.waits_s)


async def test_closing_fails_what_still_waits() -> None:
    """A caller is told, not left hanging."""
    batcher = Batcher(RecurrentSum())
    waiting = batcher.submit([1])
    batcher.close()

    with pytest.raises(OverloadedError, match="shutting down"):
        await waiting
