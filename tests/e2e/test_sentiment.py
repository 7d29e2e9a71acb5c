"""``POST /v1/sentiment`` as a client sees it: what is answered, what is refused, and how that is said."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server

JSON = {"content-type": "application/json"}


def ask(client: httpx.Client, **body: Any) -> httpx.Response:
    """One request."""
    return client.post("/v1/sentiment", json=body)


def only_result(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """The result for one text."""
    response = ask(client, **body)
    assert response.status_code == 200, response.text
    (result,) = response.json()["results"]
    return dict(result)


def wrong_fields(response: httpx.Response) -> list[tuple[str, str]]:
    """Pointer and code of each wrong field, after checking that the answer is a whole problem."""
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "code"} <= problem.keys()
    assert problem["status"] == response.status_code
    assert problem["instance"] == "/v1/sentiment"
    return [(error["pointer"], error["code"]) for error in problem.get("errors", [])]


def test_one_text_gets_a_label_with_its_probability(client: httpx.Client) -> None:
    """The label is the likeliest, the probabilities sum to one."""
    result = only_result(client, text="This movie is not good")

    assert result["model"] == "sentiment-en@1"
    assert result["label"] in {"negative", "positive"}
    assert result["score"] == result["probabilities"][result["label"]] == max(result["probabilities"].values())
    assert sum(result["probabilities"].values()) == pytest.approx(1.0)
    assert result["tokens"] == 5
    assert "trace" not in result


def test_a_list_may_mix_languages_and_keeps_its_order(client: httpx.Client) -> None:
    """Each result names the model that read it."""
    texts = ["这部电影好看", "This movie is good", "这部电影不好看"]

    results = ask(client, texts=texts).json()["results"]

    assert [result["model"] for result in results] == ["sentiment-zh@1", "sentiment-en@1", "sentiment-zh@1"]
    assert [result["score"] for result in results] == pytest.approx(
        [only_result(client, text=text)["score"] for text in texts], abs=1e-5
    )


def test_a_trace_shows_the_prediction_after_every_piece_of_the_text_as_sent(client: httpx.Client) -> None:
    """Offsets count code points, and the last point is the answer."""
    text = "😀 这部电影不好看，ＡＢ"

    result = only_result(client, text=text, trace=True)

    assert len(result["trace"]) == result["tokens"]
    assert result["trace"][-1]["probabilities"] == result["probabilities"]
    for point in result["trace"]:
        assert point["token"] == text[point["start"] : point["end"]]
    assert "不" in [point["token"] for point in result["trace"]]


def test_a_model_may_be_named_with_or_without_its_version(client: httpx.Client) -> None:
    """And then it reads whatever language the text is in."""
    assert only_result(client, text="电影", model="sentiment-en")["model"] == "sentiment-en@1"
    assert only_result(client, text="电影", model="sentiment-en@1")["model"] == "sentiment-en@1"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "nul \x00 inside",
        "\x07 bell",
        "👩‍👩‍👧‍👦 🏳️‍🌈",
        "هذا الفيلم ليس جيدا",
        "הסרט הזה לא טוב",
        "mixed 电影 кино 영화 ταινία",
        "e\u0301 combining \u202e right to left override",
        "\ufeff byte order mark",
        "\U0010ffff last code point",
        "ﷺ" * 50,
        "!?" * 500,
        "Ａ fullwidth ① circled ㎞",
    ],
)
@pytest.mark.parametrize("model", ["sentiment-en", "sentiment-zh"])
def test_any_unicode_text_is_answered(client: httpx.Client, text: str, model: str) -> None:
    """Never a 500, and the trace still points into the text as sent."""
    result = only_result(client, text=text, model=model, trace=True)

    assert all(0 <= point["start"] <= point["end"] <= len(text) for point in result["trace"])
    assert result["trace"][-1]["probabilities"] == result["probabilities"]


@pytest.mark.parametrize("text", ["This movie is not good. " * 4_200, "这部电影不好看，" * 12_500])
def test_a_text_of_100_000_characters_is_read_whole(client: httpx.Client, text: str) -> None:
    """In chunks, not cut: a change in the first word changes every state after it, and all tokens are counted."""
    assert len(text) >= 100_000

    result = only_result(client, text=text)

    once = only_result(client, text=text[: len(text) // 100])["tokens"]
    assert result["tokens"] == pytest.approx(100 * once, rel=0.02)


def test_health_answers_while_a_long_text_runs(client: httpx.Client, server: Server) -> None:
    """A model run never blocks the event loop."""
    long = threading.Thread(target=ask, args=(client,), kwargs={"text": "not good " * 20_000})
    slowest = 0.0
    long.start()
    with httpx.Client(base_url=server.url) as other:
        while long.is_alive():
            start = time.perf_counter()
            assert other.get("/livez").status_code == 200
            slowest = max(slowest, time.perf_counter() - start)
    long.join()

    assert slowest < 0.5  # generous for a machine under load; a blocked loop takes seconds


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("", "one_of")]),
        ({"text": "a", "texts": ["b"]}, [("", "one_of")]),
        ({"text": ""}, [("/text", "blank")]),
        ({"text": " \n\t　"}, [("/text", "blank")]),
        ({"texts": []}, [("/texts", "too_few")]),
        ({"texts": ["good", " ", "bad", ""]}, [("/texts/1", "blank"), ("/texts/3", "blank")]),
        ({"texts": ["good", 5]}, [("/texts/1", "wrong_type")]),
        ({"texts": ["good", None]}, [("/texts/1", "wrong_type")]),
        ({"text": ["good"]}, [("/text", "wrong_type")]),
        ({"text": 5}, [("/text", "wrong_type")]),
        ({"texts": "good"}, [("/texts", "wrong_type")]),
        ({"text": "good", "trace": 1}, [("/trace", "wrong_type")]),
        ({"text": "good", "colour": "red"}, [("/colour", "unknown_field")]),
        ({"texts": ["a"] * 257}, [("/texts", "too_many")]),
        ({"texts": ["good", "x" * 200_001]}, [("/texts/1", "too_long")]),
        ({"text": "good " * 11_000, "trace": True}, [("/text", "too_long")]),
    ],
)
def test_a_wrong_field_is_named(client: httpx.Client, body: dict[str, Any], errors: list[tuple[str, str]]) -> None:
    """422 with the place, the rule and, for limits, the number."""
    response = ask(client, **body)

    assert response.status_code == 422
    assert wrong_fields(response) == errors
    if errors[0][1] in {"too_long", "too_many"}:
        assert any(limit in response.json()["detail"] for limit in ("256", "200000", "10000"))


@pytest.mark.parametrize("body", [r'{"text": "\ud800"}', r'{"texts": ["\udc00 half"]}'])
def test_half_a_character_is_refused_with_its_place(client: httpx.Client, body: str) -> None:
    """JSON's escapes can write what is no Unicode text."""
    response = client.post("/v1/sentiment", content=body, headers=JSON)
    assert response.status_code == 422
    assert [code for _, code in wrong_fields(response)] == ["lone_surrogate"]


