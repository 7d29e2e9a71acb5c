"""uvicorn's HTTP protocol, sending a small response in one write instead of two: one system call, one packet less."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class JoiningTransport:
    """Keeps a response's head back until the first part of its body, as ASGI asks of servers.

    Everything else goes straight to the transport below.

    Args:
        transport: the connection's own.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._head = b""
        self._head_comes_next = False

    def begin_response(self) -> None:
        """The next write is a response's head."""
        self._head_comes_next = True

    def write(self, data: bytes) -> None:
        """Send ``data``, or keep it if it is a head."""
        if self._head:
            data = self._head + data
            self._head = b""
        elif self._head_comes_next and not data.startswith(b"HTTP/1.1 100"):
            self._head_comes_next = False
            self._head = data
            return
        self.transport.write(data)

    def flush(self) -> None:
        """Send what is kept back: the response has no body."""
        if self._head:
            self.transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Send what is kept back and close."""
        self.flush()
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, over a ``JoiningTransport``. Named to uvicorn by ``rnnserve serve``."""

    _joining: JoiningTransport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Start a connection."""
        super().connection_made(transport)
        self._joining = JoiningTransport(transport)
        self.transport = cast(asyncio.Transport, self._joining)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start one request; those before it on this connection are answered."""
        self._joining.begin_response()
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """End one request."""
        self._joining.flush()
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol."""
        self.transport = self._joining.transport
        super().handle_websocket_upgrade()
