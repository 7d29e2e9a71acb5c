"""Streaming: pieces of bytes in, text that is certain out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.streaming import ChunkWriter, TextStream, event


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut the bytes at these places, taken modulo the length."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


def stream(pieces: list[bytes], stop: tuple[str, ...] = ()) -> list[str]:
    text = TextStream(stop)
    return [*(text.push(piece) for piece in pieces), text.finish()]


def expected(text: str, stop: tuple[str, ...]) -> str:
    """What one character at a time would give."""
    for end in range(1, len(text) + 1):
        starts = [end - len(s) for s in stop if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)]
    return text


cuts = st.lists(st.integers(0, 1000), max_size=30)


@given(st.text(), cuts)
def test_the_text_is_the_same_however_its_bytes_were_cut(text: str, places: list[int]) -> None:
    assert "".join(stream(cut(text.encode(), places))) == text


@given(st.text(min_size=1))
def test_half_a_character_is_never_sent(text: str) -> None:
    out = TextStream()
    deltas = [out.push(bytes([byte])) for byte in text.encode()]

    assert [delta for delta in deltas if delta] == list(text)


@given(st.text(), st.text(), cuts, st.integers(0, 3))
def test_a_text_goes_on_inside_a_character_of_another(first: str, second: str, places: list[int], cut_at: int) -> None:
    """The bytes are what counts, wherever one stream ends and the next begins."""
    whole = (first + second).encode()
    seam = min(len(first.encode()) + cut_at, len(whole))
    before = TextStream()
    text = before.push(whole[:seam])
    after = TextStream(begun=before.pending)

    assert text + "".join(after.push(piece) for piece in cut(whole[seam:], places)) == first + second


def test_a_character_that_stays_incomplete_is_left_out() -> None:
    assert stream([b"a", "电".encode()[:2]]) == ["a", "", ""]


def test_bytes_that_are_no_utf8_become_the_replacement_character() -> None:
    assert "".join(stream([b"a\xff", b"\xe7", b"b"])) == "a�" + "�b"


@given(st.text("ab\n电", max_size=30), st.lists(st.text("ab\n电", min_size=1, max_size=4), max_size=4).map(tuple), cuts)
def test_a_stop_string_ends_the_text_however_it_straddles_pieces(
    text: str, stop: tuple[str, ...], places: list[int]
) -> None:
    deltas = stream(cut(text.encode(), places), stop)

    assert "".join(deltas) == expected(text, stop)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4).map(tuple))
def test_no_part_of_a_stop_string_is_ever_sent(text: str, stop: tuple[str, ...]) -> None:
    """What was sent at any moment is a beginning of the final text."""
    final = expected(text, stop)
    out = TextStream(stop)
    sent = ""
    for character in text:
        sent += out.push(character.encode())
        assert final.startswith(sent)
        assert out.sent == len(sent)


def test_text_is_held_back_no_longer_than_needed() -> None:
    out = TextStream(["\n\n", "END"])

    assert [out.push(piece) for piece in (b"one E", b"N", b"E", b"\n", b"x")] == ["one ", "", "EN", "E", "\nx"]


def test_nothing_comes_after_a_stop_string() -> None:
    out = TextStream(["."])

    assert [out.push(b"a. b"), out.push(b"c"), out.finish()] == ["a", "", ""]
    assert out.stopped


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        TextStream([""])


def test_an_event_is_one_line_of_data() -> None:
    assert event(b'{"a":1}') == b'data: {"a":1}\n\n'


def parsed(chunk: bytes) -> dict[str, Any]:
    assert chunk.startswith(b"data: ")
    assert chunk.endswith(b"\n\n")
    document: dict[str, Any] = json.loads(chunk[6:])
    return document


@given(st.text())
def test_a_chunk_is_one_line_for_every_client_whatever_the_text(text: str) -> None:
    """Some clients split at U+2028 or U+0085, too."""
    chunk = ChunkWriter("cmpl-1", 17, "lm-en", include_usage=False).chunk(3, text, None)

    assert len(chunk.decode().splitlines()) == 2
    assert parsed(chunk) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 17,
        "model": "lm-en",
        "choices": [{"index": 3, "text": text, "finish_reason": None, "logprobs": None}],
    }


def test_chunks_carry_reasons_scores_and_usage() -> None:
    writer = ChunkWriter("cmpl-1", 17, 'a"b', include_usage=True)
    last = parsed(writer.chunk(0, "", "stop", {"tokens": ["电"]}))

    assert last["usage"] is None
    assert last["model"] == 'a"b'
    assert last["choices"][0] == {"index": 0, "text": "", "finish_reason": "stop", "logprobs": {"tokens": ["电"]}}
    assert parsed(writer.usage({"total_tokens": 4}))["choices"] == []
    assert parsed(writer.usage({"total_tokens": 4}))["usage"] == {"total_tokens": 4}
