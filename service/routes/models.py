"""``GET /v1/models``, one model, and its card."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from service.dependencies import RegistryDep
from service.openai_schemas import OpenAIError
from service.registry import LoadedModel
from service.routes.problems import PROBLEMS
from service.schemas import ModelCard, ModelList, ModelObject

router = APIRouter(prefix="/v1/models", tags=["models"])

NO_MODEL: dict[int | str, dict[str, Any]] = {404: {"model": OpenAIError, "description": "No such model."}}
# With a default, FastAPI documents no validation error of its own.
ERRORS: dict[int | str, dict[str, Any]] = {
    503: {"model": OpenAIError, "description": "Loading or draining."},
    "default": {"model": OpenAIError, "description": "Anything else that fails."},
}
MARKDOWN = "text/markdown"
AS_MARKDOWN: dict[int | str, dict[str, Any]] = {200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}}
VARY = {"vary": "accept"}  # caches keep both forms apart
CARD_ERRORS: dict[int | str, dict[str, Any]] = {
    404: PROBLEMS[404],
    503: PROBLEMS[503] | {"description": "Loading or draining."},
    "default": PROBLEMS[500] | {"description": "Anything else that fails."},
}


def wants_markdown(accept: str) -> bool:
    """Whether an ``Accept`` header names Markdown and does not like JSON better; `*/*` alone gets JSON."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            weights[media_type] = float(weight)
        except ValueError:
            weights[media_type] = 0.0
    return weights.get(MARKDOWN, 0.0) > 0 and weights[MARKDOWN] >= weights.get("application/json", 0.0)


def created_timestamp(created: str) -> int:
    """Unix seconds of an ISO date or time; without a zone it is UTC, and an unreadable one is 0."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def model_object(model: LoadedModel) -> ModelObject:
    """A model as the list shows it."""
    manifest = model.manifest
    return ModelObject(
        id=manifest.id, created=created_timestamp(manifest.created), task=manifest.task, language=manifest.language
    )


@router.get("", responses=ERRORS)
async def list_models(registry: RegistryDep) -> ModelList:
    """All loaded models, in the form that OpenAI's clients expect."""
    return ModelList(data=[model_object(model) for model in registry])


@router.get("/{model}", responses=NO_MODEL | ERRORS)
async def get_model(model: str, registry: RegistryDep) -> ModelObject:
    """One model by `name` or `name@version`."""
    return model_object(registry.get(model))


@router.get("/{model}/card", response_model=ModelCard, responses=AS_MARKDOWN | CARD_ERRORS)
async def get_card(model: str, registry: RegistryDep, request: Request, response: Response) -> ModelCard | Response:
    """Measured quality, training data with licences, and the parity certificate of one model.

    With `Accept: text/markdown` the whole card for people, with intended use, known failures and calibration, too; a bundle
    for which none was written answers in JSON all the same.
    """
    found = registry.get(model)
    if found.card and wants_markdown(request.headers.get("accept", "")):
        return Response(found.card, media_type=MARKDOWN, headers=VARY)
    response.headers.update(VARY)
    manifest = found.manifest
    return ModelCard(id=manifest.id, **manifest.model_dump(include=set(ModelCard.model_fields) - {"id"}))
