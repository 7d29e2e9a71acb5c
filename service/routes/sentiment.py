"""``POST /v1/sentiment``."""

from __future__ import annotations

from fastapi import APIRouter

from service.dependencies import ClassifierDep
from service.routes.json_route import JsonRoute
from service.routes.problems import PROBLEMS
from service.schemas import SentimentRequest, SentimentResponse

router = APIRouter(route_class=JsonRoute, tags=["sentiment"])


@router.post("/v1/sentiment", responses=PROBLEMS, response_model_exclude_none=True)
async def sentiment(body: SentimentRequest, classifier: ClassifierDep) -> SentimentResponse:
    """Label each text; results keep the order of `texts`."""
    if body.text is not None:
        results = await classifier.classify([body.text], model=body.model, trace=body.trace, pointers=["/text"])
    else:
        results = await classifier.classify(body.texts or [], model=body.model, trace=body.trace)
    return SentimentResponse(results=results)
