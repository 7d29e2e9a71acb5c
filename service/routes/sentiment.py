"""``POST /v1/sentiment``."""

from __future__ import annotations

from fastapi import APIRouter

from service.dependencies import ClassifierDep, SettingsDep, StateTokensDep
from service.routes.json_route import JsonRoute
from service.routes.problems import PROBLEMS
from service.running_text import read_sentiment
from service.schemas import SentimentRequest, SentimentResponse

router = APIRouter(route_class=JsonRoute, tags=["sentiment"])


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
