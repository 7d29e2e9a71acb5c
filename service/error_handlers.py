"""How HTTP says each error: one status table, and the body in the shape of the surface that was called."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from service import errors
from service.errors import FieldError, InvalidJsonError, InvalidRequestError, ServiceError

log = logging.getLogger("rnnserve")

STATUS: Mapping[type[ServiceError], int] = {
    errors.InvalidJsonError: 400,
    errors.UnsupportedMediaTypeError: 415,
    errors.BodyTooLargeError: 413,
    errors.InvalidRequestError: 422,
    errors.UnknownModelError: 404,
    errors.OverloadedError: 429,
    errors.NotReadyError: 503,
    errors.DeadlineExceededError: 504,
    errors.NonFiniteOutputError: 503,
    errors.ModelRunError: 500,
    errors.StateTokenMalformedError: 422,
    errors.StateTokenTamperedError: 422,
    errors.StateTokenExpiredError: 422,
    errors.StateTokenWrongModelError: 422,
    errors.StateTokenWrongCallerError: 422,
    errors.StateTokenUnknownKeyError: 422,
    errors.StateTokenTooLargeError: 422,
    errors.UnsettledTextError: 422,
}

PROBLEM_TYPE = "application/problem+json"
MAX_RETRY_AFTER_S = 60.0
MAX_ERRORS = 100  # wrong fields that an answer names, the first ones
MAX_ERRORS_READ = 10_000  # more are only counted: a small body can have a million, and pydantic describes all or none
MAX_POINTER_KEY = 80  # characters of a caller's own key that a pointer repeats
OPENAI_PREFIXES = ("/v1/completions", "/v1/models")
INTERNAL_DETAIL = "An unexpected error happened. It has been logged under this request's id."

# pydantic's error types -> the codes of our API. What is not listed is "invalid_value".
CODES: Mapping[str, str] = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "string_type": "wrong_type",
    "bool_type": "wrong_type",
    "int_type": "wrong_type",
    "float_type": "wrong_type",
    "list_type": "wrong_type",
    "dict_type": "wrong_type",
    "model_type": "wrong_type",
    "model_attributes_type": "wrong_type",
    "json_type": "wrong_type",
    "too_long": "too_many",
    "too_short": "too_few",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "greater_than": "too_small",
    "greater_than_equal": "too_small",
    "less_than": "too_large",
    "less_than_equal": "too_large",
}


def status_of(error: ServiceError) -> int:
    """The HTTP status of a service error."""
    return STATUS[type(error)]


def json_pointer(parts: tuple[int | str, ...]) -> str:
    """RFC 6901 pointer to a place in the body; long keys are cut, since they are the caller's text."""
    pointer = "".join("/" + str(part)[:MAX_POINTER_KEY].replace("~", "~0").replace("/", "~1") for part in parts)
    return pointer if pointer.isascii() else pointer.encode("utf-8", "replace").decode()


def from_validation_error(error: ValidationError, body: bytes) -> ServiceError:
    """What pydantic found wrong in ``body``, in our words and without the caller's input."""
    if error.error_count() > MAX_ERRORS_READ:
        detail = f"{error.error_count()} fields are wrong, too many to name"
        return InvalidRequestError.of(FieldError("", "invalid_value", detail))
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        surrogates = lone_surrogates(body)
        if surrogates:
            return InvalidRequestError.of(*surrogates)
        reason = str(found[0].get("ctx", {}).get("error", "it could not be parsed"))
        return InvalidJsonError(
            f"The request body is not valid JSON: {reason}.", [FieldError("", "invalid_json", reason)]
        )
    return InvalidRequestError.of(
        *(
            FieldError(json_pointer(tuple(item["loc"])), CODES.get(item["type"], _own_code(item["type"])), item["msg"])
            for item in found[:MAX_ERRORS]
        ),
        unnamed=max(len(found) - MAX_ERRORS, 0),
    )


def _own_code(pydantic_type: str) -> str:
    """Codes that our own validators raise pass through; pydantic's unlisted ones become one code."""
    return pydantic_type if pydantic_type in {"blank", "one_of", "single_text", "lone_surrogate"} else "invalid_value"


