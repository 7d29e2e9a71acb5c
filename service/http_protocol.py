"""uvicorn's HTTP protocol, with a shorter way for small responses and a very short one for refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string
from uvicorn.server import ServerState

DISCONNECT_LISTENERS = "rnnserve.disconnect_listeners"  # in a scope's extensions: whom to tell that the client is gone
Refusal = Callable[[Scope, bytearray], Response | None]


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
    """uvicorn's protocol on httptools, over a ``JoiningTransport``. Named to uvicorn by ``rnnserve serve``.

    The scope of a request holds a list of those to call when its client goes away, which saves each a task that listens.
    A response leaves in one write instead of two: one system call, one packet less. And an application that has a method
    ``refusal(scope, body)`` is asked first about each request that has come as a whole: the response that it returns, if
    any, is written at once, without a task or the layers of ASGI.
    """

    _joining: JoiningTransport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._refusal: Refusal | None = getattr(self.app, "refusal", None)
        self._receiving = False
        self._held: tuple[RequestResponseCycle, Any] | None = None  # a request whose body may be in the same data
        self._disconnect_listeners: list[Callable[[], None]] = []  # of the request under way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Start a connection."""
        super().connection_made(transport)
        self._joining = JoiningTransport(transport)
        self.transport = cast(asyncio.Transport, self._joining)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._receiving = True
        super().data_received(data)
        while self._held is not None:  # more than once where a refusal lets a pipelined request start
            cycle, app = self._held
            self._held = None
            if not self._refuse(cycle):
                self._start(cycle, app)
        self._receiving = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start one request; those before it on this connection are answered."""
        if self._receiving and self._refusal is not None and app is self.app:
            self._held = (cycle, app)
        else:
            self._start(cycle, app)

    def _start(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._joining.begin_response()
        self._disconnect_listeners = []
        cast(Scope, cycle.scope)["extensions"] = {DISCONNECT_LISTENERS: self._disconnect_listeners}
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection; the request that is under way is told."""
        super().connection_lost(exc)
        for listener in self._disconnect_listeners:
            listener()

    def _refuse(self, cycle: RequestResponseCycle) -> bool:
        """Answer a request at once if it is complete and the application refuses it."""
        if cycle.more_body or self._refusal is None or self.flow.write_paused:
            return False
        response = self._refusal(cast(Scope, cycle.scope), cycle.body)
        if response is None:
            return False
        if self.access_log:
            client, path = get_client_addr(cycle.scope), get_path_with_query_string(cycle.scope)
            method, version = cycle.scope["method"], cycle.scope["http_version"]
            self.access_logger.info('%s - "%s %s HTTP/%s" %d', client, method, path, version, response.status_code)
        lines = [STATUS_LINE[response.status_code]]
        for name, value in (*self.server_state.default_headers, *response.raw_headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", bytes(response.body))
        self._joining.transport.write(b"".join(lines))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        return True

    def on_response_complete(self) -> None:
        """End one request."""
        self._joining.flush()
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol."""
        self.transport = self._joining.transport
        super().handle_websocket_upgrade()
