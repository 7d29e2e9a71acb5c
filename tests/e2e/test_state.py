"""States that travel and texts that are typed: over HTTP and WebSocket, between processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from service.state_token import generate_key
from tests.e2e.conftest import Server, run_server

TEXT = "This movie is not good. The cast was wonderful, but I didn't like the plot 这部电影不好看"
TOLERANCE = 1e-4


def classify(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/sentiment", json=body)
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    return dict(result)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def live(server: Server, query: str = "") -> ClientConnection:
    return connect(server.url.replace("http", "ws") + "/v1/sentiment/live" + query)


def say(socket: ClientConnection, part: str) -> dict[str, Any]:
    socket.send(part)
    return dict(json.loads(socket.recv(timeout=30)))


def test_a_text_begun_on_one_process_goes_on_at_another_after_the_first_was_killed(bundles: Path) -> None:
    """No session store, no affinity: the key alone is shared."""
    key = generate_key()
    with run_server(bundles, state_token__keys=key) as first, httpx.Client(base_url=first.url) as client:
        part = classify(client, text=TEXT[:21], return_state=True, model="sentiment-en")
        first.process.kill()
        first.process.wait()
    with run_server(bundles, state_token__keys=key) as second, httpx.Client(base_url=second.url) as client:
        found = classify(client, text=TEXT[21:], state=part["state"])
        expected = classify(client, text=TEXT, model="sentiment-en")

    assert found["model"] == "sentiment-en@1"
    assert found["tokens"] == expected["tokens"]
    assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=TOLERANCE)


def test_every_bad_state_is_refused_with_its_own_code(client: httpx.Client, bundles: Path) -> None:
    """Truncated, tampered, of another model, of another key, expired: the client can tell what to do."""
    state = classify(client, text="a good film", return_state=True)["state"]
    middle = len(state) // 2
    flipped = state[:middle] + ("A" if state[middle] != "A" else "B") + state[middle + 1 :]

    def ask(state: str, **more: str) -> tuple[int, str]:
        return code_of(client.post("/v1/sentiment", json={"text": " too", "state": state, **more}))

    assert ask(state[:-5]) == (422, "state_malformed")
    assert ask("nonsense") == (422, "state_malformed")
    assert ask(flipped) == (422, "state_tampered")
    assert ask(state, model="sentiment-zh") == (422, "state_wrong_model")
    with run_server(bundles, state_token__lifetime_s="0.001") as other, httpx.Client(base_url=other.url) as stranger:
        assert code_of(stranger.post("/v1/sentiment", json={"text": " too", "state": state})) == (
            422,
            "state_unknown_key",
        )
        late = classify(stranger, text="a good film", return_state=True)["state"]
        assert code_of(stranger.post("/v1/sentiment", json={"text": " too", "state": late})) == (422, "state_expired")


def test_state_goes_with_a_single_text_only(client: httpx.Client) -> None:
    """A list has no order of reading."""
    answer = client.post("/v1/sentiment", json={"texts": ["a", "b"], "return_state": True})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "single_text"


def test_an_endless_word_cannot_be_sealed(client: httpx.Client) -> None:
    """Answered without a state, refused with one: nothing is cut in silence."""
    assert classify(client, text="x" * 2000)["tokens"] > 0
    answer = client.post("/v1/sentiment", json={"text": "x" * 2000, "return_state": True})

    assert code_of(answer) == (422, "unsettled_text_too_long")


def test_a_live_text_gets_the_running_result_after_every_part(server: Server, client: httpx.Client) -> None:
    """Letter by letter, and each answer is that of the text so far."""
    text = "not a good movie"
    with live(server) as socket:
        answers = [say(socket, letter) for letter in text]

    for length in (1, 5, len(text)):
        expected = classify(client, text=text[:length])
        assert answers[length - 1]["probabilities"] == pytest.approx(expected["probabilities"], abs=TOLERANCE)
        assert answers[length - 1]["tokens"] == expected["tokens"]


def test_a_live_text_may_show_its_trace_and_name_its_model(server: Server) -> None:
    """The new pieces' points, placed in the whole text."""
    with live(server, "?model=sentiment-zh&trace=true") as socket:
        say(socket, "这部电影，")
        answer = say(socket, "不好看")

    assert answer["model"] == "sentiment-zh@1"
    assert [(point["token"], point["start"], point["end"]) for point in answer["trace"]][-2:] == [
        ("不", 5, 6),
        ("好看", 6, 8),
    ]


