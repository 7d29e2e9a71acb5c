"""The whole application without a network: faults that a live server can't be made to have on demand."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from export.card import write_card
from service.app import create_app, engine_threads
from service.bundle import CARD_FILE
from service.engine import Engine, FloatArray, IntArray
from service.errors import ServiceError
from service.middleware import Phase
from service.routes.json_route import WATCH_AFTER_S
from service.routes.models import wants_markdown
from service.settings import BatchingSettings, EngineSettings, LimitSettings, Settings
from tests.service.asgi import Exchange, request, scope

Run = Callable[[IntArray, IntArray, FloatArray, int], tuple[FloatArray, FloatArray]]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """A started application and a client that calls it directly."""
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        yield app, client


def engine_of(app: FastAPI) -> Engine:
    """The engine behind English sentiment."""
    engine: Engine = app.state.registry.get("sentiment-en").engine
    return engine


class Gate:
    """Stands before an engine: lets runs through when told to, and remembers what they read."""

    def __init__(self, engine: Engine) -> None:
        self.rows: list[list[int]] = []
        self.entered = threading.Event()
        self.open = threading.Event()
        self._run: Run = engine.run
        engine.run = self.run  # type: ignore[method-assign, assignment]

    def run(self, ids: IntArray, lengths: IntArray, state: FloatArray, keep: int) -> tuple[FloatArray, FloatArray]:
        """As ``Engine.run``."""
        self.rows += [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
        self.entered.set()
        self.open.wait(10)
        return self._run(ids, lengths, state, keep)


@pytest.fixture
def on_thread(bundles: Path) -> Settings:
    """Every run on the model's thread, so that a test can hold it there."""
    return Settings(bundles=bundles, batching=BatchingSettings(inline_run_s=0))


async def test_a_run_without_numbers_is_503_and_counted(bundles: Path) -> None:
    """Not a 200 with null."""
    async with running(Settings(bundles=bundles)) as (app, client):
        session = engine_of(app)._session

        class WithoutNumbers:
            def run(self, names: None, feed: Any) -> list[FloatArray]:
                return [output * np.float32(np.nan) for output in session.run(names, feed)]

        engine_of(app)._session = WithoutNumbers()
        answer = await client.post("/v1/sentiment", json={"text": "good"})
        metrics = (await client.get("/metrics")).text

    assert answer.status_code == 503
    assert answer.json()["code"] == "non_finite_output"
    assert 'rnnserve_failed_rows_total{code="non_finite_output",model="sentiment-en@1"} 1.0' in metrics


