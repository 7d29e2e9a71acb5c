"""The event loop keeps out of the way of the models' threads while it refuses requests."""

from __future__ import annotations

import asyncio

from service.batching import Batcher
from service.overload import PAUSE_S, Breather
from tests.service.test_batching import RecurrentSum, known_times


async def test_one_pause_is_made_however_many_are_refused_at_once() -> None:
    """At the end of the round, not between two refusals."""
    pauses: list[float] = []
    breather = Breather([Batcher(RecurrentSum())], pauses.append)
    for _ in range(3):
        breather.plan()

    assert pauses == []
    await asyncio.sleep(0)
    assert pauses == [PAUSE_S]
    breather.plan()
    await asyncio.sleep(0)
    assert pauses == [PAUSE_S, PAUSE_S]


async def test_no_pause_is_made_while_another_model_runs_on_the_loop() -> None:
    """A generation's steps would wait for it."""
    pauses: list[float] = []
    generating = Batcher(RecurrentSum(), inline_run_s=10.0, run_times=known_times())
    breather = Breather([Batcher(RecurrentSum()), generating], pauses.append)
    await generating.run([1])

    breather.plan()
    await asyncio.sleep(0)

    assert pauses == []
