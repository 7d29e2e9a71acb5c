"""More work than the server can do: what still gets through, how late, and whether the suggested waits were true."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.load import Answer, closed_loop, open_loop
from benchmarks.runner import run
from benchmarks.servers import RunningServer
from benchmarks.texts import english_texts

WORDS = 200  # long texts: the server is busy with the model, and the generator needs little of its core
TEXTS = 200
PEAK_CONNECTIONS = (4, 16, 64)
OPEN_CONNECTIONS = 512
TOO_MANY_REQUESTS = 429


def measure_overload(
    server: RunningServer, loads: Sequence[float], seconds: float, warmup_s: float, on_step: Callable[[str], None]
) -> dict[str, Any]:
    """Find the server's peak, the best of some closed loops, then offer multiples of it in an open one.

    Args:
        server: the server under test, already running.
        loads: what to offer, as multiples of the peak.
        seconds: measured time of each load.
        warmup_s: time before it.
        on_step: told what is measured next.
    """
    calls = [server.contestant.call(text) for text in english_texts(TEXTS, seed=7, words=WORDS)]
    on_step("peak")
    peak = max(
        (
            run(closed_loop(server.port, calls, clients, duration_s=seconds, warmup_s=warmup_s)).summary()
            for clients in PEAK_CONNECTIONS
        ),
        key=lambda summary: summary["throughput_per_s"],
    )
    rows = []
    for load in loads:
        on_step(f"{load:.0%} of peak")
        offered = load * peak["throughput_per_s"]
        began, cpu_before = time.perf_counter(), time.process_time()
        result = run(
            open_loop(server.port, calls, offered, duration_s=seconds, warmup_s=warmup_s, connections=OPEN_CONNECTIONS)
        )
        generator_cpu = (time.process_time() - cpu_before) / (time.perf_counter() - began)
        summary = result.summary()
        rows.append(
            {
                "load": load,
                **summary,
                "goodput_of_peak": round(summary["throughput_per_s"] / peak["throughput_per_s"], 3),
                "rejected_share": round(_share(result.answers, TOO_MANY_REQUESTS), 3),
                "generator_cpu": round(generator_cpu, 3),  # of one core
                "retry_after": suggested_against_observed(result.answers),
            }
        )
    return {"words": WORDS, "peak": peak, "rows": rows}


def suggested_against_observed(answers: Sequence[Answer]) -> dict[str, float]:
    """Compare the waits that refusals suggested with the time that the queue then took to drain.

    What was queued when a request was refused has drained when the last request that was due before and accepted has been
    answered. Returns both medians, and how far apart the two were for nine refusals of ten, in milliseconds.
    """
    accepted = sorted((answer for answer in answers if answer.status // 100 == 2), key=lambda answer: answer.due)
    refused = [answer for answer in answers if answer.status == TOO_MANY_REQUESTS and answer.retry_after_s is not None]
    if not accepted or not refused:
        return {}
    due = np.array([answer.due for answer in accepted])
    drained = np.maximum.accumulate(np.array([answer.finished for answer in accepted]))
    before = np.searchsorted(due, [answer.finished for answer in refused])
    observed = np.array(
        [
            max(0.0, float(drained[position - 1]) - answer.finished) if position else 0.0
            for position, answer in zip(before, refused, strict=True)
        ]
    )
    suggested = np.array([answer.retry_after_s for answer in refused])
    return {
        "suggested_p50_ms": round(float(np.median(suggested)) * 1e3, 1),
        "observed_p50_ms": round(float(np.median(observed)) * 1e3, 1),
        "difference_p90_ms": round(float(np.percentile(np.abs(suggested - observed), 90)) * 1e3, 1),
    }


def _share(answers: Sequence[Answer], status: int) -> float:
    return sum(answer.status == status for answer in answers) / len(answers) if answers else 0.0
