"""The same graph, tokeniser, texts and loads behind several servers, in turn, several times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.load import closed_loop
from benchmarks.runner import run
from benchmarks.servers import (
    NOOP,
    PEER_SERVERS,
    PEERS,
    RNNSERVE,
    Contestant,
    RunningServer,
    ServerFailedError,
    Verdict,
    running,
)
from benchmarks.texts import MEAN_WORDS, english_texts
from service.bundle import load_manifest

TEXTS = 1000
SEED = 20
KEEP_EVERY = 29  # prime, so that the answers kept under load are not always those of the same texts
TOLERANCE = 1e-4  # batches of other shapes sum in another order


@dataclass(frozen=True)
class Plan:
    """What is compared and for how long."""

    bundle: Path
    seconds: float  # measured at each concurrency
    warmup_s: float
    rounds: int
    concurrencies: Sequence[int]
    workers: int
    names: Sequence[str] = ()  # contestants to run; empty runs all

    @property
    def contestants(self) -> list[Contestant]:
        """Those who take part, rnnserve first."""
        return [each for each in (RNNSERVE, *PEER_SERVERS) if not self.names or each.name in self.names]

    @property
    def steps(self) -> int:
        """Loads in the whole comparison, for a progress bar."""
        return self.rounds * (len(self.contestants) * len(self.concurrencies) + 1) + 1


def compare(plan: Plan, on_step: Callable[[str], None]) -> dict[str, Any]:
    """Run the whole comparison.

    Each round starts with another contestant, so that a machine that slows down or speeds up favours nobody.

    Args:
        plan: what to run.
        on_step: told before each load what is measured next.

    Raises:
        ServerFailedError: a server did not start, or its answers differ from the bare loop's.
    """
    texts = english_texts(TEXTS, SEED)
    labels = load_manifest(plan.bundle).labels
    described = machine.describe()
    on_step("load generator alone")
    ceiling = _ceiling(plan)
    bare_runs, runs = [], []
    expected: list[Verdict] = []
    for number in range(plan.rounds):
        on_step(f"round {number + 1}: bare loop")
        bare = _bare_loop(plan, texts)
        expected = [
            Verdict(each["label"], tuple(each["probabilities"][label] for label in labels))
            for each in bare.pop("answers")
        ]
        bare_runs.append(bare)
        turn = number % len(plan.contestants)
        for contestant in plan.contestants[turn:] + plan.contestants[:turn]:
            with running(contestant, plan.bundle, plan.workers) as server:
                calls = [contestant.call(text) for text in texts]
                _check_one_by_one(server, texts, calls, expected, labels)
                for connections in plan.concurrencies:
                    on_step(f"round {number + 1}: {contestant.name} at {connections}")
                    result = run(
                        closed_loop(
                            server.port,
                            calls,
                            connections,
                            duration_s=plan.seconds,
                            warmup_s=plan.warmup_s,
                            keep_every=KEEP_EVERY,
                        )
                    )
                    for call, body in result.bodies:
                        _check(contestant, body, expected[call], labels)
                    runs.append(
                        {
                            "round": number + 1,
                            "server": contestant.name,
                            **result.summary(),
                            "answers_compared": len(result.bodies),
                            "memory_mb": round(server.memory_bytes() / 1e6, 1),
                        }
                    )
    manifest = load_manifest(plan.bundle)
    return {
        "machine": described,
        "model": {
            "name": manifest.id,
            "cell": manifest.cell,
            "num_layers": manifest.num_layers,
            "hidden_size": manifest.hidden_size,
            "embedding_dim": manifest.embedding_dim,
            "vocab_size": manifest.vocab_size,
        },
        "texts": {"count": TEXTS, "mean_words": MEAN_WORDS, "seed": SEED},
        "plan": {
            "seconds": plan.seconds,
            "warmup_s": plan.warmup_s,
            "rounds": plan.rounds,
            "concurrencies": list(plan.concurrencies),
            "workers": plan.workers,
        },
        "servers": {
            each.name: {"setting": each.setting.format(workers=plan.workers), "version": _version(each)}
            for each in plan.contestants
        },
        "ceiling": ceiling,
        "bare": bare_runs,
        "runs": runs,
    }


def _ceiling(plan: Plan) -> dict[str, float]:
    """What the generator reaches against a server that does nothing, by concurrency."""
    with running(NOOP, plan.bundle, 1) as server:
        calls = [NOOP.call(text) for text in english_texts(TEXTS, SEED)]
        return {
            str(connections): run(
                closed_loop(server.port, calls, connections, duration_s=min(2.0, plan.seconds), warmup_s=0.2)
            ).summary()["throughput_per_s"]
            for connections in plan.concurrencies
        }


def _bare_loop(plan: Plan, texts: Sequence[str]) -> dict[str, Any]:
    """Tokenise and run without a server, on one core."""
    finished = subprocess.run(
        [sys.executable, str(PEERS / "bare_loop.py"), str(plan.seconds)],
        input=json.dumps(texts).encode(),
        env={
            **os.environ,
            "BENCH_BUNDLE": str(plan.bundle),
            "ORT_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
        },
        stdout=subprocess.PIPE,
        timeout=60 + 4 * plan.seconds,
        check=True,
    )
    measured: dict[str, Any] = json.loads(finished.stdout)
    return measured


def _check_one_by_one(
    server: RunningServer,
    texts: Sequence[str],
    calls: Sequence[bytes],
    expected: Sequence[Verdict],
    labels: Sequence[str],
) -> None:
    """Every text once, before any load."""
    result = run(closed_loop(server.port, calls, 1, duration_s=120.0, max_requests=len(texts), keep_every=1))
    if len(result.bodies) != len(texts):
        raise ServerFailedError(f"{server.contestant.name} answered {len(result.bodies)} of {len(texts)} texts")
    for call, body in result.bodies:
        _check(server.contestant, body, expected[call], labels)


def _check(contestant: Contestant, body: bytes, expected: Verdict, labels: Sequence[str]) -> None:
    answer = contestant.verdict(body, labels)
    difference = max(abs(one - two) for one, two in zip(answer.probabilities, expected.probabilities, strict=True))
    undecided = max(expected.probabilities) - sorted(expected.probabilities)[-2] <= 2 * TOLERANCE
    if difference > TOLERANCE or (answer.label != expected.label and not undecided):
        raise ServerFailedError(f"{contestant.name} answered {answer}, the bare loop {expected}")


def _version(contestant: Contestant) -> str:
    """The version installed in the contestant's own environment."""
    if contestant is RNNSERVE:
        return "this repository"
    package = contestant.name.lower()
    pinned = (PEERS / "requirements" / f"{package}.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in pinned if line.lower().startswith(f"{package}=="))
