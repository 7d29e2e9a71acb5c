"""Workers leave their numbers for each other."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from service.metrics import Metrics
from service.worker_metrics import WorkerMetrics

COUNTED = "rnnserve_cancelled_total"


def counting(amount: float) -> Metrics:
    """A process that has counted so much."""
    metrics = Metrics()
    metrics.cancelled.add(("queued",), amount)
    metrics.queue_depth.read_from(lambda: amount, ("m@1",))
    return metrics


def leave(folder: Path, process_id: int, amount: float) -> None:
    """As another worker does."""
    (folder / f"{process_id}.json").write_text(json.dumps(counting(amount).snapshot()))


def test_one_worker_alone_needs_no_folder() -> None:
    """The usual case."""
    assert f'{COUNTED}{{stage="queued"}} 2.0' in WorkerMetrics(counting(2), None).render().decode()


def test_the_numbers_of_all_workers_are_added(tmp_path: Path) -> None:
    """Of those that have ended, what counts up; their queues are gone with them."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leave(tmp_path, os.getppid(), 3)
    leave(tmp_path, ended.pid, 10)
    leave(tmp_path, os.getpid(), 100)  # one's own is out of date

    text = WorkerMetrics(counting(2), tmp_path).render().decode()

    assert f'{COUNTED}{{stage="queued"}} 15.0' in text
    assert 'rnnserve_queue_depth{model="m@1"} 5.0' in text


def test_a_worker_leaves_its_numbers_when_it_ends(tmp_path: Path) -> None:
    """Nothing counted is lost."""

    async def begin_and_end() -> None:
        leaving = asyncio.create_task(WorkerMetrics(counting(7), tmp_path).leave_numbers())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])

    asyncio.run(begin_and_end())

    (path,) = tmp_path.iterdir()
    assert path.name == f"{os.getpid()}.json"
    assert json.loads(path.read_text())["cancelled"] == [[["queued"], 7]]
