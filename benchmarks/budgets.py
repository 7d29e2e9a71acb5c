"""The budgets that the service promises to keep, each with what was measured beside its bound."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.load import LoadResult, closed_loop, encode_call
from benchmarks.overload import measure_overload
from benchmarks.runner import run
from benchmarks.servers import RNNSERVE, RunningServer, ServerFailedError, running
from benchmarks.texts import EVERYDAY, chinese_texts, english_texts

OK = 200
GENERATED_TOKENS = 200
STREAMS, STREAM_BOUNDS = (1, 32), (1500, 6000)
END_OF_TEXT = "2"  # the id that would end a generation early; biased away so that every stream has the same length
MIXED_REQUESTS = 10_000
COLD_STARTS = 3
OVERLOADS = (1.5, 3.0)
SHIPPED = ("sentiment-en", "sentiment-zh", "lm-en", "lm-zh")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    bound: str
    measured: str
    kept: bool | None  # None where nothing was measured

    def json(self) -> dict[str, Any]:
        """As written to the results file."""
        return {"what": self.what, "bound": self.bound, "measured": self.measured, "kept": self.kept}


@dataclass(frozen=True)
class Plan:
    """What is measured and for how long."""

    bundles: Path  # the shipped ones
    bench_bundle: Path  # the benchmark's own LSTM 256
    seconds: float
    warmup_s: float
    workers: int
    mixed_requests: int = MIXED_REQUESTS

    @property
    def shipped(self) -> list[str]:
        """Names of the shipped models that are there."""
        return [name for name in SHIPPED if (self.bundles / name / "manifest.json").exists()]

    @property
    def steps(self) -> int:
        """Calls of ``on_step``, about, for a progress bar."""
        return 5 + len(OVERLOADS) + len(self.shipped)


def measure(plan: Plan, peers: Mapping[str, Any] | None, on_step: Callable[[str], None]) -> dict[str, Any]:
    """Measure every budget that this machine's bundles allow.

    Args:
        plan: what to run.
        peers: the comparison's results, if there are any, for the budgets that are ratios.
        on_step: told before each measurement what comes next.
    """
    described = machine.describe()
    rows: list[Row] = []
    on_step("benchmark model, one client")
    with running(RNNSERVE, plan.bench_bundle, plan.workers) as server:
        what = "sentiment, 20 words, LSTM 256, one client: p50"
        rows.append(_measured(what, "≤ 0.6 ms", lambda: _latency(sentiment_latency(server, plan), 0.6)))
    overload = overload_apart(plan, on_step)
    rows += _peer_rows(peers)
    if plan.shipped:
        rows += _shipped_rows(plan, on_step)
    else:
        rows.append(Row("shipped models", "", "not measured: the folder of bundles is empty", None))
    rows += _overload_rows(overload)
    return {"machine": described, "rows": [row.json() for row in rows], "overload": overload, "shipped": plan.shipped}


def overload_apart(plan: Plan, on_step: Callable[[str], None]) -> dict[str, Any]:
    """Overload one worker; the generator, whose work grows with the offered load, has a core of its own.

    Else the server would have less to work with at three times its peak than at its peak.
    """
    server_cores, generator_core = machine.cores_apart()
    with ExitStack() as stack:
        with machine.on_cores(server_cores):
            server = stack.enter_context(running(RNNSERVE, plan.bench_bundle, 1))
        with machine.on_cores(generator_core):
            return measure_overload(
                server, OVERLOADS, plan.seconds, plan.warmup_s, lambda what: on_step(f"overload, {what}")
            )


def sentiment_latency(
    server: RunningServer, plan: Plan, model: str | None = None, texts: Sequence[str] = ()
) -> LoadResult:
    """One client, texts of 20 words."""
    chosen = texts or english_texts(500, seed=3, words=20)
    calls = [encode_call(RNNSERVE.path, {"text": text} | ({"model": model} if model else {})) for text in chosen]
    return _all_answered(run(closed_loop(server.port, calls, 1, duration_s=plan.seconds, warmup_s=plan.warmup_s)))


def next_word_latency(server: RunningServer, plan: Plan, model: str) -> LoadResult:
    """One client that types: each request is the last one's text and one more letter, so the prefix is warm."""
    calls = [
        encode_call("/v1/next-word", {"model": model, "text": text[:end]})
        for text in EVERYDAY
        for end in range(20, len(text) + 1)
    ]
    return _all_answered(run(closed_loop(server.port, calls, 1, duration_s=plan.seconds, warmup_s=plan.warmup_s)))


