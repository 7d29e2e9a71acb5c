"""The load generator: every request is counted once, and a server that stalls is charged for all who came meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from benchmarks.load import Answer, closed_loop, encode_call, open_loop
from benchmarks.overload import suggested_against_observed

Respond = Callable[[int], Awaitable[bytes]]

CALLS = [encode_call("/", {"text": text}) for text in ("one", "two", "three")]


def answer(status: int = 200, body: bytes = b"{}", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def server(respond: Respond, requests_per_connection: int = 10**9) -> AsyncIterator[int]:
    """A server on a free port; ``respond`` gets the number of the request and returns bytes."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        try:
            for _ in range(requests_per_connection):
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                await reader.readexactly(length)
                number, served = served, served + 1
                writer.write(await respond(number))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def at_once(number: int) -> bytes:
    return answer(body=str(number).encode())


async def test_a_closed_loop_sends_no_more_than_was_asked_for() -> None:
    async with server(at_once) as port:
        result = await closed_loop(port, CALLS, 4, duration_s=20.0, max_requests=50, keep_every=1)

    assert len(result.answers) == 50
    assert sorted(int(body) for _, body in result.bodies) == list(range(50))
    assert {call for call, _ in result.bodies} == {0, 1, 2}
    assert result.failures == {}


async def test_a_closed_loop_ends_in_time_and_counts_only_what_came_after_the_warm_up() -> None:
    async with server(at_once) as port:
        result = await closed_loop(port, CALLS, 2, duration_s=0.2, warmup_s=0.1)

    first, last = result.answers[0].finished, result.answers[-1].finished
    assert last - first <= 0.2
    assert result.summary()["throughput_per_s"] == pytest.approx(len(result.answers) / 0.2, rel=0.05)


async def test_refusals_are_counted_apart_and_have_no_latency() -> None:
    """A refusal is quick: mixed into the latencies it would make an overloaded server look fast."""

    async def every_second(number: int) -> bytes:
        return answer(429, headers="Retry-After: 2\r\nRetry-After-Ms: 1500\r\n") if number % 2 else answer()

    async with server(every_second) as port:
        result = await closed_loop(port, CALLS, 1, duration_s=20.0, max_requests=10)

    assert result.summary()["statuses"] == {"200": 5, "429": 5}
    assert len(result.latencies_s) == 5
    assert [each.retry_after_s for each in result.answers if each.status == 429] == [1.5] * 5


async def test_a_server_that_closes_connections_is_asked_on_new_ones() -> None:
    async with server(at_once, requests_per_connection=3) as port:
        result = await closed_loop(port, CALLS, 2, duration_s=20.0, max_requests=20)

    assert len(result.answers) + result.failures.get("connection lost", 0) == 20
    assert len(result.answers) >= 14


async def test_a_server_that_is_gone_ends_the_run() -> None:
    async with server(at_once, requests_per_connection=1) as port:
        pass

    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await closed_loop(port, CALLS, 2, duration_s=20.0)


async def test_what_is_not_http_is_a_failure() -> None:
    async def nonsense(number: int) -> bytes:
        return b"\x00\x01 no\r\n\r\n"

    async with server(nonsense) as port:
        result = await closed_loop(port, CALLS, 1, duration_s=0.2, max_requests=1)

    assert result.answers == []
    assert result.failures == {"not HTTP": 1}


async def test_an_open_loop_keeps_its_rate_whatever_the_server_does() -> None:
    async with server(at_once) as port:
        result = await open_loop(port, CALLS, 400, duration_s=0.5, connections=8)

    assert len(result.answers) == pytest.approx(200, abs=60)  # Poisson: 4 standard deviations
    assert result.failures == {}


async def test_an_open_loop_charges_a_stall_to_all_who_came_meanwhile() -> None:
    """Coordinated omission: one connection, one stall of 0.3 s, and a third of a second's requests are late, not one."""
    stalled = False

    async def stall_once(number: int) -> bytes:
        nonlocal stalled
        if number == 20 and not stalled:
            stalled = True
            await asyncio.sleep(0.3)
        return answer()

    async with server(stall_once) as port:
        result = await open_loop(port, CALLS, 200, duration_s=1.0, connections=1)

    late = int((result.latencies_s > 0.05).sum())
    assert late >= 30  # 0.25 s at 200 a second are 50
    assert np.percentile(result.latencies_s, 99) > 0.25


async def test_events_of_a_stream_are_counted_as_they_arrive() -> None:
    async def stream(number: int) -> bytes:
        return answer(body=b"data: {}\n\n" * 5 + b"data: [DONE]\n\n")

    async with server(stream) as port:
        result = await closed_loop(port, CALLS, 1, duration_s=20.0, max_requests=3, count_events=True)

    assert result.events == 18


def test_a_suggested_wait_is_compared_with_the_time_the_queue_took() -> None:
    """Refused at 1.0 while two accepted requests were queued, the last of which was answered at 1.6."""
    answers = [
        Answer(call=0, due=0.8, finished=1.3, status=200, retry_after_s=None),
        Answer(call=0, due=0.9, finished=1.6, status=200, retry_after_s=None),
        Answer(call=0, due=0.99, finished=1.0, status=429, retry_after_s=0.5),
        Answer(call=0, due=1.1, finished=2.0, status=200, retry_after_s=None),
    ]

    waits = suggested_against_observed(answers)

    assert waits == {"suggested_p50_ms": 500.0, "observed_p50_ms": 600.0, "difference_p90_ms": 100.0}


def test_without_refusals_there_is_no_wait_to_compare() -> None:
    assert suggested_against_observed([Answer(0, 0.0, 1.0, 200, None)]) == {}
