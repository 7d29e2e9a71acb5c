"""``POST /v1/completions``, as OpenAI's clients know it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from service.completion import Completer, Job, TokenEntry, Usage
from service.dependencies import CompleterDep
from service.error_handlers import INTERNAL_DETAIL, openai_body, status_of
from service.errors import ServiceError
from service.openai_schemas import (
    Completion,
    CompletionChoice,
    CompletionRequest,
    CompletionUsage,
    Logprobs,
    OpenAIError,
    PromptTokensDetails,
)
from service.routes.event_stream import EventStreamResponse
from service.routes.json_route import JsonRoute
from service.streaming import DONE_EVENT, ChunkWriter, event

log = logging.getLogger("rnnserve")

router = APIRouter(route_class=JsonRoute, tags=["completions"])

LOWEST_LOGPROB = -9999.0  # what JSON gets for minus infinity

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": OpenAIError, "description": "A field is wrong; `param` names it."},
    404: {"model": OpenAIError, "description": "No such model."},
    429: {"model": OpenAIError, "description": "Overloaded: `retry-after-ms` and `Retry-After` say when to try again."},
    503: {"model": OpenAIError, "description": "Loading, draining, or the model returned no usable number."},
    "default": {"model": OpenAIError, "description": "Anything else that fails."},
    200: {
        "content": {"text/event-stream": {}},
        "description": "The completion, or with `stream` its chunks as events.",
    },
}


@router.post("/v1/completions", response_model=Completion, responses=ERRORS)
async def completions(body: CompletionRequest, completer: CompleterDep) -> Completion | EventStreamResponse:
    """Continue each prompt."""
    job = await completer.start(body)
    completion_id, created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
    if body.stream:
        include_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        writer = ChunkWriter(completion_id, created, body.model, include_usage=include_usage)
        return EventStreamResponse(events(completer, job, writer, include_usage=include_usage))
    scored = body.logprobs is not None
    return Completion(
        id=completion_id,
        created=created,
        model=body.model,
        choices=[
            CompletionChoice(
                index=choice.index,
                text=choice.text,
                finish_reason=choice.finish_reason,
                logprobs=logprobs_of(choice.entries) if scored else None,
                state=choice.state,
            )
            for choice in await completer.complete(job)
        ],
        usage=usage_of(job.usage),
    )


async def events(
    completer: Completer, job: Job, writer: ChunkWriter, *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """The events of a streamed completion. An error is the last one: its status has been sent long before."""
    scored = job.options.logprobs is not None
    try:
        async with aclosing(completer.stream(job)) as deltas:
            async for delta in deltas:
                scores = logprobs_of(delta.entries).model_dump() if scored else None
                yield writer.chunk(delta.index, delta.text, delta.finish_reason, scores, delta.state)
    except ServiceError as error:
        yield event(openai_body(status_of(error), error.code, error.detail, error.errors))
        return
    except Exception:
        log.exception("unexpected error in a stream")
        yield event(openai_body(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", INTERNAL_DETAIL, ()))
        return
    if include_usage:
        yield writer.usage(usage_of(job.usage).model_dump())
    yield DONE_EVENT


def logprobs_of(entries: Sequence[TokenEntry]) -> Logprobs:
    """The four lists that OpenAI's clients read."""
    return Logprobs(
        tokens=[entry.token for entry in entries],
        token_logprobs=[None if entry.logprob is None else max(entry.logprob, LOWEST_LOGPROB) for entry in entries],
        top_logprobs=[
            None if entry.top is None else {token: max(logprob, LOWEST_LOGPROB) for token, logprob in entry.top.items()}
            for entry in entries
        ],
        text_offset=[entry.offset for entry in entries],
    )


def usage_of(usage: Usage) -> CompletionUsage:
    """What was counted, as it is sent."""
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
    )
