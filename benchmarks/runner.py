"""Runs the load generator from ordinary code: an event loop of its own for each load."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import uvloop

from benchmarks.load import LoadResult


def run(load: Coroutine[object, object, LoadResult]) -> LoadResult:
    """Run one load to its end on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load)
