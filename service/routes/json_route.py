"""A FastAPI route for small JSON requests at high rates: same endpoints, same OpenAPI document, a shorter way.

FastAPI parses the body to Python objects, solves dependencies and serialises the result through general machinery, which
takes longer than a small model. Here pydantic reads the bytes and writes them, and dependencies are plain calls.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi.params import Depends
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.error_handlers import error_response, from_validation_error
from service.errors import BodyTooLargeError, ServiceError, UnsupportedMediaTypeError
from service.http_protocol import DISCONNECT_LISTENERS

WATCH_AFTER_S = 0.02  # a request that waits longer than this is dropped when its client goes away


def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type declares JSON: ``application/json`` or ``application/...+json``, any parameters."""
    media_type = content_type.split(b";", 1)[0].strip().lower()
    return media_type == b"application/json" or (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    )


def check_headers(headers: list[tuple[bytes, bytes]], max_body_bytes: int) -> None:
    """Refuse a body by its declared type and length.

    Raises:
        UnsupportedMediaTypeError: it isn't declared as JSON.
        BodyTooLargeError: it is longer than ``max_body_bytes``.
    """
    content_type = b""
    for name, value in headers:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length" and value.isdigit() and int(value) > max_body_bytes:
            raise BodyTooLargeError(f"The body has {int(value)} bytes, the limit is {max_body_bytes}.")
    if content_type != b"application/json" and not is_json(content_type):
        raise UnsupportedMediaTypeError("The content type must be application/json.")


async def read_body(scope: Scope, receive: Receive, max_body_bytes: int) -> bytes:
    """The whole body of a JSON request.

    Raises:
        UnsupportedMediaTypeError, BodyTooLargeError: see ``check_headers``; the length is counted too.
        ClientDisconnect: the client left before the end.
    """
    check_headers(scope["headers"], max_body_bytes)
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        body = body + chunk if body else chunk
        if len(body) > max_body_bytes:
            raise BodyTooLargeError(f"The body has more than {max_body_bytes} bytes, the limit.")
        if not message.get("more_body", False):
            return body


class DisconnectWatch:
    """Cancels the current task when its client goes away.

    A context manager; raises ``ClientDisconnect`` in place of the cancellation. ``HttpProtocol`` tells it. Under another
    server a task of its own listens, if the request takes long enough to make that worthwhile.

    Args:
        scope: the request's.
        receive: the request's, its body already read.
    """

    __slots__ = ("_gone", "_listeners", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._listeners: list[Callable[[], None]] | None = scope.get("extensions", {}).get(DISCONNECT_LISTENERS)
        self._receive = receive
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # coroutines run in tasks
        self._task = task
        if self._listeners is not None:
            self._listeners.append(self._cancel)
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WATCH_AFTER_S, self._start, loop)

    def __exit__(self, exception_type: type[BaseException] | None, *_: object) -> None:
        if self._listeners is not None:
            self._listeners.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and exception_type is asyncio.CancelledError and self._task.uncancel() == 0:
            raise ClientDisconnect

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watcher = loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel()

    def _cancel(self) -> None:
        self._gone = True
        self._task.cancel()


class _Endpoint:
    """How to call an endpoint: which argument is the body, which come from dependencies."""

    def __init__(self, endpoint: Callable[..., Any]) -> None:
        bodies: list[tuple[str, type[BaseModel]]] = []
        self.dependencies: list[tuple[str, Callable[[HTTPConnection], Any]]] = []
        hints = get_type_hints(endpoint, include_extras=True)
        for name in inspect.signature(endpoint).parameters:
            hint = hints[name]
            depends = next((extra for extra in get_args(hint)[1:] if isinstance(extra, Depends)), None)
            if get_origin(hint) is Annotated and depends is not None and depends.dependency is not None:
                self.dependencies.append((name, depends.dependency))
            elif isinstance(hint, type) and issubclass(hint, BaseModel):
                bodies.append((name, hint))
            else:
                raise TypeError(
                    f"JsonRoute can't supply {name!r} of {endpoint.__qualname__}: neither body nor dependency"
                )
        if len(bodies) != 1:
            raise TypeError(f"JsonRoute needs one body in {endpoint.__qualname__}, found {len(bodies)}")
        ((self.body, self.body_type),) = bodies


class JsonRoute(APIRoute):
    """A route whose endpoint takes one pydantic body and dependencies on the connection, and returns a model or a response.

    Dependencies are functions of an ``HTTPConnection`` that neither wait nor need closing. The endpoint is dropped when
    its client goes away. Set as a router's ``route_class``.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._call = _Endpoint(endpoint)
        self._reader: TypeAdapter[Any] = TypeAdapter(self._call.body_type)
        self._status = self.status_code or 200
        self._exclude_none = self.response_model_exclude_none
        self.app = self.answer

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: an ASGI application."""
        connection = HTTPConnection(scope)
        try:
            body = await read_body(scope, receive, connection.app.state.settings.limits.max_body_bytes)
            try:
                arguments = {self._call.body: self._reader.validate_json(body)}
            except ValidationError as error:
                raise from_validation_error(error, body) from None
            for name, dependency in self._call.dependencies:
                arguments[name] = dependency(connection)
            with DisconnectWatch(scope, receive):
                result = await self.endpoint(**arguments)
        except ServiceError as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        if isinstance(result, Response):
            await result(scope, receive, send)
            return
        content = result.__pydantic_serializer__.to_json(result, exclude_none=self._exclude_none)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
