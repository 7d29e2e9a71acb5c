"""Every error has a status, names its field, and repeats nothing of the caller's text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.error_handlers import (
    MAX_ERRORS,
    STATUS,
    error_response,
    from_validation_error,
    internal_error_response,
    json_pointer,
    lone_surrogates,
    retry_headers,
)
from service.errors import (
    FieldError,
    InvalidJsonError,
    InvalidRequestError,
    ModelRunError,
    OverloadedError,
    ServiceError,
    UnknownModelError,
)
from service.openai_schemas import CompletionRequest
from service.schemas import SentimentRequest

SECRET = "my private text"


def refusal(body: bytes, model: type[BaseModel] = SentimentRequest) -> ServiceError:
    """What a request with this body is told."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(model).validate_json(body)
    return from_validation_error(caught.value, body)


def test_every_service_error_has_a_status() -> None:
    """A new error type cannot reach a client as an unplanned 500."""
    assert set(ServiceError.__subclasses__()) == set(STATUS)


def test_every_service_error_has_a_code_of_its_own() -> None:
    """A client can tell them apart."""
    codes = [error.code for error in STATUS]
    assert len(set(codes)) == len(codes)
    assert all(error.title for error in STATUS)


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b'{"text": 5}', "/text", "wrong_type"),
        (b'{"texts": "a"}', "/texts", "wrong_type"),
        (b'{"texts": ["a", null, "b"]}', "/texts/1", "wrong_type"),
        (b'{"text": "a", "trace": "yes"}', "/trace", "wrong_type"),
        (b'{"text": "a", "model": 3}', "/model", "wrong_type"),
        (b'{"text": "a", "colour": "red"}', "/colour", "unknown_field"),
        (b'{"text": "a", "a/b~c": 1}', "/a~1b~0c", "unknown_field"),
        (b'{"text": "a", "texts": ["b"]}', "", "one_of"),
        (b"{}", "", "one_of"),
        (b"[]", "", "wrong_type"),
        (b'"text"', "", "wrong_type"),
        (rb'{"text": "\ud800"}', "/text", "lone_surrogate"),
        (rb'{"text": "a", "\ud800": "\ud800"}', "/?", "lone_surrogate"),
        (rb'{"texts": ["fine", "half \udc00 a character"]}', "/texts/1", "lone_surrogate"),
    ],
)
def test_a_wrong_field_is_named_with_the_rule_it_breaks(body: bytes, pointer: str, code: str) -> None:
    """The caller finds the mistake without reading our code."""
    error = refusal(body)

    assert isinstance(error, InvalidRequestError)
    assert (pointer, code) in [(found.pointer, found.code) for found in error.errors]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"text=a", b'{"text": "a",}', b"\xff\xfe", b'{"text": "\xff"}', b"[" * 5000]
)
def test_what_is_not_json_is_called_so(body: bytes) -> None:
    """400 for the syntax, 422 for the meaning."""
    error = refusal(body)

    assert isinstance(error, InvalidJsonError)
    assert [found.pointer for found in error.errors] == [""]


@pytest.mark.parametrize(
    "body",
    [
        {"text": SECRET, "texts": [SECRET]},
        {"text": [SECRET]},
        {"texts": {"a": SECRET}},
        {"text": SECRET, "trace": SECRET},
        {"text": SECRET, "model": {"name": SECRET}},
        {"text": SECRET, "model": SECRET * 100},
    ],
)
def test_an_error_never_repeats_the_caller_s_text(body: dict[str, Any]) -> None:
    """Error bodies end up in logs; users' texts must not."""
    response = error_response("/v1/sentiment", refusal(json.dumps(body).encode()))

    assert SECRET not in bytes(response.body).decode()


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    """Clients parse one shape for every failure."""
    error = InvalidRequestError.of(FieldError("/texts/3", "too_long", "has 9 characters, the limit is 5"))

    response = error_response("/v1/sentiment", error)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(bytes(response.body)) == {
        "type": "urn:rnnserve:problem:invalid_request",
        "title": "The request has invalid fields",
        "status": 422,
        "detail": "/texts/3: has 9 characters, the limit is 5",
        "instance": "/v1/sentiment",
        "code": "invalid_request",
        "errors": [{"pointer": "/texts/3", "code": "too_long", "detail": "has 9 characters, the limit is 5"}],
    }


