"""Health, metrics, models, documents, start and stop of a live service."""

from __future__ import annotations

import signal
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.worker_metrics import INTERVAL_S
from tests.e2e.conftest import Server, run_server


def test_models_are_listed_as_openai_s_clients_expect(client: httpx.Client) -> None:
    """Any of their tools can show what is loaded."""
    listing = client.get("/v1/models").json()
    assert listing["object"] == "list"
    assert [model["id"] for model in listing["data"]] == ["lm-en@1", "lm-zh@1", "sentiment-en@1", "sentiment-zh@1"]
    assert all(model["object"] == "model" and model["created"] > 1_700_000_000 for model in listing["data"])
    assert client.get("/v1/models/lm-en").json()["id"] == "lm-en@1"


def test_an_unknown_model_is_openai_s_404(client: httpx.Client) -> None:
    """Their client turns it into its NotFoundError."""
    response = client.get("/v1/models/none")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


def test_a_model_s_card_says_what_was_measured_and_from_what_it_learnt(client: httpx.Client) -> None:
    """The manifest's facts, parity certificate included."""
    card = client.get("/v1/models/sentiment-zh/card").json()
    assert card["id"] == "sentiment-zh@1"
    assert card["cell"] == "gru"
    assert card["parity"]["max_error"] <= card["parity"]["tolerance"]
    assert {"quality", "training_data", "files", "created"} <= card.keys()
    assert client.get("/v1/models/none/card").headers["content-type"] == "application/problem+json"


def test_metrics_count_what_was_asked(client: httpx.Client) -> None:
    """Under the route's and the model's name, never the caller's words."""

    def scrape() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
        }

    counted = ("rnnserve_requests_total", (("code", "200"), ("route", "/v1/sentiment")))
    tokens = ("rnnserve_model_tokens_total", (("model", "sentiment-en@1"),))
    before = scrape()
    client.post("/v1/sentiment", json={"text": "This movie is good"})
    client.get("/some/private/path")
    after = scrape()

    assert after[counted] == before.get(counted, 0) + 1
    assert after[tokens] == before.get(tokens, 0) + 4
    assert "private" not in client.get("/metrics").text


def test_the_document_describes_every_route(client: httpx.Client) -> None:
    """Fields, answers and problems, for people and for generators."""
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/sentiment"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("SentimentRequest")
    assert {"200", "400", "404", "413", "415", "422", "429", "503", "504"} <= operation["responses"].keys()
    assert "application/problem+json" in operation["responses"]["422"]["content"]
    assert {"/v1/models", "/v1/models/{model}/card", "/livez", "/readyz", "/metrics"} <= document["paths"].keys()
    assert client.get("/docs").status_code == 200


def test_two_workers_share_the_port(bundles: Path) -> None:
    """Every worker gives the same answers, and any of them tells the metrics of all."""
    with run_server(bundles, "--workers", "2") as server:
        scores = set()
        for _ in range(20):
            response = httpx.post(f"{server.url}/v1/sentiment", json={"text": "This movie is good"})
            scores.add(round(response.json()["results"][0]["score"], 5))
        time.sleep(2 * INTERVAL_S)  # whoever answers knows the others' numbers by then
        counted = 'rnnserve_requests_total{code="200",route="/v1/sentiment"} 20.0'
        deadline = time.monotonic() + 10
        while counted not in (told := httpx.get(f"{server.url}/metrics").text) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert counted in told
    assert len(scores) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="ports are shared evenly on Linux only")
def test_clients_that_come_together_are_spread_over_the_workers(bundles: Path) -> None:
    """None of them gets all, however busy the others are: a connection stays where it came."""
    with run_server(bundles, "--workers", "2") as server, ExitStack() as stack:
        address = (httpx.URL(server.url).host, httpx.URL(server.url).port)
        deadline = time.monotonic() + 20
        while _listening(address[1]) < 2 and time.monotonic() < deadline:  # the first to be ready does not wait
            time.sleep(0.05)
        assert _listening(address[1]) == 2
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(60)]
        for client in clients:
            client.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        shares = sorted(_sockets_of(pid) for pid in _children(server.process.pid))[-2:]

    assert len(shares) == 2
    assert shares[0] > 15
    assert sum(shares) >= 60


def _listening(port: int | None) -> int:
    """Sockets that listen on a port of 127.0.0.1."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "0A" and row[1].endswith(f":{port:04X}") for row in rows)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _sockets_of(pid: int) -> int:
    return sum(str(fd.readlink()).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir())


def test_on_sigterm_readiness_goes_first_and_running_work_is_finished(bundles: Path) -> None:
    """A load balancer has time to notice; nobody is cut off."""
    with run_server(bundles, drain_delay_s="1.0") as server, httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 0.8
        while (answer := client.get("/readyz")).status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (answer.status_code, answer.json()) == (503, {"status": "draining"})
        assert client.get("/livez").status_code == 200
        refused = client.post("/v1/sentiment", json={"text": "good"})
        assert refused.status_code == 503
        assert refused.json()["code"] == "not_ready"
        assert int(refused.headers["retry-after-ms"]) >= 1
        assert server.process.wait(10) in {0, -signal.SIGTERM}


def test_running_work_is_finished_after_sigterm(bundles: Path) -> None:
    """The text that was being read gets its answer."""
    with run_server(bundles) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        with client.stream(
            "POST", "/v1/sentiment", content=_slow_body(server), headers={"content-type": "application/json"}
        ) as answer:
            assert answer.status_code == 200
            assert answer.read()
        assert server.process.wait(10) in {0, -signal.SIGTERM}


def _slow_body(server: Server):  # type: ignore[no-untyped-def]  # a generator of bytes
    """A body whose end comes after SIGTERM."""
    yield b'{"text": '
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    yield b'"good"}'
