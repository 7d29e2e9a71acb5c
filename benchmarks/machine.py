"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime


def cores_apart() -> tuple[set[int], set[int]]:
    """The cores for a server and the one for the load generator; the same one if there is no other."""
    *others, last = sorted(os.sched_getaffinity(0))
    return set(others) or {last}, {last}


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Confine this thread, and the processes that it starts meanwhile, to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe() -> dict[str, Any]:
    """Processor, cores, memory, versions, how busy the machine was, and when."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    memory_kib = (_field("/proc/meminfo", "MemTotal") or "0").split()[0]
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory_kib) / 2**20, 1),
        "system": " ".join((platform.system(), platform.release().partition("-")[0])),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "uvicorn": version("uvicorn"),
        "fastapi": version("fastapi"),
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d"),
    }


def sentence(machine: dict[str, Any]) -> str:
    """The machine in one line for a report."""
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {machine['system']}, Python "
        f"{machine['python']}, ONNX Runtime {machine['onnxruntime']}, FastAPI {machine['fastapi']}, uvicorn "
        f"{machine['uvicorn']}; load average before: {machine['load_average_before'][0]}; {machine['date']}"
    )


def _field(path: str, name: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