def generation_rate(server: RunningServer, plan: Plan, model: str, streams: int) -> float:
    """Tokens per second of all streams together, counted as they arrive."""
    calls = [
        encode_call(
            "/v1/completions",
            {
                "model": model,
                "prompt": prompt,
                "max_tokens": GENERATED_TOKENS,
                "temperature": 1.0,
                "seed": number,
                "stream": True,
                "stream_options": {"include_usage": True},
                "logit_bias": {END_OF_TEXT: -100},
            },
        )
        for number, prompt in enumerate(english_texts(64, seed=5, words=8))
    ]
    result = _all_answered(
        run(
            closed_loop(
                server.port,
                calls,
                streams,
                duration_s=plan.seconds,
                warmup_s=plan.warmup_s,
                keep_every=1,
                count_events=True,
            )
        )
    )
    tokens = sum(_completion_tokens(body) for _, body in result.bodies)
    events = sum(body.count(b"data: ") for _, body in result.bodies)
    return result.events / result.duration_s * tokens / events


def cold_start_s(plan: Plan) -> float:
    """From the start of the process to ready with all shipped models: the median of some starts."""
    times = []
    for _ in range(COLD_STARTS):
        with running(RNNSERVE, plan.bundles / plan.shipped[0], 1, ready_path="/readyz") as server:
            times.append(server.start_s)
    return statistics.median(times)


def memory_after_mixed_requests(plan: Plan) -> tuple[float, float]:
    """Resident megabytes of one process with all shipped models: at the start, and after many requests of every kind."""
    with running(RNNSERVE, plan.bundles / plan.shipped[0], 1) as server:
        before = server.memory_bytes() / 1e6
        result = run(
            closed_loop(server.port, mixed_calls(plan.shipped), 4, duration_s=600.0, max_requests=plan.mixed_requests)
        )
        _all_answered(result)
        return before, server.memory_bytes() / 1e6