@pytest.mark.parametrize(
    ("path", "error", "status", "body"),
    [
        (
            "/v1/models/none",
            UnknownModelError("No loaded model has this name.", [FieldError("/model", "unknown_model", "none")]),
            404,
            {
                "message": "No loaded model has this name.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            },
        ),
        (
            "/v1/completions",
            InvalidRequestError.of(FieldError("/logprobs", "too_large", "at most 5")),
            400,
            {
                "message": "/logprobs: at most 5",
                "type": "invalid_request_error",
                "param": "logprobs",
                "code": "invalid_request",
            },
        ),
        (
            "/v1/completions",
            OverloadedError("Too much.", 0.2),
            429,
            {"message": "Too much.", "type": "rate_limit_error", "param": None, "code": "overloaded"},
        ),
        (
            "/v1/completions",
            ModelRunError("It failed."),
            500,
            {"message": "It failed.", "type": "server_error", "param": None, "code": "model_run_failed"},
        ),
    ],
)
def test_openai_s_paths_answer_with_openai_s_error_object(
    path: str, error: ServiceError, status: int, body: dict[str, Any]
) -> None:
    """The openai package raises its own typed errors from it."""
    response = error_response(path, error)

    assert response.status_code == status
    assert json.loads(bytes(response.body)) == {"error": body}


def test_a_model_s_card_is_not_openai_s() -> None:
    """Their clients never ask for it; ours get problem details."""
    response = error_response("/v1/models/none/card", UnknownModelError("No."))
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("wait_s", "seconds", "milliseconds"),
    [(0.0, "1", "1"), (0.25, "1", "250"), (1.2, "2", "1200"), (59.9, "60", "59900"), (1e9, "60", "60000")],
)
def test_retry_after_is_whole_seconds_rounded_up_within_a_minute(
    wait_s: float, seconds: str, milliseconds: str
) -> None:
    """OpenAI's client gives up on longer waits."""
    assert retry_headers(wait_s) == {"retry-after": seconds, "retry-after-ms": milliseconds}


def test_a_refusal_under_load_carries_both_headers() -> None:
    """Clients of either habit wait the right time."""
    response = error_response("/v1/sentiment", OverloadedError("Too much.", 0.3))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert response.headers["retry-after-ms"] == "300"


def test_an_unknown_error_is_logged_once_and_answered_with_a_fixed_text(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of the inside leaks out; everything is in the log."""
    try:
        raise RuntimeError(SECRET)
    except RuntimeError as error:
        response = internal_error_response("/v1/sentiment", error, "id-7")

    assert response.status_code == 500
    assert SECRET not in bytes(response.body).decode()
    (record,) = caplog.records
    assert record.exc_info
    assert "id-7" in record.getMessage()


@given(
    st.recursive(
        st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
    )
)
def test_whole_characters_are_never_called_surrogates(value: object) -> None:
    """Emoji are pairs of escapes, and right."""
    assert lone_surrogates(json.dumps(value).encode()) == []


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (SentimentRequest, b'{"texts": [%s]}' % b",".join([b"1"] * 5000)),
        (SentimentRequest, b'{"text": "a", %s}' % b",".join(b'"x%d": 1' % i for i in range(5000))),
        (SentimentRequest, b'{"texts": [%s]}' % b",".join([rb'"\ud800"'] * 5000)),
        (CompletionRequest, b'{"model": "a", "prompt": [%s]}' % b",".join([b"1.5"] * 5000)),
        (CompletionRequest, b'{"model": "a", "prompt": [%s]}' % b",".join([b'["a"]'] * 5000)),
        (
            CompletionRequest,
            b'{"model": "a", "prompt": "b", "logit_bias": {%s}}' % b",".join(b'"x%d": 1' % i for i in range(5000)),
        ),
    ],
)
def test_a_body_with_thousands_of_mistakes_gets_a_short_answer(model: type[BaseModel], body: bytes) -> None:
    """Writing down a million mistakes of one small body would stop the service for seconds and take gigabytes."""
    error = refusal(body, model)

    assert isinstance(error, InvalidRequestError)
    assert 1 <= len(error.errors) <= MAX_ERRORS


def test_of_many_wrong_fields_the_first_are_named_and_the_others_counted() -> None:
    """A caller who sends a whole record learns which fields were not asked for."""
    error = refusal(b'{"text": "a", %s}' % b",".join(b'"x%d": 1' % i for i in range(500)), SentimentRequest)

    assert [field.pointer for field in error.errors] == [f"/x{i}" for i in range(MAX_ERRORS)]
    assert error.detail.startswith("/x0: ")
    assert error.detail.endswith("(and 499 more)")


def test_validation_stops_at_the_first_wrong_item_of_a_list() -> None:
    """Not only the answer is short: the mistakes behind the first are not even looked for."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(SentimentRequest).validate_json(b'{"texts": ["a", 1, 2, 3]}')

    assert [item["loc"] for item in caught.value.errors()] == [("texts", 1)]


def test_a_long_key_is_cut_in_the_pointer() -> None:
    """A key is the caller's text too."""
    assert len(json_pointer(("k" * 10_000,))) < 100
