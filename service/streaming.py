"""From generated pieces to text that can be sent: whole characters, no stop strings, server-sent events."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence

DONE_EVENT = b"data: [DONE]\n\n"


class TextStream:
    """Turns the bytes of generated pieces into text, as early as it is certain.

    A character is sent when its last byte is there. Text that could be the beginning of a stop string waits until it is one or
    cannot be. What comes out, joined, depends on the bytes alone and not on how they were cut into pieces.

    Bytes that are no UTF-8 become U+FFFD; a character that is still incomplete at the end is left out.

    Args:
        stop: strings that end the text and are not part of it; when several end in one place, the one that starts first counts.
        begun: the first bytes of a character that stand before the text, as ``pending`` of another stream has them.

    Raises:
        ValueError: a stop string is empty.
    """

    __slots__ = ("_decoder", "_held", "_stop", "decoded", "sent", "stopped")

    def __init__(self, stop: Sequence[str] = (), begun: bytes = b"") -> None:
        if not all(stop):
            raise ValueError("a stop string must not be empty")
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder.decode(begun)
        self._stop = tuple(stop)
        self._held = ""
        self.decoded = 0  # characters decoded so far, those that are held back included
        self.sent = 0  # characters that came out so far
        self.stopped = False  # a stop string was found: nothing comes any more

    @property
    def pending(self) -> bytes:
        """The bytes of a character that is not complete yet."""
        return self._decoder.getstate()[0]

    def push(self, piece: bytes) -> str:
        """Add one piece; returns the text that is certain now, often one piece's, sometimes nothing."""
        if self.stopped:
            return ""
        text = self._decoder.decode(piece)
        self.decoded += len(text)
        if self._stop:
            text = self._release(self._held + text)
        self.sent += len(text)
        return text

    def finish(self) -> str:
        """The end of the text: returns what was held back."""
        text, self._held = self._held, ""
        self.sent += len(text)
        return text

    def _release(self, text: str) -> str:
        """Cut at a stop string, or hold back the longest end that could begin one."""
        found = [(start + len(stop), start) for stop in self._stop if (start := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        longest = max(map(len, self._stop)) - 1
        for start in range(max(len(text) - longest, 0), len(text)):
            if any(stop.startswith(text[start:]) for stop in self._stop):
                self._held = text[start:]
                return text[:start]
        self._held = ""
        return text


def event(data: bytes) -> bytes:
    """One server-sent event.

    Args:
        data: JSON on one line, as every compact encoder writes it.
    """
    return b"data: %b\n\n" % data


class ChunkWriter:
    """Writes the chunks of one streamed completion: one id, one time, one model in all of them.

    Everything but ASCII is escaped: some clients split lines where only Unicode sees a line's end (U+2028).

    Args:
        completion_id: of the whole completion.
        created: Unix time, seconds.
        model: as the client named it.
        include_usage: whether a last chunk will carry the usage; the others say null.
    """

    __slots__ = ("_end", "_head")

    def __init__(self, completion_id: str, created: int, model: str, *, include_usage: bool) -> None:
        head = {"id": completion_id, "object": "text_completion", "created": created, "model": model}
        self._head = json.dumps(head, separators=(",", ":"))[:-1] + ',"choices":'
        self._end = ',"usage":null}' if include_usage else "}"

    def chunk(
        self,
        index: int,
        text: str,
        finish_reason: str | None,
        logprobs: Mapping[str, object] | None = None,
        state: str | None = None,
    ) -> bytes:
        """The event for one more part of a choice; ``state`` is named only where there is one."""
        reason = "null" if finish_reason is None else f'"{finish_reason}"'
        scores = "null" if logprobs is None else json.dumps(logprobs, separators=(",", ":"))
        sealed = "" if state is None else f',"state":{json.dumps(state)}'
        choice = f'[{{"index":{index},"text":{json.dumps(text)},"finish_reason":{reason},"logprobs":{scores}{sealed}}}]'
        return event(f"{self._head}{choice}{self._end}".encode("ascii"))

    def usage(self, usage: Mapping[str, object]) -> bytes:
        """The event that ends a stream whose client asked for the usage."""
        return event(f'{self._head}[],"usage":{json.dumps(usage, separators=(",", ":"))}}}'.encode("ascii"))