def mixed_calls(models: Sequence[str]) -> list[bytes]:
    """Requests of every kind that these models answer: single and several texts, traces, next words, completions."""
    texts = {"en": english_texts(400, seed=6), "zh": chinese_texts(400, seed=6)}
    calls = []
    for number in range(400):
        for name in models:
            text = texts[name.rpartition("-")[2]][number]
            if name.startswith("sentiment"):
                several = texts[name.rpartition("-")[2]][number // 2 : number // 2 + 4]
                bodies: list[dict[str, Any]] = [{"text": text}, {"texts": several}, {"text": text, "trace": True}]
                calls.append(encode_call("/v1/sentiment", {"model": name, **bodies[number % 3]}))
            elif number % 2:
                calls.append(encode_call("/v1/next-word", {"model": name, "text": text[: len(text) * 2 // 3]}))
            else:
                calls.append(
                    encode_call("/v1/completions", {"model": name, "prompt": text, "max_tokens": 16, "seed": number})
                )
    return calls


def _shipped_rows(plan: Plan, on_step: Callable[[str], None]) -> list[Row]:
    rows = []
    with running(RNNSERVE, plan.bundles / plan.shipped[0], 1) as server:
        for name in plan.shipped:
            on_step(name)
            if name.startswith("sentiment"):
                rows.append(_sentiment_row(server, plan, name))
            else:
                if name.endswith("en"):
                    rows.append(_next_word_row(server, plan, name))
                rows += [
                    _generation_row(server, plan, name, *bound) for bound in zip(STREAMS, STREAM_BOUNDS, strict=True)
                ]
    on_step("cold start")
    rows.append(_cold_start_row(plan))
    on_step("memory")
    rows.append(_memory_row(plan))
    return rows


def _sentiment_row(server: RunningServer, plan: Plan, name: str) -> Row:
    texts = chinese_texts(500, seed=3) if name.endswith("zh") else ()
    what = f"sentiment, 20 words, {name}, one client: p50"
    return _measured(what, "≤ 1.2 ms", lambda: _latency(sentiment_latency(server, plan, name, texts), 1.2))


def _next_word_row(server: RunningServer, plan: Plan, name: str) -> Row:
    what = f"next word as one types, {name}: p50"
    return _measured(what, "≤ 1.5 ms", lambda: _latency(next_word_latency(server, plan, name), 1.5))


def _generation_row(server: RunningServer, plan: Plan, name: str, streams: int, bound: int) -> Row:
    def measure_it() -> tuple[str, bool]:
        rate = generation_rate(server, plan, name, streams)
        return f"{rate:,.0f} tokens/s", rate >= bound

    what = f"generation, {name}, {streams} stream{'s' if streams > 1 else ''}"
    return _measured(what, f"≥ {bound:,} tokens/s", measure_it)


def _cold_start_row(plan: Plan) -> Row:
    def measure_it() -> tuple[str, bool]:
        seconds = cold_start_s(plan)
        return f"{seconds:.2f} s", seconds <= 2

    return _measured(f"cold start to ready, models: {len(plan.shipped)}", "≤ 2 s", measure_it)


def _memory_row(plan: Plan) -> Row:
    def measure_it() -> tuple[str, bool]:
        before, after = memory_after_mixed_requests(plan)
        return f"{after:.0f} MB ({before:.0f} MB before)", after <= 300

    what = f"resident memory, models: {len(plan.shipped)}, after {plan.mixed_requests:,} mixed requests"
    return _measured(what, "≤ 300 MB", measure_it)


def _measured(what: str, bound: str, measure_it: Callable[[], tuple[str, bool]]) -> Row:
    """A row with its figure; a measurement that fails breaks its budget and leaves the others alone."""
    try:
        return Row(what, bound, *measure_it())
    except ServerFailedError as error:
        return Row(what, bound, f"failed: {error}", False)


def _peer_rows(peers: Mapping[str, Any] | None) -> list[Row]:
    wanted = (
        ("mosec", 1, "p50_ms", "p50 at 1 against mosec's", 1 / 6, "≤ 1/6"),
        ("mosec", 16, "throughput_per_s", "throughput at 16 against mosec's", 2.5, "≥ 2.5 ×"),
        ("mosec", 64, "throughput_per_s", "throughput at 64 against mosec's", 2.0, "≥ 2 × (floor 1.5 ×)"),
        ("LitServe", 64, "throughput_per_s", "throughput at 64 against LitServe's", 8.0, "≥ 8 ×"),
    )
    rows = []
    for peer, connections, figure, what, bound, bound_text in wanted:
        ours, theirs = (median_of(peers, name, connections, figure) for name in (RNNSERVE.name, peer))
        if ours is None or theirs is None:
            rows.append(Row(what, bound_text, "not measured: make bench-peers", None))
            continue
        ratio = ours / theirs
        unit = "ms" if figure == "p50_ms" else "requests/s"
        measured = f"{ratio:.2f} × ({ours:,.2f} against {theirs:,.2f} {unit})"
        rows.append(Row(what, bound_text, measured, ratio <= bound if figure == "p50_ms" else ratio >= bound))
    return rows


def median_of(peers: Mapping[str, Any] | None, server: str, connections: int, figure: str) -> float | None:
    """The median over the comparison's rounds, or None where it has no such run."""
    values = [
        run[figure]
        for run in (peers or {}).get("runs", [])
        if run["server"] == server and run["connections"] == connections
    ]
    return statistics.median(values) if values else None


def _overload_rows(overload: Mapping[str, Any]) -> list[Row]:
    rows = []
    for row in overload["rows"]:
        share = row["goodput_of_peak"]
        measured = (
            f"{share:.0%}, p99 of accepted {row['p99_ms']:.0f} ms, {row['rejected_share']:.0%} refused, "
            f"generator busy {row['generator_cpu']:.0%}"
        )
        what = f"goodput at {row['load']:.0%} of peak, one worker, generator on a core of its own"
        rows.append(Row(what, "≥ 90 % of peak", measured, share >= 0.9))
        if row["retry_after"]:
            waits = row["retry_after"]
            rows.append(
                Row(
                    f"suggested against observed wait at {row['load']:.0%}",
                    "reported",
                    f"median {waits['suggested_p50_ms']:.0f} ms against {waits['observed_p50_ms']:.0f} ms",
                    None,
                )
            )
    return rows


def _latency(result: LoadResult, bound_ms: float) -> tuple[str, bool]:
    summary = result.summary()
    return f"{summary['p50_ms']:.2f} ms (p99 {summary['p99_ms']:.2f} ms)", summary["p50_ms"] <= bound_ms


def _all_answered(result: LoadResult) -> LoadResult:
    """The result itself, if no request failed: a refused request is quick and would flatter every figure.

    Raises:
        ServerFailedError: something else than 200 came back, or nothing.
    """
    statuses = result.summary()["statuses"]
    answered = result.answers or result.bodies  # long streams may all end after the measured time
    if result.failures or set(statuses) - {str(OK)} or not answered:
        raise ServerFailedError(f"rnnserve answered {statuses}, failures {dict(result.failures)}")
    return result


def _completion_tokens(stream: bytes) -> int:
    """What the stream's usage event says."""
    events = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: {")]
    usage = json.loads(events[-1])["usage"]
    tokens: int = usage["completion_tokens"]
    return tokens
