"""A response that sends events as they come and stops their source when the client goes away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.routes.json_route import DisconnectWatch

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back until its buffer is full
]


class EventStreamResponse(Response):
    """Server-sent events.

    Args:
        events: whole events as bytes; closed when the client leaves.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything: an ASGI application."""
        async with aclosing(self._events):
            with DisconnectWatch(scope, receive):
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                async for part in self._events:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
