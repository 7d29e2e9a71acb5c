"""Responses leave in as few writes as possible, and none stays behind."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.http_protocol import DISCONNECT_LISTENERS, HttpProtocol


class Wire(asyncio.Transport):
    """A connection that remembers its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing is known."""
        return default

    def write(self, data: Any) -> None:
        """Remember."""
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def close(self) -> None:
        """Close."""
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


async def answered(app: ASGIApp, *parts: bytes) -> Wire:
    """What is written after these bytes came."""
    config = Config(app, lifespan="off", log_level="critical", proxy_headers=False)
    config.load()
    state = ServerState()
    protocol = HttpProtocol(config, state, {})
    wire = Wire()
    protocol.connection_made(wire)
    for part in parts:
        protocol.data_received(part)
        while state.tasks:  # a pipelined request starts when the one before it is answered
            await asyncio.wait(state.tasks)
    if protocol.timeout_keep_alive_task is not None:
        protocol.timeout_keep_alive_task.cancel()
    return wire


def responding(*bodies: bytes, length: bool = True) -> ASGIApp:
    """An application that answers in so many parts."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % sum(map(len, bodies)))] if length else []
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for index, body in enumerate(bodies):
            await send({"type": "http.response.body", "body": body, "more_body": index < len(bodies) - 1})

    return app


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_a_small_response_is_one_write() -> None:
    """Head and body in one packet."""
    wire = await answered(responding(b"hello"), GET)
    (only,) = wire.writes
    assert only.startswith(b"HTTP/1.1 200 OK\r\n")
    assert only.endswith(b"\r\n\r\nhello")


async def test_the_parts_of_a_stream_leave_as_they_come() -> None:
    """Only the head waits, for the first of them."""
    wire = await answered(responding(b"one", b"two", b"three", length=False), GET)
    assert len(wire.writes) == 3
    assert wire.writes[0].endswith(b"\r\n\r\n3\r\none\r\n")
    assert wire.writes[2] == b"5\r\nthree\r\n0\r\n\r\n"


async def test_a_response_without_a_body_leaves_too() -> None:
    """HEAD has a head alone."""
    wire = await answered(responding(b"hello"), GET.replace(b"GET", b"HEAD"))
    (only,) = wire.writes
    assert only.endswith(b"\r\n\r\n")


async def test_pipelined_requests_are_answered_one_by_one() -> None:
    """Each head stays with its own body."""
    wire = await answered(responding(b"hello"), GET + GET + GET)
    assert [write[-5:] for write in wire.writes] == [b"hello"] * 3


async def test_a_client_that_waits_for_100_gets_it_at_once() -> None:
    """It is no head that could wait."""
    post = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    wire = Wire()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]

    config = Config(app, lifespan="off", log_level="critical")
    config.load()
    protocol = HttpProtocol(config, ServerState(), {})
    protocol.connection_made(wire)
    protocol.data_received(post)
    for _ in range(3):
        await asyncio.sleep(0)
    assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    protocol.connection_lost(None)
    await asyncio.sleep(0)


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_what_is_not_http_is_refused_and_closed(request_: bytes) -> None:
    """As uvicorn does."""
    wire = await answered(responding(b"hello"), request_)
    assert wire.writes[0].startswith(b"HTTP/1.1 400")
    assert wire.closed


async def test_connection_close_is_obeyed() -> None:
    """After the whole response."""
    wire = await answered(responding(b"hello"), GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    assert b"".join(wire.writes).endswith(b"hello")
    assert wire.closed


class Busy:
    """An application that refuses bodies of "later" and greets the others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Greet."""
        await responding(b"hello")(scope, receive, send)

    def refusal(self, scope: Scope, body: bytearray) -> Response | None:
        """Refuse."""
        return Response(b"busy", 429, {"retry-after": "1"}) if body == b"later" else None


def post(body: bytes, connection: bytes = b"keep-alive") -> bytes:
    """A request as bytes."""
    return b"POST / HTTP/1.1\r\nhost: x\r\nconnection: %s\r\ncontent-length: %d\r\n\r\n%s" % (
        connection,
        len(body),
        body,
    )


async def test_a_refusal_is_written_before_a_task_is_started() -> None:
    """In one write, at once, and the connection stays open."""
    config = Config(Busy(), lifespan="off", log_level="critical", proxy_headers=False)
    config.load()
    state = ServerState()
    protocol = HttpProtocol(config, state, {})
    wire = Wire()
    protocol.connection_made(wire)

    for _ in range(2):
        protocol.data_received(post(b"later"))

    assert state.tasks == set()
    assert state.total_requests == 2
    head, _, body = wire.writes[1].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"retry-after: 1" in head
    assert body == b"busy"
    assert len(wire.writes) == 2
    assert not wire.closed
    assert protocol.timeout_keep_alive_task is not None
    protocol.timeout_keep_alive_task.cancel()


async def test_pipelined_requests_are_refused_and_answered_in_order() -> None:
    """Each answer belongs to its own request; what waits for one that was started goes the usual way as well."""
    wire = await answered(Busy(), post(b"later") * 2 + post(b"now") + post(b"later"), post(b"later"))
    assert [write[-5:] for write in wire.writes] == [b"\nbusy", b"\nbusy", b"hello", b"hello", b"\nbusy"]


async def test_a_refused_client_that_wants_to_close_is_obeyed() -> None:
    """And told so."""
    wire = await answered(Busy(), post(b"later", b"close"))
    assert b"connection: close\r\n" in wire.writes[0]
    assert wire.closed


async def test_a_body_in_parts_goes_the_usual_way() -> None:
    """Only what is there as a whole can be refused early."""
    request = post(b"later")
    wire = await answered(Busy(), request[:-2], request[-2:])
    assert wire.writes[0].endswith(b"hello")


async def test_a_refusal_has_its_line_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    """As uvicorn writes it."""
    logger = logging.getLogger("uvicorn.access")
    config = Config(Busy(), lifespan="off", proxy_headers=False)
    config.load()
    logger.addHandler(caplog.handler)
    try:
        protocol = HttpProtocol(config, ServerState(), {})
        protocol.connection_made(Wire())
        protocol.data_received(post(b"later", b"close"))
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == [' - "POST / HTTP/1.1" 429']


async def test_a_client_that_leaves_is_reported_to_its_request() -> None:
    """Without a task that listens."""
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][DISCONNECT_LISTENERS].append(gone.set)
        await gone.wait()

    config = Config(app, lifespan="off", log_level="critical")
    config.load()
    protocol = HttpProtocol(config, ServerState(), {})
    protocol.connection_made(Wire())
    protocol.data_received(GET)
    await asyncio.sleep(0)
    assert not gone.is_set()
    protocol.connection_lost(None)
    assert gone.is_set()
    await asyncio.sleep(0)
