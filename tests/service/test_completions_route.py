"""``/v1/completions`` over ASGI: errors after the first byte, clients that leave, answers before it."""

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
from service.completion import TokenEntry
from service.engine import Engine, FloatArray
from service.errors import NonFiniteOutputError
from service.routes.completions import logprobs_of
from service.settings import Settings
from tests.service.asgi import Exchange, request, scope

shared_loop = pytest.mark.asyncio(loop_scope="module")  # a batcher stays with the loop that it first ran on


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(bundles: Path) -> AsyncIterator[FastAPI]:
    application = create_app(Settings(bundles=bundles))
    async with application.router.lifespan_context(application):
        yield application


def body(**options: Any) -> bytes:
    return json.dumps(
        {"model": "lm-en", "prompt": "I will", "max_tokens": 50, "logit_bias": {"2": -100}, "stream": True, **options}
    ).encode()


def fail_after(monkeypatch: pytest.MonkeyPatch, app: FastAPI, runs: int, error: Exception) -> None:
    """Let the English model answer so many more runs."""
    engine: Engine = app.state.registry.get("lm-en").engine
    run, left = engine.run, runs

    def failing(*arguments: Any) -> tuple[FloatArray, FloatArray]:
        nonlocal left
        left -= 1
        if left < 0:
            raise error
        return run(*arguments)

    monkeypatch.setattr(engine, "run", failing)


def events(exchange: Exchange) -> list[Any]:
    parts = exchange.content.decode().split("\n\n")
    return [part[6:] if part == "data: [DONE]" else json.loads(part[6:]) for part in parts if part]


@shared_loop
@pytest.mark.parametrize(
    ("error", "code"), [(NonFiniteOutputError("NaN"), "non_finite_output"), (RuntimeError("a secret"), "internal")]
)
async def test_an_error_after_the_first_byte_is_an_event(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    """The status was sent long before; what is not ours to tell stays in the log."""
    fail_after(monkeypatch, app, 4, error)
    answer = await request(app, "/v1/completions", body())
    *chunks, last = events(answer)

    assert answer.status == 200
    assert chunks
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    assert last["error"]["code"] == code
    assert b"secret" not in answer.content
    assert answer.sent[-1] == {"type": "http.response.body", "body": b""}


@shared_loop
async def test_an_error_before_the_first_byte_has_its_status(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(monkeypatch, app, 0, NonFiniteOutputError("NaN"))
    answer = await request(app, "/v1/completions", body(prompt="Something new"))

    assert answer.status == 503
    assert answer.json["error"]["type"] == "server_error"


@shared_loop
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_costs_no_more_steps(app: FastAPI, stream: bool) -> None:
    def generated() -> float:
        values = app.state.metrics.generated_tokens.values
        return float(values.get(("lm-en@1",), 0.0))

    before = generated()
    exchange = Exchange()
    incoming: Message = {
        "type": "http.request",
        "body": body(max_tokens=4000, stream=stream),
        "more_body": False,
    }
    await exchange.incoming.put(incoming)
    handled = asyncio.ensure_future(app(scope("POST", "/v1/completions"), exchange.incoming.get, exchange.send))
    await asyncio.sleep(0.1)
    await exchange.incoming.put({"type": "http.disconnect"})
    await handled

    assert before < generated() < before + 4000


@shared_loop
async def test_liveness_is_answered_while_many_generate(app: FastAPI) -> None:
    """Sampling on the event loop leaves room for others."""
    running = [asyncio.ensure_future(request(app, "/v1/completions", body(max_tokens=100, seed=i))) for i in range(32)]
    await asyncio.sleep(0.05)
    answer = await asyncio.wait_for(request(app, "/livez", method="GET"), timeout=0.5)
    busy = not all(task.done() for task in running)
    await asyncio.gather(*running)

    assert answer.status == 200
    assert busy


def test_minus_infinity_becomes_a_number() -> None:
    """JSON has none; OpenAI writes -9999.0."""
    entries = [TokenEntry("a", 0, float("-inf"), {"a": float("-inf"), "b": -0.5})]

    assert logprobs_of(entries).model_dump() == {
        "tokens": ["a"],
        "token_logprobs": [-9999.0],
        "top_logprobs": [{"a": -9999.0, "b": -0.5}],
        "text_offset": [0],
    }