@pytest.mark.parametrize(
    "body", ["", "{", "text=good", '{"text": "good"', "[" * 10_000, b"\xff\xfe{}", b'{"text": "\xc3"}']
)
def test_what_is_not_json_gets_400(client: httpx.Client, body: str | bytes) -> None:
    """The mistake is in the syntax, not in a field."""
    response = client.post("/v1/sentiment", content=body, headers=JSON)
    assert response.status_code == 400
    assert wrong_fields(response) == [("", "invalid_json")]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type_gets_415(client: httpx.Client, content_type: str) -> None:
    """What curl sends by default is told apart from JSON."""
    response = client.post("/v1/sentiment", content='{"text": "a"}', headers={"content-type": content_type})
    assert response.status_code == 415
    assert wrong_fields(response) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_gets_413(client: httpx.Client, chunked: bool) -> None:
    """Declared or not, it is not read to its end."""
    content = json.dumps({"text": "x" * 2_100_000}).encode()
    body = (content[at : at + 50_000] for at in range(0, len(content), 50_000)) if chunked else content

    response = client.post("/v1/sentiment", content=body, headers=JSON)

    assert response.status_code == 413
    assert "2000000" in response.json()["detail"]


@pytest.mark.parametrize("model", ["none", "sentiment-en@2", "lm-en", "../sentiment-en", ""])
def test_an_unknown_model_gets_404_and_the_known_ones(client: httpx.Client, model: str) -> None:
    """A language model is no sentiment model either."""
    response = ask(client, text="good", model=model)
    assert response.status_code == 404
    assert wrong_fields(response) == [("/model", "unknown_model")]
    assert "sentiment-en@1" in response.json()["detail"]


def test_unknown_paths_and_methods_are_problems_too(client: httpx.Client) -> None:
    """Not the framework's own texts."""
    assert client.get("/v1/sentiment").status_code == 405
    assert client.get("/v1/sentiment").headers["allow"] == "POST"
    for response in (client.get("/nothing"), client.delete("/v1/sentiment"), client.post("/livez")):
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code in {404, 405}


def test_an_error_does_not_repeat_the_text(client: httpx.Client) -> None:
    """Answers are logged by proxies."""
    response = ask(client, text="my private diary", trace="my private diary", model="my private diary" * 20)
    assert response.status_code == 422
    assert "diary" not in response.text


def test_every_answer_carries_a_request_id(client: httpx.Client) -> None:
    """The caller's, or one of ours."""
    sent = client.post("/v1/sentiment", json={"text": "good"}, headers={"x-request-id": "mine-1"})
    assert sent.headers["x-request-id"] == "mine-1"
    assert ask(client, text="").headers["x-request-id"]
    assert client.get("/livez").headers["x-request-id"] != client.get("/livez").headers["x-request-id"]


async def test_a_text_s_result_is_the_same_in_any_company(server: Server) -> None:
    """Alone, in a list, or beside a hundred other requests."""
    texts = [f"This movie is {'not ' * (n % 3)}good {'and ' * (n % 7)}wonderful {n}" for n in range(100)]
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:

        async def scores(**body: Any) -> list[float]:
            response = await client.post("/v1/sentiment", json=body)
            return [result["probabilities"]["positive"] for result in response.json()["results"]]

        alone = [(await scores(text=text))[0] for text in texts]
        together = await scores(texts=texts)
        beside = [score for (score,) in await asyncio.gather(*(scores(text=text) for text in texts))]

    assert together == pytest.approx(alone, abs=1e-5)
    assert beside == pytest.approx(alone, abs=1e-5)


def test_several_requests_on_one_connection_are_answered_in_order(server: Server) -> None:
    """HTTP pipelining: each answer is whole and stands in its place."""
    bodies = [json.dumps({"text": text}).encode() for text in ("good", "not good", "")]
    requests = b"".join(
        b"POST /v1/sentiment HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
        for body in bodies
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(requests + b"HEAD /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = b""
        while part := connection.recv(65536):
            received += part

    statuses = re.findall(rb"HTTP/1\.1 (\d+)", received)
    assert statuses == [b"200", b"200", b"422", b"405"]
