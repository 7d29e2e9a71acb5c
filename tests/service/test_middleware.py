"""Every answer has its request's id, is counted, and no error leaves unplanned."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from service.errors import OverloadedError
from service.metrics import Metrics
from service.middleware import Phase, Readiness, RequestLayer
from tests.service.asgi import JSON_HEADERS, Exchange, request, scope


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers "below"."""
    await PlainTextResponse("below")(scope, receive, send)


async def direct(scope: Scope, receive: Receive, send: Send) -> None:
    """A route that takes its requests from the layer itself."""
    await PlainTextResponse("direct")(scope, receive, send)


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application with a bug."""
    raise RuntimeError("my private text")


async def failing_late(scope: Scope, receive: Receive, send: Send) -> None:
    """An application with a bug after its first byte."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("late")


async def left(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose client left."""
    raise ClientDisconnect


def refusal(body: bytes | bytearray) -> OverloadedError | None:
    """Has no time for a body of "later"."""
    return OverloadedError("too much work", 0.25) if body == b"later" else None


def layer(app: object = plain, phase: Phase = Phase.READY) -> tuple[RequestLayer, Metrics]:
    """The layer around ``app``, and what it counts."""
    readiness, metrics = Readiness(), Metrics()
    readiness.phase = phase
    return RequestLayer(app, {"/direct": direct}, {"/direct": refusal}, readiness, metrics), metrics  # type: ignore[arg-type]


async def ask(app: RequestLayer, path: str = "/x", request_id: bytes | None = None, method: str = "POST") -> Exchange:
    """A request with or without an id of its own."""
    headers = () if request_id is None else ((b"x-request-id", request_id),)
    return await request(app, path, method=method, headers=headers)


async def test_a_sane_request_id_comes_back() -> None:
    """So that a caller finds its request in our log."""
    app, _ = layer()
    assert (await ask(app, request_id=b"abc-1")).headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("request_id", [None, b"", b"a\nb", b"\xff", b"x" * 129])
async def test_any_other_request_gets_an_id_of_ours(request_id: bytes | None) -> None:
    """A header is no place for line breaks or a kilobyte."""
    app, _ = layer()

    first, second = [(await ask(app, request_id=request_id)).headers["x-request-id"] for _ in range(2)]

    assert first != second
    assert first.isascii()
    assert first.encode() != request_id


async def test_a_direct_route_is_taken_for_post_alone() -> None:
    """Other methods go to the router, which knows what to say to them."""
    app, _ = layer()
    assert (await ask(app, "/direct")).content == b"direct"
    assert (await ask(app, "/direct", method="GET")).content == b"below"


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.DRAINING])
async def test_work_is_refused_while_not_ready_but_health_answers(phase: Phase) -> None:
    """A load balancer sees why, a client knows when to come back."""
    app, metrics = layer(phase=phase)

    refused = await ask(app, "/direct")

    assert refused.status == 503
    assert refused.json["code"] == "not_ready"
    assert phase.value in refused.json["detail"]
    assert refused.headers["retry-after"] == "1"
    assert metrics.rejected.values == {(phase.value,): 1}
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await ask(app, path, method="GET")).status == 200


async def test_a_bug_is_a_problem_with_the_request_s_id(caplog: pytest.LogCaptureFixture) -> None:
    """The client can name its request; the log has it once, whole."""
    app, metrics = layer(failing)

    answer = await ask(app, request_id=b"id-9")

    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "id-9"
    assert "private" not in answer.content.decode()
    assert len(caplog.records) == 1
    assert metrics.requests.values == {("unmatched", "500"): 1}


async def test_a_bug_after_the_first_byte_ends_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A second start would be against the protocol; the server closes the connection instead."""
    app, _ = layer(failing_late)
    answer = await ask(app)
    assert [message["type"] for message in answer.sent] == ["http.response.start"]
    assert len(caplog.records) == 1


async def test_a_client_that_left_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, not logged."""
    app, metrics = layer(left)
    assert (await ask(app)).sent == []
    assert caplog.records == []
    assert metrics.requests.values == {("unmatched", "499"): 1}


async def test_a_caller_s_path_is_no_label() -> None:
    """Else anyone could fill Prometheus."""
    app, metrics = layer()
    for number in range(5):
        await ask(app, f"/made-up-{number}")
    assert set(metrics.requests.values) == {("unmatched", "200")}


async def test_cancelling_goes_through() -> None:
    """The server's own way to end a request stays open."""

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    app, _ = layer(endless)
    task = asyncio.create_task(ask(app))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_refusal_is_an_answer_like_any_other() -> None:
    """With an id, the time to come back, and its place in the metrics."""
    app, metrics = layer()

    response = app.refusal(scope("POST", "/direct", (*JSON_HEADERS, (b"x-request-id", b"id-7"))), b"later")

    assert response is not None
    assert response.status_code == 429
    assert response.headers["x-request-id"] == "id-7"
    assert response.headers["retry-after-ms"] == "250"
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["content-length"]) == len(response.body)
    assert metrics.requests.values == {("/direct", "429"): 1}
    assert metrics.request_seconds.counts.keys() == {("/direct",)}


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "phase"),
    [
        ("POST", "/direct", JSON_HEADERS, b"now", Phase.READY),
        ("GET", "/direct", JSON_HEADERS, b"later", Phase.READY),
        ("POST", "/other", JSON_HEADERS, b"later", Phase.READY),
        ("POST", "/direct", ((b"content-type", b"text/plain"),), b"later", Phase.READY),
        ("POST", "/direct", JSON_HEADERS, b"later", Phase.DRAINING),
    ],
)
async def test_what_is_not_refused_starts_as_ever(
    method: str, path: str, headers: tuple[tuple[bytes, bytes], ...], body: bytes, phase: Phase
) -> None:
    """There may be more to say about it than that it should come later; nothing is counted twice."""
    app, metrics = layer(phase=phase)

    assert app.refusal(scope(method, path, headers), body) is None
    assert metrics.requests.values == {}
