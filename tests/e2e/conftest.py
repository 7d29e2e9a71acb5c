"""A live server: the command a user types, in a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
START_S = 60  # for a machine under load; it takes about one


@dataclass
class Server:
    """A running service."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_server(bundles: Path, *options: str, **settings: str) -> Iterator[Server]:
    """Start ``rnnserve serve``, wait until it is ready, end it at the end."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RNNSERVE_")}
    environment |= {f"RNNSERVE_{name.upper()}": value for name, value in settings.items()}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [
        sys.executable,
        str(ROOT / "rnnserve.py"),
        "serve",
        "--port",
        str(port),
        "--bundles",
        str(bundles),
        *options,
    ]
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                if httpx.get(f"{server.url}/readyz").status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"the server did not start:\n{process.communicate()[0]}")
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def server(bundles: Path) -> Iterator[Server]:
    """One server with default settings for all tests that don't need their own."""
    with run_server(bundles) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=server.url, timeout=60) as found:
        yield found
