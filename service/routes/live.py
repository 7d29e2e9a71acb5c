"""``WS /v1/sentiment/live``: a text as it is typed, the prediction after each part."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.dependencies import get_readiness, get_settings, get_state_tokens
from service.error_handlers import log_unexpected
from service.errors import InvalidRequestError, OverloadedError, ServiceError, UnsettledTextError
from service.middleware import Phase
from service.running_text import read_sentiment

router = APIRouter(tags=["sentiment"])

# RFC 6455 and the IANA registry of close codes.
GOING_AWAY, UNSUPPORTED, POLICY, TOO_BIG, INTERNAL, TRY_AGAIN = 1001, 1003, 1008, 1009, 1011, 1013


@router.websocket("/v1/sentiment/live")
async def live(socket: WebSocket, model: str | None = None, trace: bool = False) -> None:
    """Each text message is the next part of one text and may end anywhere; each is answered with the running result.

    Without `model` the script of the first part that holds text decides. A part that cannot be read is answered with `{"error": {"code",
    "detail"}}`, and the text stands where it stood.
    """
    await socket.accept()
    if get_readiness(socket).phase is not Phase.READY:
        await socket.close(TRY_AGAIN, "not ready")
        return
    limits, states = get_settings(socket).limits, get_state_tokens(socket)
    reader, standing = None, None
    while True:
        try:
            message = await asyncio.wait_for(socket.receive(), limits.live_idle_s)
        except TimeoutError:
            await socket.close(GOING_AWAY, f"nothing came for {limits.live_idle_s:g} s")
            return
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is None:
            await socket.close(UNSUPPORTED, "send text messages")
            return
        if len(text) > limits.max_chars:
            await socket.close(TOO_BIG, f"a part may have {limits.max_chars} characters")
            return
        try:
            if reader is None or standing is None:
                reader, standing = states.begin(None, "sentiment", model, text)
            result, standing = await read_sentiment(reader, standing, text, limits, trace=trace)
            answer: dict[str, Any] = result.model_dump(exclude_none=True)
        except ServiceError as error:
            answer = {"error": {"code": error.code, "detail": error.detail}}
            if standing is not None and standing.tokens == 0 and not standing.tail:
                reader = standing = None  # nothing was read: the next part decides the model
            close = _close_code(error)
            if close is not None:
                await _send(socket, answer)
                await socket.close(close, error.title)
                return
        except Exception as error:  # noqa: BLE001  # the client is told, as RequestLayer tells those of HTTP requests
            log_unexpected(socket.url.path, error)
            if await _send(socket, {"error": {"code": "internal", "detail": "An unexpected error happened."}}):
                await socket.close(INTERNAL, "internal server error")
            return
        if not await _send(socket, answer):
            return


def _close_code(error: ServiceError) -> int | None:
    """How the connection ends after an error; None where the client may simply send another part."""
    if isinstance(error, InvalidRequestError | UnsettledTextError):
        return None
    if isinstance(error, OverloadedError):
        return TRY_AGAIN
    return INTERNAL if type(error).__name__.startswith(("ModelRun", "NonFinite")) else POLICY


async def _send(socket: WebSocket, answer: dict[str, Any]) -> bool:
    """Whether the client was still there."""
    try:
        await socket.send_json(answer, mode="text")
    except (WebSocketDisconnect, RuntimeError):
        return False
    return True
