"""``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response

from service.dependencies import ReadinessDep, WorkerMetricsDep
from service.metrics import CONTENT_TYPE
from service.middleware import Phase
from service.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> Health:
    """The process answers."""
    return Health(status="live")


@router.get("/readyz", responses={503: {"model": Health, "description": "Loading or draining."}})
async def readyz(readiness: ReadinessDep, response: Response) -> Health:
    """Whether requests may be sent here: 200 when ready, 503 while loading or draining."""
    if readiness.phase is not Phase.READY:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Health(status=readiness.phase.value)


@router.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE: {}}}})
async def metrics(workers: WorkerMetricsDep) -> Response:
    """Prometheus metrics, of all worker processes together."""
    return Response(workers.render(), media_type=CONTENT_TYPE)
