"""``POST /v1/next-word``."""

from __future__ import annotations

from fastapi import APIRouter

from service.dependencies import NextWordDep
from service.routes.json_route import JsonRoute
from service.routes.problems import PROBLEMS
from service.schemas import NextWordCandidate, NextWordRequest, NextWordResponse

router = APIRouter(route_class=JsonRoute, tags=["next word"])


@router.post("/v1/next-word", responses=PROBLEMS)
async def next_word(body: NextWordRequest, predictor: NextWordDep) -> NextWordResponse:
    """Complete the text's last word, or predict the one that follows, as whole words with their probabilities."""
    found = await predictor.predict(body.text, top_k=body.top_k, model=body.model)
    return NextWordResponse(
        model=found.model,
        prefix=found.prefix,
        candidates=[
            NextWordCandidate(word=c.word, completion=c.completion, probability=c.probability) for c in found.candidates
        ],
        unexplored=found.unexplored,
    )
