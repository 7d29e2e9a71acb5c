"""``POST /v1/sentiment``."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import State

from service.dependencies import ClassifierDep, SettingsDep, StateTokensDep
from service.errors import OverloadedError, UnknownModelError
from service.routes.json_route import JsonRoute
from service.routes.problems import PROBLEMS
from service.running_text import read_sentiment
from service.schemas import SentimentRequest, SentimentResponse
from service.sentiment import SentimentClassifier

router = APIRouter(route_class=JsonRoute, tags=["sentiment"])
_reader = TypeAdapter(SentimentRequest)


def refusal(state: State, body: bytes | bytearray) -> OverloadedError | None:
    """Why a request must come again later; None also where ``sentiment`` finds more to say about it."""
    classifier: SentimentClassifier = state.classifier
    if not classifier.is_full or len(body) > state.settings.limits.max_body_bytes:
        return None
    try:
        request = _reader.validate_json(body)
        error = classifier.refusal([request.text] if request.text is not None else request.texts or [], request.model)
    except (ValidationError, UnknownModelError):
        return None
    if error is not None:
        state.breather.plan()
    return error


@router.post("/v1/sentiment", responses=PROBLEMS, response_model_exclude_none=True)
async def sentiment(
    body: SentimentRequest, classifier: ClassifierDep, states: StateTokensDep, settings: SettingsDep
) -> SentimentResponse:
    """Label each text; results keep the order of `texts`.

    A text may come in parts: ask for `return_state`, and send it with the next part as `state`, to any replica.
    """
    if body.text is not None and (body.state is not None or body.return_state):
        model, carried = states.begin(body.state, "sentiment", body.model, body.text)
        result, standing = await read_sentiment(model, carried, body.text, settings.limits, trace=body.trace)
        if body.return_state:
            result = result.model_copy(update={"state": states.seal(model, standing)})
        results = [result]
    elif body.text is not None:
        results = [await classifier.classify_one(body.text, model=body.model, trace=body.trace)]
    else:
        results = await classifier.classify(body.texts or [], model=body.model, trace=body.trace)
    return SentimentResponse(results=results)
