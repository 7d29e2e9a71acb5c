"""While requests are being refused: keep the event loop out of the way of the models' threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from service.batching import Batcher

PAUSE_S = 0.002


class Breather:
    """Lets an event loop that refuses requests look at its sockets every 2 ms only, as network cards do with interrupts.

    Refused clients come in singly, and to wake up for each costs as much again as to answer it: time that the threads of
    the models lack, as they lack Python's lock. Nothing else waits noticeably longer: no pause is made while a model that
    runs on the event loop is at work.

    Args:
        batchers: of all models.
        sleep: blocks for so many seconds.
    """

    def __init__(self, batchers: Sequence[Batcher], sleep: Callable[[float], None] = time.sleep) -> None:
        self._batchers = batchers
        self._sleep = sleep
        self._planned = False

    def plan(self) -> None:
        """Pause at the end of this round of the event loop."""
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._pause)

    def _pause(self) -> None:
        self._planned = False
        if not any(batcher.uses_the_loop for batcher in self._batchers):
            self._sleep(PAUSE_S)
