"""``/v1/sentiment/live`` over ASGI: what a live server can't be made to do on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.types import Message

from service.app import create_app
from service.settings import Settings
from tests.service.asgi import scope

shared_loop = pytest.mark.asyncio(loop_scope="module")  # a batcher stays with the loop that it first ran on

SECRET = "my private text"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(bundles: Path) -> AsyncIterator[FastAPI]:
    application = create_app(Settings(bundles=bundles))
    async with application.router.lifespan_context(application):
        yield application


async def say(app: FastAPI, *parts: str) -> list[Message]:
    """Connect, send the parts, leave; what the service sent."""
    received: list[Message] = [{"type": "websocket.receive", "text": part} for part in parts]
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    for message in [{"type": "websocket.connect"}, *received, {"type": "websocket.disconnect", "code": 1000}]:
        incoming.put_nowait(message)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    address = {**scope("GET", "/v1/sentiment/live", ()), "type": "websocket", "scheme": "ws", "subprotocols": []}
    await app(address, incoming.get, send)
    return sent


@shared_loop
@pytest.mark.parametrize("parts", [("good <br />",), ("good <", "br>", " <br> ")])
async def test_a_line_break_at_the_end_is_answered_as_the_text_before_it(app: FastAPI, parts: tuple[str, ...]) -> None:
    """Reviews are typed with them."""
    *_, expected = await say(app, "good")
    *_, found = await say(app, *parts)

    probabilities = json.loads(expected["text"])["probabilities"]
    assert json.loads(found["text"])["probabilities"] == pytest.approx(probabilities, abs=1e-4)


@shared_loop
async def test_an_unexpected_error_is_logged_and_closes_the_connection_with_1011(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that is only cut off could not tell a fault from a bad line, and would try for ever."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the engine is broken")

    monkeypatch.setattr("service.routes.live.read_sentiment", broken)
    accepted, answer, closed = await say(app, SECRET)

    assert accepted["type"] == "websocket.accept"
    assert json.loads(answer["text"])["error"]["code"] == "internal"
    assert (closed["type"], closed["code"]) == ("websocket.close", 1011)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info
    assert "/v1/sentiment/live" in record.getMessage()
    assert SECRET not in record.getMessage()
    assert SECRET not in answer["text"]
