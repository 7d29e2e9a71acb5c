"""``POST /v1/next-word`` of a live service."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


def next_word(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/next-word", json=body)


def test_a_half_typed_word_is_completed(client: httpx.Client) -> None:
    answer = next_word(client, text="I'll see you tom").json()

    assert set(answer) == {"model", "prefix", "candidates", "unexplored"}
    assert (answer["model"], answer["prefix"]) == ("lm-en@1", "tom")
    assert 0 < len(answer["candidates"]) <= 5
    for candidate in answer["candidates"]:
        assert set(candidate) == {"word", "completion", "probability"}
        assert candidate["word"] == "tom" + candidate["completion"]
    assert sum(candidate["probability"] for candidate in answer["candidates"]) + answer["unexplored"] <= 1 + 1e-6


@pytest.mark.parametrize(("text", "model"), [("I'll see you ", "lm-en@1"), ("", "lm-en@1"), ("我想看电", "lm-zh@1")])
def test_the_script_of_the_text_chooses_the_model(client: httpx.Client, text: str, model: str) -> None:
    answer = next_word(client, text=text, top_k=3).json()

    assert answer["model"] == model
    assert len(answer["candidates"]) == 3


@pytest.mark.parametrize(
    ("body", "status", "pointer", "code"),
    [
        ({}, 422, "/text", "missing"),
        ({"text": 5}, 422, "/text", "wrong_type"),
        ({"text": "a", "top_k": 0}, 422, "/top_k", "too_small"),
        ({"text": "a", "top_k": 1000}, 422, "/top_k", "too_large"),
        ({"text": "a", "top_k": "3"}, 422, "/top_k", "wrong_type"),
        ({"text": "a", "temperature": 1}, 422, "/temperature", "unknown_field"),
        ({"text": "a" * 200_001}, 422, "/text", "too_long"),
        ({"text": "a", "model": "none"}, 404, "/model", "unknown_model"),
        ({"text": "a", "model": "sentiment-en"}, 404, "/model", "unknown_model"),
    ],
)
def test_bad_input_is_named(client: httpx.Client, body: dict[str, Any], status: int, pointer: str, code: str) -> None:
    answer = next_word(client, **body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


def test_a_lone_surrogate_is_named(client: httpx.Client) -> None:
    content = b'{"text": "a \\ud800"}'
    answer = client.post("/v1/next-word", content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/text"


@pytest.mark.parametrize("text", ["a" * 100_000, "word " * 20_000, "我" * 50_000, "\0", "🙂", "مرحبا", "\r\n\t"])
def test_any_text_is_answered(client: httpx.Client, text: str) -> None:
    answer = next_word(client, text=text)

    assert answer.status_code == 200
    assert all(candidate["word"].isprintable() for candidate in answer.json()["candidates"])


def test_the_document_describes_it(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()

    assert {"/v1/next-word", "/v1/completions"} <= set(document["paths"])
    assert "text" in document["components"]["schemas"]["NextWordRequest"]["properties"]
    assert "422" not in document["paths"]["/v1/completions"]["post"]["responses"]  # OpenAI's API knows none
    assert "prompt" in document["components"]["schemas"]["CompletionRequest"]["properties"]
