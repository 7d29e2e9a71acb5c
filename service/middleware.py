"""The one layer around every request: its id, its metrics, the gate while not ready, and the last answer to any error."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from enum import Enum
from itertools import count
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.error_handlers import error_response, internal_error_response
from service.errors import NotReadyError, ServiceError
from service.metrics import Metrics

MAX_REQUEST_ID = 128  # characters of a caller's own id
ALWAYS_OPEN = frozenset({"/livez", "/readyz", "/metrics"})
JSON = (b"content-type", b"application/json")
CLIENT_GONE = 499  # nobody read the answer; nginx's number for it


class Phase(Enum):
    """Where the process is in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Readiness:
    """The phase, shared by whoever changes it and whoever asks."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING


def is_sane_request_id(value: bytes) -> bool:
    """Whether a caller's ``x-request-id`` may go into our answer and our log: printable ASCII, not too long."""
    return 0 < len(value) <= MAX_REQUEST_ID and value.isascii() and value.decode("ascii").isprintable()


class RequestLayer:
    """Pure ASGI middleware.

    Args:
        app: the layers below.
        direct: routes by path that take their POST requests straight from here, past routing and its layers.
        refusals: by path, what may refuse a POST request by its body alone.
        readiness: while it isn't ready, everything but health and metrics gets 503.
        metrics: where requests are counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        direct: Mapping[str, ASGIApp],
        refusals: Mapping[str, Callable[[bytes | bytearray], ServiceError | None]],
        readiness: Readiness,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._direct = direct
        self._refusals = refusals
        self._readiness = readiness
        self._metrics = metrics
        self._id_prefix = secrets.token_hex(8)
        self._ids = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and see its answer off."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = perf_counter()
        path: str = scope["path"]
        request_id = self._request_id(scope)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        app = self._direct.get(path) if scope["method"] == "POST" else None
        route = path if app is not None else None
        try:
            if self._readiness.phase is not Phase.READY and path not in ALWAYS_OPEN:
                refusal = NotReadyError(f"The service is {self._readiness.phase.value}; try again.", 1.0)
                self._metrics.rejected.add((self._readiness.phase.value,))
                await error_response(path, refusal)(scope, receive, send_with_id)
            else:
                await (app or self._app)(scope, receive, send_with_id)
        except ClientDisconnect:
            status = status or CLIENT_GONE
        except Exception as error:  # noqa: BLE001  # nothing may reach a client as an unplanned text
            response = internal_error_response(path, error, request_id.decode("ascii"))
            if status == 0:
                await response(scope, receive, send_with_id)
        finally:
            if route is None:
                matched = scope.get("route")
                route = getattr(matched, "path", None) or "unmatched"  # never the caller's own path: labels are bounded
            self._metrics.requests.add((route, str(status or CLIENT_GONE)))
            self._metrics.request_seconds.observe((route,), perf_counter() - start)

    def refusal(self, scope: Scope, body: bytes | bytearray) -> Response | None:
        """The answer to a request that is refused before it is started, counted like any other; None if it may start.

        Under overload most requests are refused, and what that takes is lost to those that are not.
        """
        start = perf_counter()
        path: str = scope["path"]
        refuse = self._refusals.get(path) if scope["method"] == "POST" else None
        if refuse is None or self._readiness.phase is not Phase.READY or JSON not in scope["headers"]:
            return None
        error = refuse(body)
        if error is None:
            return None
        response = error_response(path, error)
        response.raw_headers.append((b"x-request-id", self._request_id(scope)))
        self._metrics.requests.add((path, str(response.status_code)))
        self._metrics.request_seconds.observe((path,), perf_counter() - start)
        return response

    def _request_id(self, scope: Scope) -> bytes:
        """The caller's own if it is sane, else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                if is_sane_request_id(value):
                    return bytes(value)
                break
        return f"{self._id_prefix}-{next(self._ids):x}".encode()
