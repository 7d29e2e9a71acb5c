"""``POST /v1/next-word``."""

from __future__ import annotations

from fastapi import APIRouter

from service.dependencies import NextWordDep, StateTokensDep
from service.routes.json_route import JsonRoute
from service.routes.problems import PROBLEMS
from service.schemas import NextWordCandidate, NextWordRequest, NextWordResponse

router = APIRouter(route_class=JsonRoute, tags=["next word"])


@router.post("/v1/next-word", responses=PROBLEMS, response_model_exclude_none=True)
async def next_word(body: NextWordRequest, predictor: NextWordDep, states: StateTokensDep) -> NextWordResponse:
    """Complete the text's last word, or predict the one that follows, as whole words with their probabilities.

    A text may come in parts: ask for `return_state`, and send it with the next part as `state`, to any replica.
    """
    state = None
    if body.state is not None or body.return_state:
        model, carried = states.begin(body.state, "language-model", body.model, body.text)
        found, standing = await predictor.predict_on(body.text, carried, model, top_k=body.top_k)
        state = states.seal(model, standing) if body.return_state else None
    else:
        found = await predictor.predict(body.text, top_k=body.top_k, model=body.model)
    return NextWordResponse(
        model=found.model,
        prefix=found.prefix,
        candidates=[
            NextWordCandidate(word=c.word, completion=c.completion, probability=c.probability) for c in found.candidates
        ],
        unexplored=found.unexplored,
        state=state,
    )