async def test_a_run_that_raises_is_500_logged_once_and_the_next_one_works(
    bundles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a fixed text outside and the whole error inside."""
    async with running(Settings(bundles=bundles)) as (app, client):
        run = engine_of(app).run

        def fail(*_: object) -> tuple[FloatArray, FloatArray]:
            raise RuntimeError("inner detail")

        engine_of(app).run = fail  # type: ignore[method-assign, assignment]
        failed = await client.post("/v1/sentiment", json={"text": "good"})
        engine_of(app).run = run  # type: ignore[method-assign]
        worked = await client.post("/v1/sentiment", json={"text": "good"})

    assert failed.status_code == 500
    assert failed.json()["code"] == "internal"
    assert "inner" not in failed.text
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert worked.status_code == 200


async def test_a_client_that_leaves_before_its_row_runs_costs_no_model_run(on_thread: Settings) -> None:
    """Its row is dropped from the queue."""
    async with running(on_thread) as (app, _):
        gate = Gate(engine_of(app))
        first = asyncio.create_task(request(app, "/v1/sentiment", b'{"text": "good"}'))
        await asyncio.to_thread(gate.entered.wait, 10)
        exchange = Exchange()
        exchange.incoming.put_nowait({"type": "http.request", "body": b'{"text": "bad"}', "more_body": False})
        left = asyncio.create_task(app(scope("POST", "/v1/sentiment"), exchange.incoming.get, exchange.send))
        await asyncio.sleep(2 * WATCH_AFTER_S)
        exchange.incoming.put_nowait({"type": "http.disconnect"})
        await left
        gate.open.set()
        await first
        await request(app, "/v1/sentiment", b'{"text": "good"}')

    assert exchange.sent == []
    assert len(gate.rows) == 2
    assert gate.rows[0] == gate.rows[1]
    assert app.state.metrics.cancelled.values == {("queued",): 1}


async def test_a_queue_full_of_long_texts_refuses_with_the_time_to_come_back(bundles: Path) -> None:
    """In seconds for browsers and milliseconds for OpenAI's client; the texts that wait are answered."""
    batching = BatchingSettings(inline_run_s=0, max_queued_tokens=5_000, chunk_tokens=512)
    async with running(Settings(bundles=bundles, batching=batching)) as (app, client):
        gate = Gate(engine_of(app))
        long = {"text": "good " * 2_000}
        waiting = [asyncio.create_task(client.post("/v1/sentiment", json=long)) for _ in range(2)]
        await asyncio.to_thread(gate.entered.wait, 10)
        await asyncio.sleep(0.2)
        refused = await client.post("/v1/sentiment", json=long)
        gate.open.set()
        answers = await asyncio.gather(*waiting)

    assert refused.status_code == 429
    assert refused.json()["code"] == "overloaded"
    assert "5000" in refused.json()["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert 1 <= int(refused.headers["retry-after-ms"]) <= 60_000
    assert [answer.status_code for answer in answers] == [200, 200]
    assert app.state.metrics.rejected.values == {("overloaded",): 1}


async def test_a_text_past_its_deadline_is_504(bundles: Path) -> None:
    """It is not run for nobody."""
    batching = BatchingSettings(inline_run_s=0, deadline_s=0.05)
    async with running(Settings(bundles=bundles, batching=batching)) as (app, client):
        gate = Gate(engine_of(app))
        first = asyncio.create_task(client.post("/v1/sentiment", json={"text": "good"}))
        await asyncio.to_thread(gate.entered.wait, 10)
        late = asyncio.create_task(client.post("/v1/sentiment", json={"text": "bad"}))
        await asyncio.sleep(0.1)
        gate.open.set()
        answers = [await first, await late]

    assert [answer.status_code for answer in answers] == [200, 504]
    assert answers[1].json()["code"] == "deadline_exceeded"


async def test_nothing_is_answered_before_the_models_are_loaded(bundles: Path) -> None:
    """But health is."""
    app = create_app(Settings(bundles=bundles))
    assert (await request(app, "/livez", method="GET")).status == 200
    assert (await request(app, "/readyz", method="GET")).json == {"status": "loading"}
    assert (await request(app, "/v1/sentiment", b'{"text": "good"}')).status == 503
    async with app.router.lifespan_context(app):
        assert (await request(app, "/readyz", method="GET")).json == {"status": "ready"}
        assert (await request(app, "/v1/sentiment", b'{"text": "good"}')).status == 200
    assert app.state.readiness.phase is Phase.DRAINING


async def test_limits_are_those_that_the_operator_set(bundles: Path) -> None:
    """And named in the refusal."""
    limits = LimitSettings(max_chars=10, max_texts=2, max_body_bytes=200)
    async with running(Settings(bundles=bundles, limits=limits)) as (_, client):
        for body, status, limit in (
            ({"text": "x" * 11}, 422, "10"),
            ({"texts": ["a", "b", "c"]}, 422, "2"),
            ({"text": "x" * 300}, 413, "200"),
        ):
            refused = await client.post("/v1/sentiment", json=body)
            assert refused.status_code == status
            assert limit in refused.json()["detail"]


async def test_answers_are_logged_nowhere(bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Users' texts stay theirs, whatever happens to them."""
    caplog.set_level("DEBUG", logger="rnnserve")
    async with running(Settings(bundles=bundles)) as (_, client):
        for body in ({"text": "my diary"}, {"text": "my diary", "trace": "my diary"}, {"my diary": 1}):
            await client.post("/v1/sentiment", content=json.dumps(body), headers={"content-type": "application/json"})
    assert "diary" not in caplog.text


def test_threads_are_those_set_or_a_share_of_the_quota() -> None:
    """Two workers on one CPU still have a thread each."""
    assert engine_threads(Settings(engine=EngineSettings(threads=3))) == 3
    assert engine_threads(Settings(workers=1000)) == 1


def test_every_direct_route_s_errors_are_documented() -> None:
    """The document names each status that our errors have."""
    document = create_app(Settings()).openapi()
    for path in ("/v1/sentiment", "/v1/next-word"):
        assert {"422", "429", "503"} <= document["paths"][path]["post"]["responses"].keys()
    assert all(error.title for error in ServiceError.__subclasses__())


@pytest.mark.parametrize(
    ("path", "statuses", "error"),
    [
        ("/v1/models", {"200", "503", "default"}, "OpenAIError"),
        ("/v1/models/{model}", {"200", "404", "503", "default"}, "OpenAIError"),
        ("/v1/models/{model}/card", {"200", "404", "503", "default"}, "Problem"),
    ],
)
def test_the_models_routes_document_their_own_errors(path: str, statuses: set[str], error: str) -> None:
    """And not the framework's validation error, which they never answer."""
    document = create_app(Settings()).openapi()
    responses = document["paths"][path]["get"]["responses"]

    assert responses.keys() == statuses
    for status in statuses - {"200"}:
        ((_, content),) = responses[status]["content"].items()
        assert error in (content["schema"].get("title"), content["schema"].get("$ref", "").rsplit("/", 1)[-1])
    assert "HTTPValidationError" not in json.dumps(document)


async def test_a_full_queue_refuses_by_the_short_way_as_by_the_long_one(bundles: Path) -> None:
    """The same answer, and what is wrong with a request comes before that it should come later."""
    batching = BatchingSettings(inline_run_s=0, max_wait_s=1e-9)
    async with running(Settings(bundles=bundles, batching=batching)) as (app, client):
        gate = Gate(engine_of(app))
        first = asyncio.create_task(client.post("/v1/sentiment", json={"text": "good"}))
        await asyncio.to_thread(gate.entered.wait, 10)
        long = await client.post("/v1/sentiment", json={"texts": ["good"]})
        asked = scope("POST", "/v1/sentiment")
        short = app.refusal(asked, bytearray(b'{"texts": ["good"]}'))  # type: ignore[attr-defined]
        others = [
            app.refusal(asked, bytearray(body))  # type: ignore[attr-defined]
            for body in (b'{"text": " "}', b'{"text": 1}', b"{", b'{"text": "good", "model": "none"}')
        ]
        gate.open.set()
        await first
        idle = app.refusal(asked, bytearray(b'{"text": "good"}'))  # type: ignore[attr-defined]

    assert long.status_code == short.status_code == 429
    assert short.body == long.content
    assert set(short.headers) == set(long.headers)
    assert others == [None] * 4
    assert idle is None
    assert app.state.metrics.rejected.values == {("overloaded",): 2}


async def test_a_bundle_without_a_written_card_answers_in_json(bundles: Path) -> None:
    """Whatever form is asked for: the facts of the manifest are better than nothing."""
    async with running(Settings(bundles=bundles)) as (_, client):
        response = await client.get("/v1/models/sentiment-en/card", headers={"accept": "text/markdown"})

    assert response.headers["content-type"] == "application/json"
    assert response.json()["name"] == "sentiment-en"


async def test_a_card_for_people_is_markdown(bundles: Path, tmp_path: Path) -> None:
    """With what the JSON has no place for; caches keep the two apart."""
    folder = Path(shutil.copytree(bundles, tmp_path / "bundles"))
    write_card(folder / "sentiment-en")
    async with running(Settings(bundles=folder)) as (_, client):
        card = await client.get("/v1/models/sentiment-en/card", headers={"accept": "text/markdown"})
        plain = await client.get("/v1/models/sentiment-en/card")
        missing = await client.get("/v1/models/none/card", headers={"accept": "text/markdown"})

    assert card.headers["content-type"] == "text/markdown; charset=utf-8"
    assert card.text == (folder / "sentiment-en" / CARD_FILE).read_text(encoding="utf-8")
    assert "## Intended use" in card.text
    assert plain.headers["content-type"] == "application/json"
    assert card.headers["vary"] == plain.headers["vary"] == "accept"
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/markdown", True),
        ("Text/Markdown; charset=utf-8, */*;q=0.8", True),
        ("application/json;q=0.5, text/markdown", True),
        ("application/json, text/markdown;q=0.5", False),
        ("text/markdown;q=0", False),
        ("text/markdown;q=much", False),
    ],
)
def test_the_form_of_a_card_is_the_one_liked_best(accept: str, expected: bool) -> None:
    """A client that refuses Markdown, or likes JSON better, gets JSON."""
    assert wants_markdown(accept) is expected
