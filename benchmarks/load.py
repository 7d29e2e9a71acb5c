"""The load generator: keep-alive connections, closed or open loop, on one event loop of its own.

Closed loop: so many connections, each sends its next request when its last one was answered. Shows the throughput that a
fixed number of clients can have. Open loop: requests fall due at random (Poisson) whatever the server does, and latency
counts from the moment a request was due, so a server that stalls is charged for all who came meanwhile ("coordinated
omission"). A sent request is bytes made before the run and an answer is parsed by httptools, since generator and server share
the cores: ``rnnserve bench ceiling`` measures what the generator alone can do.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import httptools
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LOOPBACK = "127.0.0.1"
ANSWER_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
RECONNECT_PAUSE_S = 0.002  # a server that closes every connection does not get a storm of new ones


def encode_call(path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> bytes:
    """A POST request with a JSON body as the bytes on the wire."""
    content = json.dumps(body, ensure_ascii=False).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {LOOPBACK}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request. Times are seconds on the monotonic clock."""

    call: int  # index into the calls
    due: float  # when it should have been sent; in a closed loop, when it was
    finished: float
    status: int
    retry_after_s: float | None


@dataclass(frozen=True)
class LoadResult:
    """What one run of the generator saw, warm-up excluded."""

    loop: Literal["closed", "open"]
    connections: int
    duration_s: float
    answers: Sequence[Answer]
    failures: Mapping[str, int]  # connection refused or lost, no answer in time
    bodies: Sequence[tuple[int, bytes]]  # (call, body) of the answers that were kept
    completed: int  # 2xx answers that arrived in the measured time, whenever they were due
    events: int = 0  # server-sent events that arrived in the measured time, where they were counted
    offered_per_s: float | None = None  # open loop: the rate asked for
    send_lag_p99_ms: float = 0.0  # open loop: how late the generator itself was

    @property
    def accepted(self) -> list[Answer]:
        """Answers with a status of 2xx."""
        return [answer for answer in self.answers if answer.status // 100 == 2]

    @property
    def latencies_s(self) -> FloatArray:
        """(accepted,) from when a request was due to the end of its answer."""
        return np.array([answer.finished - answer.due for answer in self.accepted])

    def summary(self) -> dict[str, Any]:
        """The figures for tables and files; latencies in milliseconds."""
        latencies_ms = self.latencies_s * 1e3
        statuses = Counter(answer.status for answer in self.answers)
        quantiles = np.percentile(latencies_ms, [50, 90, 99]) if len(latencies_ms) else [float("nan")] * 3
        return {
            "loop": self.loop,
            "connections": self.connections,
            "offered_per_s": self.offered_per_s,
            "duration_s": round(self.duration_s, 3),
            "throughput_per_s": round(self.completed / self.duration_s, 1),
            "p50_ms": round(float(quantiles[0]), 4),
            "p90_ms": round(float(quantiles[1]), 4),
            "p99_ms": round(float(quantiles[2]), 4),
            "max_ms": round(float(latencies_ms.max()), 4) if len(latencies_ms) else float("nan"),
            "statuses": {str(status): count for status, count in sorted(statuses.items())},
            "failures": dict(self.failures),
            "send_lag_p99_ms": round(self.send_lag_p99_ms, 3),
        }


@dataclass
class _Run:
    """What the connections of one run share."""

    calls: Sequence[bytes]
    keep_every: int
    count_events: bool
    on_idle: Callable[[_Connection], None]
    answers: list[Answer] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    events: list[tuple[float, int]] = field(default_factory=list)  # when, how many


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way. Method names in on_ are httptools' own."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._call: int | None = None  # the request under way
        self._due = 0.0
        self._retry_after_s: float | None = None
        self._body: list[bytes] = []
        self._keep = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def connected(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, number: int, due: float) -> None:
        """Send the ``number``-th request of the run; its answer or failure is recorded."""
        assert self._transport is not None
        self._call = number % len(self._run.calls)
        self._due = due
        self._retry_after_s = None
        self._keep = bool(self._run.keep_every) and number % self._run.keep_every == 0
        self._transport.write(self._run.calls[self._call])

    def close(self, reason: str) -> None:
        """Close; a request still under way counts as failed for ``reason``."""
        self._fail(reason)
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close("not HTTP")
            self._transport = None
            self._run.on_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._transport = None
        if self._call is not None:
            self._fail("connection lost")
            self._run.on_idle(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after-ms":
            self._retry_after_s = float(value) / 1e3
        elif name.lower() == b"retry-after" and self._retry_after_s is None:
            self._retry_after_s = float(value)

    def on_body(self, body: bytes) -> None:
        if self._keep:
            self._body.append(body)
        if self._run.count_events:
            self._run.events.append((time.perf_counter(), body.count(b"data: ")))

    def on_message_complete(self) -> None:
        if self._call is None:
            return
        finished = time.perf_counter()
        run = self._run
        if self._keep:
            run.bodies.append((self._call, b"".join(self._body)))
            self._body.clear()
        run.answers.append(Answer(self._call, self._due, finished, self._parser.get_status_code(), self._retry_after_s))
        self._call = None
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
            self._transport = None
        run.on_idle(self)

    def _fail(self, reason: str) -> None:
        if self._call is not None:
            self._run.failures[reason] += 1
            self._call = None
            self._body.clear()


async def _connect(port: int, run: _Run) -> _Connection:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        _, connection = await loop.create_connection(lambda: _Connection(run), LOOPBACK, port)
    return connection


async def closed_loop(
    port: int,
    calls: Sequence[bytes],
    connections: int,
    *,
    duration_s: float,
    warmup_s: float = 0.0,
    max_requests: int | None = None,
    keep_every: int = 0,
    count_events: bool = False,
) -> LoadResult:
    """Let each of ``connections`` clients send one request after the other.

    Args:
        port: of a server on this machine; the generator loads no other.
        calls: requests as bytes, sent in order, over and over.
        connections: clients.
        duration_s: measured time.
        warmup_s: time before it, which is not counted.
        max_requests: stop after so many requests, warm-up included; None stops by time alone.
        keep_every: keep the body of every n-th answer; 0 keeps none.
        count_events: count server-sent events as they arrive.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    sent = 0
    active = connections
    limit = max_requests if max_requests is not None else float("inf")
    reconnecting: set[asyncio.Task[None]] = set()

    def next_request(connection: _Connection) -> None:
        nonlocal sent, active
        now = time.perf_counter()
        if now >= end or sent >= limit:
            active -= 1
            if active == 0:
                ended.set()
        elif connection.connected:
            number, sent = sent, sent + 1
            connection.send(number, now)
        else:
            task = loop.create_task(replace())
            reconnecting.add(task)
            task.add_done_callback(reconnecting.discard)

    async def replace() -> None:
        nonlocal active
        try:
            await asyncio.sleep(RECONNECT_PAUSE_S)
            fresh = await _connect(port, run)
        except (OSError, TimeoutError):
            run.failures["connection refused"] += 1
            active -= 1  # this client gives up; the others go on
            if active == 0:
                ended.set()
            return
        clients.append(fresh)
        next_request(fresh)

    run = _Run(calls, keep_every, count_events, next_request)
    clients = [await _connect(port, run) for _ in range(connections)]
    with _without_collector():
        start = time.perf_counter()
        end = start + warmup_s + duration_s
        for client in list(clients):
            next_request(client)
        try:
            async with asyncio.timeout(warmup_s + duration_s + ANSWER_TIMEOUT_S):
                await ended.wait()
        except TimeoutError:
            pass  # what is still open counts as unanswered below
        stopped = min(time.perf_counter(), end)
    for client in clients:
        client.close("no answer")
    begin = start + warmup_s
    return LoadResult(
        loop="closed",
        connections=connections,
        duration_s=stopped - begin,
        answers=[answer for answer in run.answers if begin <= answer.finished <= stopped],
        failures=run.failures,
        bodies=run.bodies,
        completed=_completed(run.answers, begin, stopped),
        events=sum(count for when, count in run.events if begin <= when <= stopped),
    )


async def open_loop(
    port: int,
    calls: Sequence[bytes],
    rate_per_s: float,
    *,
    duration_s: float,
    warmup_s: float = 0.0,
    connections: int = 256,
    keep_every: int = 0,
    seed: int = 0,
) -> LoadResult:
    """Send requests when they fall due, ``rate_per_s`` on average, whether or not earlier ones were answered.

    A request that finds every connection busy waits for one, and its waiting counts: latency runs from the due time.

    Args:
        port: of a server on this machine; the generator loads no other.
        calls: requests as bytes, sent in order, over and over.
        rate_per_s: mean arrivals per second.
        duration_s: measured time.
        warmup_s: time before it, at the same rate, which is not counted.
        connections: most requests under way at once.
        keep_every: keep the body of every n-th answer; 0 keeps none.
        seed: of the arrival times.
    """
    rng = np.random.default_rng(seed)
    total_s = warmup_s + duration_s
    gaps = rng.exponential(1 / rate_per_s, size=int(rate_per_s * total_s * 1.5) + 100)
    arrivals = np.cumsum(gaps)
    arrivals = arrivals[arrivals < total_s]
    idle: deque[_Connection] = deque()
    waiting: deque[int] = deque()  # due, but every connection is busy
    lags: list[float] = []
    lost = 0
    under_way = 0
    progress = asyncio.Event()

    def dispatch() -> None:
        nonlocal under_way, lost
        while waiting and idle:
            connection = idle.pop()
            if connection.connected:
                number = waiting.popleft()
                under_way += 1
                connection.send(number, start + float(arrivals[number]))
            else:
                lost += 1

    def answered(connection: _Connection) -> None:
        nonlocal under_way, lost
        under_way -= 1
        if connection.connected:
            idle.append(connection)
        else:
            lost += 1
        dispatch()
        progress.set()

    async def replace_lost() -> None:
        """A server that closes connections gets new ones."""
        nonlocal lost
        while lost:
            try:
                await asyncio.sleep(RECONNECT_PAUSE_S)
                fresh = await _connect(port, run)
            except (OSError, TimeoutError):
                run.failures["connection refused"] += 1
                return
            lost -= 1
            clients.append(fresh)
            idle.append(fresh)
        dispatch()

    run = _Run(calls, keep_every, False, answered)
    clients = [await _connect(port, run) for _ in range(connections)]
    idle.extend(clients)
    with _without_collector():
        start = time.perf_counter()
        number = 0
        while number < len(arrivals):
            now = time.perf_counter() - start
            while number < len(arrivals) and arrivals[number] <= now:
                lags.append(now - float(arrivals[number]))
                waiting.append(number)
                number += 1
            dispatch()
            await replace_lost()
            if number < len(arrivals):
                await asyncio.sleep(max(0.0, start + float(arrivals[number]) - time.perf_counter()))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while under_way or waiting:
                    progress.clear()
                    await progress.wait()
                    await replace_lost()
        except TimeoutError:
            pass  # what is still open counts as unanswered below
    if waiting:
        run.failures["no answer"] += len(waiting)
        waiting.clear()
    for client in clients:
        client.close("no answer")
    return LoadResult(
        loop="open",
        connections=connections,
        duration_s=duration_s,
        answers=[answer for answer in run.answers if answer.due >= start + warmup_s],
        failures=+run.failures,
        bodies=run.bodies,
        completed=_completed(run.answers, start + warmup_s, start + total_s),
        offered_per_s=rate_per_s,
        send_lag_p99_ms=float(np.percentile(lags, 99) * 1e3) if lags else 0.0,
    )


def _completed(answers: Sequence[Answer], begin: float, end: float) -> int:
    return sum(begin <= answer.finished <= end and answer.status // 100 == 2 for answer in answers)


@contextmanager
def _without_collector() -> Iterator[None]:
    """A run is bounded in time and keeps all it allocates: the collector would only add pauses to the latencies."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
