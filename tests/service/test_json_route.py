"""The short way for JSON requests: same answers and same document as FastAPI's own, and clients that leave are noticed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, HTTPConnection

from service.errors import OverloadedError
from service.routes.json_route import WATCH_AFTER_S, JsonRoute, is_json
from service.settings import LimitSettings
from tests.service.asgi import JSON_HEADERS, Exchange, request, scope


class Question(BaseModel, extra="forbid"):
    """What is asked."""

    number: int


class Answer(BaseModel):
    """What is answered."""

    double: int
    note: str | None = None


def get_factor(connection: HTTPConnection) -> int:
    """A dependency on the application's state."""
    factor: int = connection.app.state.factor
    return factor


async def double(body: Question, factor: Annotated[int, Depends(get_factor)]) -> Answer:
    """Twice the number."""
    if body.number < 0:
        raise OverloadedError("Too much.", 0.1)
    return Answer(double=body.number * factor)


def app_of(endpoint: object = double) -> FastAPI:
    """A FastAPI application with one such route."""
    router = APIRouter(route_class=JsonRoute)
    router.post("/double", response_model_exclude_none=True)(endpoint)  # type: ignore[type-var]
    app = FastAPI()
    app.router.routes.extend(router.routes)
    app.state.factor = 2
    app.state.settings = SimpleNamespace(limits=LimitSettings(max_body_bytes=100))
    return app


async def test_the_endpoint_gets_its_body_and_dependencies() -> None:
    """As under FastAPI's own route."""
    answer = await request(app_of(), "/double", b'{"number": 21}')
    assert (answer.status, answer.json) == (200, {"double": 42})
    assert answer.headers == {"content-type": "application/json", "content-length": str(len(answer.content))}


async def test_a_body_in_parts_is_put_together() -> None:
    """TCP cuts where it likes."""
    assert (await request(app_of(), "/double", b'{"num', b'ber":', b" 21}")).json == {"double": 42}


async def test_an_endpoint_may_answer_with_a_response() -> None:
    """Streams need one."""

    async def teapot(body: Question) -> Response:
        return Response(b"short and stout", 418)

    answer = await request(app_of(teapot), "/double", b'{"number": 1}')
    assert (answer.status, answer.content) == (418, b"short and stout")


async def test_a_service_error_is_rendered() -> None:
    """The route is outside FastAPI's exception handlers, the answer is the same."""
    answer = await request(app_of(), "/double", b'{"number": -1}')
    assert (answer.status, answer.json["code"]) == (429, "overloaded")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"application/json", 200),
        (b"application/json; charset=utf-8", 200),
        (b"Application/JSON", 200),
        (b"application/merge-patch+json", 200),
        (b"text/plain", 415),
        (b"application/x-www-form-urlencoded", 415),
        (b"", 415),
    ],
)
async def test_only_json_is_read(content_type: bytes, status: int) -> None:
    """A form is not JSON by accident."""
    answer = await request(app_of(), "/double", b'{"number": 1}', headers=((b"content-type", content_type),))
    assert answer.status == status
    assert is_json(content_type) == (status == 200)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_unread(declared: bool) -> None:
    """By its declared length, else as soon as it has grown too long."""
    parts = [b" " * 60] * 1000
    headers = (*JSON_HEADERS, (b"content-length", b"60000")) if declared else JSON_HEADERS
    answer = await request(app_of(), "/double", *parts, headers=headers)
    assert answer.status == 413
    assert "100" in answer.json["detail"]


async def test_a_client_that_leaves_while_sending_is_dropped() -> None:
    """Half a body is never parsed."""
    app = app_of()
    exchange = Exchange()
    exchange.incoming.put_nowait({"type": "http.request", "body": b'{"number": 1}', "more_body": True})
    exchange.incoming.put_nowait({"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        await app.router.routes[-1].app(  # type: ignore[attr-defined]
            scope("POST", "/double", app=app), exchange.incoming.get, exchange.send
        )
    assert exchange.sent == []


async def test_a_client_that_leaves_while_waiting_cancels_the_endpoint() -> None:
    """What it waited for is not computed."""
    cancelled = asyncio.Event()

    async def endless(body: Question) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    app = app_of(endless)
    exchange = Exchange()
    exchange.incoming.put_nowait({"type": "http.request", "body": b'{"number": 1}', "more_body": False})
    answering = asyncio.create_task(
        app.router.routes[-1].app(  # type: ignore[attr-defined]
            scope("POST", "/double", app=app), exchange.incoming.get, exchange.send
        )
    )
    await asyncio.sleep(2 * WATCH_AFTER_S)
    assert not cancelled.is_set()
    exchange.incoming.put_nowait({"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        await answering

    assert cancelled.is_set()
    assert exchange.sent == []


async def test_cancelling_from_outside_stays_a_cancellation() -> None:
    """The server's shutdown is not mistaken for a client that left."""

    async def endless(body: Question) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(request(app_of(endless), "/double", b'{"number": 1}'))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_openapi_document_is_complete() -> None:
    """The short way must not cost the documentation."""
    operation = app_of().openapi()["paths"]["/double"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Question"
    }
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Answer"}


def test_what_the_route_can_t_supply_is_refused_at_once() -> None:
    """A mistake in an endpoint shows at the start, not at the first request."""

    async def odd(body: Question, page: int) -> Answer:
        raise AssertionError

    with pytest.raises(TypeError, match="'page'"):
        app_of(odd)
