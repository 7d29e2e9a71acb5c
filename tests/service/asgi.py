"""Drives an ASGI application by hand, so that tests decide what arrives when."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

JSON_HEADERS = ((b"content-type", b"application/json"),)


@dataclass
class Exchange:
    """One request and what was answered to it.

    Args:
        incoming: what the application receives next; after the last, it waits.
    """

    incoming: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    sent: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        """The application's ``send``."""
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def content(self) -> bytes:
        """The answer's body."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def json(self) -> Any:
        """The answer's body, parsed."""
        return json.loads(self.content)


def scope(
    method: str, path: str, headers: tuple[tuple[bytes, bytes], ...] = JSON_HEADERS, app: Any = None
) -> dict[str, Any]:
    """An HTTP request's scope."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "app": app,
    }


async def request(
    app: ASGIApp,
    path: str,
    *parts: bytes,
    method: str = "POST",
    headers: tuple[tuple[bytes, bytes], ...] = JSON_HEADERS,
    state_of: Any = None,
) -> Exchange:
    """Send a body in ``parts`` and wait for the answer."""
    exchange = Exchange()
    for index, part in enumerate(parts or (b"",)):
        await exchange.incoming.put({"type": "http.request", "body": part, "more_body": index < len(parts) - 1})
    await app(scope(method, path, headers, state_of), exchange.incoming.get, exchange.send)
    return exchange