def lone_surrogates(body: bytes) -> list[FieldError]:
    r"""Fields whose JSON escapes write half a character (``"\ud800"``), at most ``MAX_ERRORS`` of them.

    Empty where the JSON is wrong in another way.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    detail = "holds a lone surrogate, which is half a character and not valid Unicode text"
    found: list[FieldError] = []
    place: list[int | str] = []
    inside = [_members([value])]  # from the outermost list or object, which is not the body's, to the innermost
    while inside:
        for key, part in inside[-1]:
            if isinstance(part, str) and not _is_unicode(part):
                found.append(FieldError(json_pointer((*place, key)[1:]), "lone_surrogate", detail))
                if len(found) == MAX_ERRORS:
                    return found
            elif part and isinstance(part, list | dict):
                place.append(key)
                inside.append(_members(part))
                break
        else:
            inside.pop()
            del place[-1:]
    return found


def _members(holder: list[Any] | dict[str, Any]) -> Iterator[tuple[int | str, Any]]:
    return iter(enumerate(holder) if isinstance(holder, list) else holder.items())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def retry_headers(retry_after_s: float) -> dict[str, str]:
    """``Retry-After`` in whole seconds, rounded up, and ``retry-after-ms``; at least 1 ms, at most a minute."""
    seconds = min(max(retry_after_s, 0.001), MAX_RETRY_AFTER_S)
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}


def is_openai_path(path: str) -> bool:
    """Whether the path belongs to the surface that OpenAI's clients call. A model's card is ours."""
    return path.startswith(OPENAI_PREFIXES) and not path.endswith("/card")


def problem_body(status: int, code: str, title: str, detail: str, path: str, found: tuple[FieldError, ...]) -> bytes:
    """Problem details (RFC 9457) as bytes."""
    problem: dict[str, Any] = {
        "type": f"urn:rnnserve:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
    }
    if found:
        problem["errors"] = [{"pointer": e.pointer, "code": e.code, "detail": e.detail} for e in found]
    return to_json(problem)


def openai_body(status: int, code: str, detail: str, found: tuple[FieldError, ...]) -> bytes:
    """OpenAI's error object as bytes."""
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    )
    param = found[0].pointer.removeprefix("/").split("/")[0] or None if found else None
    error = {
        "message": detail,
        "type": kind,
        "param": "model" if code == "unknown_model" else param,
        "code": "model_not_found" if code == "unknown_model" else code,
    }
    return to_json({"error": error})


def render(
    path: str,
    status: int,
    code: str,
    title: str,
    detail: str,
    found: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as the surface of ``path`` writes it."""
    if is_openai_path(path):
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            status = HTTPStatus.BAD_REQUEST  # OpenAI's API knows no 422
        return Response(openai_body(status, code, detail, found), status, headers, "application/json")
    return Response(problem_body(status, code, title, detail, path, found), status, headers, PROBLEM_TYPE)


def error_response(path: str, error: ServiceError) -> Response:
    """The answer to a request for ``path`` that failed with ``error``."""
    headers = None
    if isinstance(error, errors.OverloadedError | errors.NotReadyError):
        headers = retry_headers(error.retry_after_s)
    return render(path, status_of(error), error.code, error.title, error.detail, error.errors, headers)


def log_unexpected(path: str, error: Exception, request_id: str = "without an id") -> None:
    """Log an unknown error whole."""
    log.error("unexpected error, request %s, path %s", request_id, path, exc_info=error)


def internal_error_response(path: str, error: Exception, request_id: str) -> Response:
    """Log an unknown error once, whole, and answer with a fixed text."""
    log_unexpected(path, error, request_id)
    return render(path, 500, "internal", "Internal server error", INTERNAL_DETAIL)


def http_error_response(path: str, error: HTTPException) -> Response:
    """The framework's own refusals (no such path, wrong method) in our shape."""
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_")
    return render(path, status, code, status.phrase, status.description or status.phrase, (), error.headers)


async def handle_service_error(request: Request, error: Exception) -> Response:
    """Answer a ``ServiceError`` raised under a FastAPI route."""
    assert isinstance(error, ServiceError)  # noqa: S101  # registered for this type alone
    return error_response(request.url.path, error)


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Answer the framework's ``HTTPException``."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this type alone
    return http_error_response(request.url.path, error)


async def handle_request_validation(request: Request, error: Exception) -> Response:
    """Answer wrong query or path parameters without echoing them."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this type alone
    found = [
        FieldError(json_pointer(tuple(item["loc"][1:])), CODES.get(item["type"], "invalid_value"), item["msg"])
        for item in error.errors()
    ]
    return error_response(request.url.path, InvalidRequestError.of(*found))


def register_error_handlers(app: FastAPI) -> None:
    """Teach ``app`` to answer every planned error. Unknown ones are answered by ``RequestLayer``."""
    app.add_exception_handler(ServiceError, handle_service_error)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_request_validation)