def test_a_live_part_that_says_nothing_is_an_error_message_and_the_text_goes_on(server: Server) -> None:
    """Blanks alone have no sentiment; the connection stays."""
    with live(server) as socket:
        assert say(socket, "  ")["error"]["code"] == "invalid_request"
        assert say(socket, "这部电影")["model"] == "sentiment-zh@1"


@pytest.mark.parametrize(("part", "code"), [(b"\x00\x01", 1003), ("x" * 200_001, 1009)])
def test_a_live_connection_ends_with_the_reason_as_its_close_code(server: Server, part: str | bytes, code: int) -> None:
    """Binary or too much."""
    with live(server) as socket:
        socket.send(part)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert socket.close_code == code


def test_a_live_connection_to_an_unknown_model_says_so(server: Server) -> None:
    """The error names the models there are."""
    with live(server, "?model=nothing") as socket:
        answer = say(socket, "good")
        assert answer["error"]["code"] == "unknown_model"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert socket.close_code == 1008


def test_a_silent_live_connection_is_closed(bundles: Path) -> None:
    """It would hold memory for nothing."""
    with run_server(bundles, limits__live_idle_s="0.2") as server, live(server) as socket:
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert socket.close_code == 1001


@pytest.mark.parametrize(
    ("model", "text", "cut"),
    [
        ("lm-en", "I will see you tomorrow, or the day af", 29),
        ("lm-zh", "我明天去看电影，你去不", 5),
        ("lm-en", "It cost 25 dol", 3),
    ],
)
def test_next_words_of_a_text_in_parts_are_those_of_the_whole(
    client: httpx.Client, model: str, text: str, cut: int
) -> None:
    """The state brings what was read; the half-typed word comes with it."""
    begun = client.post("/v1/next-word", json={"text": text[:cut], "model": model, "return_state": True}).json()
    found = client.post("/v1/next-word", json={"text": text[cut:], "state": begun["state"]}).json()
    expected = client.post("/v1/next-word", json={"text": text, "model": model}).json()

    assert found["prefix"] == expected["prefix"]
    assert [c["word"] for c in found["candidates"]] == [c["word"] for c in expected["candidates"]]
    assert [c["probability"] for c in found["candidates"]] == pytest.approx(
        [c["probability"] for c in expected["candidates"]], abs=TOLERANCE
    )
    assert "state" not in expected


@pytest.mark.parametrize("stream", [False, True])
def test_a_completion_goes_on_from_its_state_as_from_its_whole_text(client: httpx.Client, stream: bool) -> None:
    """Prompt, completion and the next prompt: the same continuation as with all of it sent again."""

    def complete(**body: Any) -> tuple[str, str | None]:
        body = {"model": "lm-en", "temperature": 0, "max_tokens": 6, **body}
        answer = client.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        if not body.get("stream"):
            (choice,) = answer.json()["choices"]
            return choice["text"], choice.get("state")
        chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
        choices = [chunk["choices"][0] for chunk in chunks]
        return "".join(choice["text"] for choice in choices), choices[-1].get("state")

    first, state = complete(prompt="I will see you", return_state=True, stream=stream)
    second, _ = complete(prompt=" and then", state=state, stream=stream)
    expected, none = complete(prompt="I will see you" + first + " and then", stream=stream)

    assert second == expected
    assert none is None


def test_a_completion_with_state_takes_one_text_prompt(client: httpx.Client) -> None:
    """Several prompts have several pasts."""
    for body in ({"prompt": ["a", "b"]}, {"prompt": [5, 6]}, {"prompt": "a", "echo": True}):
        answer = client.post("/v1/completions", json={"model": "lm-en", "return_state": True, **body})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "return_state"
