"""The metrics of several worker processes as one: each leaves its numbers in a folder, and whoever is asked adds them up."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from service.metrics import Metrics, Snapshot, render

INTERVAL_S = 1.0  # how old another worker's numbers may be


class WorkerMetrics:
    """One worker's part.

    Args:
        metrics: what this process counts.
        folder: shared by all workers of one start; None where there is only one.
    """

    def __init__(self, metrics: Metrics, folder: Path | None) -> None:
        self._metrics = metrics
        self._folder = folder

    def render(self) -> bytes:
        """The text that ``/metrics`` answers: this process as of now, the others as of a second ago."""
        return render([(self._metrics.snapshot(), True), *self._others()])

    async def leave_numbers(self) -> None:
        """Write this process's numbers every second, and once more when cancelled."""
        if self._folder is None:
            return
        try:
            while True:
                await asyncio.sleep(INTERVAL_S)
                self._write(self._folder)
        finally:
            self._write(self._folder)

    def _write(self, folder: Path) -> None:
        path = folder / f"{os.getpid()}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(self._metrics.snapshot()))
        partial.replace(path)

    def _others(self) -> list[tuple[Snapshot, bool]]:
        if self._folder is None:
            return []
        paths = [path for path in self._folder.glob("*.json") if path.stem != str(os.getpid())]
        return [(json.loads(path.read_text()), _is_alive(int(path.stem))) for path in paths]


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
