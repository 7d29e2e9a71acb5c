"""The written report: every figure comes from the results, losses are named like wins."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.budgets import Row, median_of
from benchmarks.compare import _check
from benchmarks.report import markdown
from benchmarks.servers import PEER_SERVERS, RNNSERVE, ServerFailedError, Verdict

MACHINE = {
    "cpu": "CPU",
    "cores": 2,
    "memory_gib": 4.0,
    "system": "Linux 6",
    "python": "3.11",
    "onnxruntime": "1",
    "uvicorn": "1",
    "fastapi": "1",
    "load_average_before": [0.1],
    "date": "2026-01-01",
}


def comparison(ours: float, theirs: float) -> dict[str, Any]:
    def run(server: str, number: int, rate: float) -> dict[str, Any]:
        figures = {"throughput_per_s": rate, "p50_ms": 1e3 / rate, "p99_ms": 2e3 / rate}
        return {
            "round": number,
            "server": server,
            "connections": 64,
            "answers_compared": 7,
            "memory_mb": 100.0,
            **figures,
        }

    return {
        "machine": MACHINE,
        "model": {"cell": "lstm", "num_layers": 1, "hidden_size": 256, "embedding_dim": 128, "vocab_size": 12000},
        "texts": {"count": 10, "mean_words": 20},
        "plan": {"seconds": 1.0, "warmup_s": 0.1, "rounds": 3, "concurrencies": [64], "workers": 2},
        "servers": {"rnnserve": {"setting": "s", "version": "v"}, "mosec": {"setting": "s", "version": "v"}},
        "ceiling": {"64": 1e5},
        "bare": [{"alone": {"throughput_per_s": 9.0}, "batches": {"throughput_per_s": 9.0}}],
        "runs": [
            run(server, number, rate * factor)
            for server, rate in (("rnnserve", ours), ("mosec", theirs))
            for number, factor in enumerate((0.5, 1.0, 2.0), start=1)
        ],
    }


def test_medians_are_taken_over_the_rounds() -> None:
    assert median_of(comparison(3000, 1000), "rnnserve", 64, "throughput_per_s") == 3000
    assert median_of(comparison(3000, 1000), "rnnserve", 16, "throughput_per_s") is None
    assert median_of(None, "rnnserve", 64, "throughput_per_s") is None


def test_a_win_and_a_loss_are_both_written_down() -> None:
    assert "against mosec: 3.00 × the throughput at 64; p50 at 64: 0.33 ×\n" in markdown(None, comparison(3000, 1000))
    assert "against mosec: 0.50 × the throughput at 64 (a loss); p50 at 64: 2.00 × (a loss)" in markdown(
        None, comparison(500, 1000)
    )


def test_a_broken_budget_is_written_as_such() -> None:
    rows = [Row("fast", "≤ 1", "0.5", True), Row("small", "≤ 1", "2", False), Row("later", "≤ 1", "not measured", None)]
    overload = {"words": 200, "peak": {"throughput_per_s": 100.0, "connections": 64}, "rows": []}

    report = markdown({"machine": MACHINE, "rows": [row.json() for row in rows], "overload": overload}, None)

    assert "| fast | ≤ 1 | 0.5 | yes |" in report
    assert "| small | ≤ 1 | 2 | NO |" in report
    assert "| later | ≤ 1 | not measured |  |" in report


LABELS = ("negative", "positive")


def test_every_contestants_answer_is_read_to_the_same_verdict() -> None:
    """Plain objects, our list of results, and the Open Inference Protocol's tensors."""
    plain = b'{"label": "positive", "probabilities": {"negative": 0.25, "positive": 0.75}}'
    ours = b'{"results": [' + plain + b"]}"
    tensors = b'{"outputs": [{"name": "label", "data": ["positive"]}, {"name": "probabilities", "data": [0.25, 0.75]}]}'
    verdict = Verdict("positive", (0.25, 0.75))

    assert RNNSERVE.verdict(ours, LABELS) == verdict
    for contestant in PEER_SERVERS:
        assert contestant.verdict(tensors if contestant.tensors else plain, LABELS) == verdict


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"results": []}', b'{"label": "positive"}'])
def test_what_is_no_answer_stops_the_comparison(body: bytes) -> None:
    with pytest.raises(ServerFailedError, match="rnnserve answered"):
        RNNSERVE.verdict(body, LABELS)


def test_an_answer_that_differs_from_the_bare_loops_stops_the_comparison() -> None:
    """A server that is fast because it answers something else must not win."""
    body = b'{"label": "positive", "probabilities": {"negative": 0.25, "positive": 0.75}}'

    _check(RNNSERVE, body, Verdict("positive", (0.25005, 0.74995)), LABELS)
    with pytest.raises(ServerFailedError):
        _check(RNNSERVE, body, Verdict("positive", (0.26, 0.74)), LABELS)
    with pytest.raises(ServerFailedError):
        _check(RNNSERVE, body, Verdict("negative", (0.25, 0.75)), LABELS)
