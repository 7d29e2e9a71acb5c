"""The failures that every native POST route may answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from service.error_handlers import PROBLEM_TYPE
from service.schemas import Problem

_DESCRIPTIONS = {
    400: "The body is not JSON.",
    404: "No such model.",
    413: "The body is too large.",
    415: "The content type is not JSON.",
    422: "A field is wrong; `errors` names it and the limit.",
    429: "Overloaded: `Retry-After` and `retry-after-ms` say when to try again.",
    500: "An unexpected error.",
    503: "Loading, draining, or the model returned no usable number.",
    504: "The deadline has passed.",
}

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {PROBLEM_TYPE: {"schema": Problem.model_json_schema()}}}
    for status, description in _DESCRIPTIONS.items()
}
