"""Servers under measurement: how each is started, asked and stopped. All listen on 127.0.0.1 and end with the benchmark."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load import LOOPBACK, encode_call

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
ENVIRONMENTS = Path(__file__).resolve().parent / ".venvs"

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.005


class ServerFailedError(Exception):
    """A server did not start or gave a wrong answer; the message says which and how."""


@dataclass(frozen=True)
class Verdict:
    """A server's answer to one text."""

    label: str
    probabilities: tuple[float, ...]  # in the order of the bundle's labels


@dataclass(frozen=True)
class Contestant:
    """A server that classifies texts, as an operator would start it.

    Args:
        name: as shown in tables.
        setting: how it is configured, in a few words.
        command: the program and its arguments; ``{port}``, ``{bundle}`` and ``{workers}`` are filled in.
        path: where texts are posted.
        environment: variables beside the inherited ones, filled in likewise; ``{port2}`` and ``{port3}`` are more free ports.
        tensors: whether it speaks the Open Inference Protocol instead of plain JSON objects.
    """

    name: str
    setting: str
    command: Sequence[str]
    path: str
    environment: Mapping[str, str] = field(default_factory=dict)
    tensors: bool = False

    def call(self, text: str) -> bytes:
        """The request for one text."""
        if self.tensors:
            tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
            return encode_call(self.path, {"inputs": [tensor]})
        return encode_call(self.path, {"text": text})

    def verdict(self, body: bytes, labels: Sequence[str]) -> Verdict:
        """Read the answer to one text.

        Raises:
            ServerFailedError: it is not an answer.
        """
        try:
            answer = json.loads(body)
            if self.tensors:
                outputs = {output["name"]: output["data"] for output in answer["outputs"]}
                return Verdict(outputs["label"][0], tuple(outputs["probabilities"]))
            answer = answer["results"][0] if "results" in answer else answer
            return Verdict(answer["label"], tuple(answer["probabilities"][label] for label in labels))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ServerFailedError(f"{self.name} answered {body[:200]!r}") from error

    @property
    def installed(self) -> bool:
        """Whether its environment was made (`make bench-peers`)."""
        return Path(self.command[0]).exists()


def _python(peer: str) -> str:
    return str(ENVIRONMENTS / peer / "bin" / "python")


RNNSERVE = Contestant(
    name="rnnserve",
    setting="{workers} processes, defaults",
    command=(
        sys.executable,
        *("-c", "from rnnserve import main; main()", "serve", "--host", LOOPBACK),
        *("--port", "{port}", "--workers", "{workers}", "--bundles", "{bundles}"),
    ),
    path="/v1/sentiment",
)
PEER_SERVERS = (
    Contestant(
        name="FastAPI",
        setting="{workers} uvicorn processes, the model inline, one request = one run",
        command=(_python("fastapi"), str(PEERS / "serve_fastapi.py")),
        path="/predict",
    ),
    Contestant(
        name="LitServe",
        setting="max_batch_size=32, batch_timeout=0.001",
        command=(_python("litserve"), str(PEERS / "serve_litserve.py")),
        path="/predict",
    ),
    Contestant(
        name="mosec",
        setting="append_worker(max_batch_size=32, max_wait_time=1)",
        command=(_python("mosec"), str(PEERS / "serve_mosec.py")),
        path="/inference",
    ),
    Contestant(
        name="MLServer",
        setting="max_batch_size=32, max_batch_time=0.001",
        command=(str(ENVIRONMENTS / "mlserver" / "bin" / "mlserver"), "start", str(PEERS / "sentiment")),
        path="/v2/models/sentiment/infer",
        environment={
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{port2}",
            "MLSERVER_METRICS_PORT": "{port3}",
        },
        tensors=True,
    ),
)
NOOP = Contestant(
    name="no-op",
    setting="fixed bytes for every request",
    command=(sys.executable, str(PEERS / "noop_server.py"), "{port}"),
    path="/",
)


@dataclass(frozen=True)
class RunningServer:
    """A started server."""

    contestant: Contestant
    port: int
    pid: int
    start_s: float  # from its start to the first good answer

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Ask once, on a connection of its own."""
        return _exchange(self.port, "POST", path, json.dumps(body).encode())

    def memory_bytes(self) -> int:
        """Resident memory of all the server's processes, added up: pages that several share count for each."""
        return sum(_resident_bytes(pid) for pid in _group(self.pid))


@contextmanager
def running(
    contestant: Contestant, bundle: Path, workers: int, ready_path: str | None = None
) -> Iterator[RunningServer]:
    """Start a server, wait until it answers, and stop it and all its processes at the end.

    Args:
        contestant: what to start.
        bundle: the bundle to serve; its parent folder holds all that rnnserve loads.
        workers: processes, for servers that are told.
        ready_path: GET this path until it answers 200; None posts a text to the contestant's own path instead.

    Raises:
        ServerFailedError: the process ended, or did not answer in time.
    """
    port, port2, port3 = _free_ports(3)
    known = {
        "port": port,
        "port2": port2,
        "port3": port3,
        "workers": workers,
        "bundle": bundle,
        "bundles": bundle.parent,
    }
    environment = {
        **os.environ,
        "BENCH_BUNDLE": str(bundle),
        "BENCH_PORT": str(port),
        "BENCH_WORKERS": str(workers),
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(PEERS if contestant is not RNNSERVE else ROOT),
        "TOKENIZERS_PARALLELISM": "false",
        **{name: value.format_map(known) for name, value in contestant.environment.items()},
    }
    command = [part.format_map(known) for part in contestant.command]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=PEERS if contestant is not RNNSERVE else ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a process group of its own: what it starts can be counted and stopped with it
        )
        try:
            _wait_until_ready(contestant, process, port, ready_path)
            yield RunningServer(contestant, port, process.pid, time.perf_counter() - started)
        except ServerFailedError as error:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()[-5:]
            raise ServerFailedError(" / ".join([str(error), *said])) from error
        finally:
            _stop(process)


def _wait_until_ready(
    contestant: Contestant, process: subprocess.Popen[bytes], port: int, ready_path: str | None
) -> None:
    body = contestant.call("ready?").partition(b"\r\n\r\n")[2]
    method, path = ("GET", ready_path) if ready_path else ("POST", contestant.path)
    deadline = time.perf_counter() + START_TIMEOUT_S
    status = 0
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise ServerFailedError(f"{contestant.name} ended with {process.returncode}")
        try:
            status, _ = _exchange(port, method, path, body if method == "POST" else b"")
        except (OSError, http.client.HTTPException):
            status = 0
        if status == http.HTTPStatus.OK:
            return
        time.sleep(POLL_S)
    raise ServerFailedError(f"{contestant.name} did not answer within {START_TIMEOUT_S:.0f} s (last status {status})")


def _exchange(port: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        connection.request(method, path, body or None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and what it started: first asked, then killed. Its group is its own and holds nothing else."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        if not _group(process.pid):
            break
        os.killpg(process.pid, request)
        deadline = time.perf_counter() + STOP_TIMEOUT_S
        while time.perf_counter() < deadline and _group(process.pid):
            process.poll()
            time.sleep(0.02)
    process.wait(STOP_TIMEOUT_S)


def _group(pgid: int) -> list[int]:
    """Living processes of a process group."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # it ended meanwhile
            if int(group) == pgid and state != "Z":
                members.append(int(entry.name))
    return members


def _resident_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
