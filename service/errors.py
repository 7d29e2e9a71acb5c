"""What can fail, as types. Imports nothing of the project; ``error_handlers.py`` says what HTTP makes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class BundleError(Exception):
    """A bundle can't be served: stops the start, never reaches a client.

    Args:
        path: the file that is wrong.
        problem: what is wrong with it, as a predicate ("is missing").
        remedy: what the operator can do.
    """

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path} {problem}: {remedy}")
        self.path = path
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a request.

    Args:
        pointer: JSON pointer into the request body, ``/texts/3``; empty for the body as a whole.
        code: the rule that was broken, part of the API (``too_long``).
        detail: the rule and its limit in words. Never the caller's text.
    """

    pointer: str
    code: str
    detail: str


class ServiceError(Exception):
    """Base of all that a client is told. Subclass it directly and add the subclass to ``error_handlers.STATUS``.

    Args:
        detail: what went wrong this time, for people; names the wrong value's place and the limit, never a text.
        errors: the wrong fields, where the request's body is at fault.
    """

    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class InvalidJsonError(ServiceError):
    """The body isn't JSON."""

    code = "invalid_json"
    title = "The request body is not valid JSON"


class UnsupportedMediaTypeError(ServiceError):
    """The body is declared as something other than JSON."""

    code = "unsupported_media_type"
    title = "The content type is not supported"


class BodyTooLargeError(ServiceError):
    """The body has more bytes than the operator allows."""

    code = "body_too_large"
    title = "The request body is too large"


class InvalidRequestError(ServiceError):
    """One or more fields break a rule; ``errors`` names each."""

    code = "invalid_request"
    title = "The request has invalid fields"

    @classmethod
    def of(cls, *errors: FieldError, unnamed: int = 0) -> InvalidRequestError:
        """The error for these wrong fields, and for so many more that it doesn't name; its detail is the first one's."""
        others = len(errors) - 1 + unnamed
        more = f" (and {others} more)" if others else ""
        return cls(f"{errors[0].pointer or 'body'}: {errors[0].detail}{more}", errors)


class UnknownModelError(ServiceError):
    """No loaded model has this name, or it serves another task."""

    code = "unknown_model"
    title = "The model does not exist"


class OverloadedError(ServiceError):
    """More work is queued than can be done in time.

    Args:
        detail: as for every service error.
        retry_after_s: when the queue should have drained, from queued work and the measured drain rate.
    """

    code = "overloaded"
    title = "The service is overloaded"

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotReadyError(ServiceError):
    """The service is loading its models or shutting down.

    Args:
        detail: as for every service error.
        retry_after_s: when to ask again.
    """

    code = "not_ready"
    title = "The service is not ready"

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(ServiceError):
    """The answer would have come after the request's deadline."""

    code = "deadline_exceeded"
    title = "The deadline has passed"


class NonFiniteOutputError(ServiceError):
    """The model returned NaN or infinity. Raised by ``Engine.run``."""

    code = "non_finite_output"
    title = "The model returned no usable number"


class ModelRunError(ServiceError):
    """ONNX Runtime refused a run. Raised by ``Engine.run`` from the cause."""

    code = "model_run_failed"
    title = "The model run failed"


class StateTokenMalformedError(ServiceError):
    """Not a state token, or one that was cut short. Raised by ``StateSealer.open``, as are the five that follow."""

    code = "state_malformed"
    title = "The state is not a complete state token"


class StateTokenTamperedError(ServiceError):
    """Bytes of the state token were changed."""

    code = "state_tampered"
    title = "The state token was altered"


class StateTokenExpiredError(ServiceError):
    """The state token is too old."""

    code = "state_expired"
    title = "The state token has expired"


class StateTokenWrongModelError(ServiceError):
    """The state token belongs to another model, or to another version of this one."""

    code = "state_wrong_model"
    title = "The state token belongs to another model"


class StateTokenWrongCallerError(ServiceError):
    """The state token was given to another caller."""

    code = "state_wrong_caller"
    title = "The state token belongs to another caller"


class StateTokenUnknownKeyError(ServiceError):
    """The state token was sealed with a key that this service does not have."""

    code = "state_unknown_key"
    title = "The state token was sealed with an unknown key"


class StateTokenTooLargeError(ServiceError):
    """A state and the unfinished end of its text do not fit into a token. Raised by ``StateSealer.seal``."""

    code = "state_too_large"
    title = "The state does not fit into a token"


class UnsettledTextError(ServiceError):
    """The end of a text that may go on is too long to be carried. Raised by ``Tokenizer.settle``.

    Args:
        characters: how many there are without a word boundary.
        limit: how many there may be.
        pointer: the text's place in the request.
    """

    code = "unsettled_text_too_long"
    title = "The text has no word boundary near its end"

    def __init__(self, characters: int, limit: int, pointer: str = "") -> None:
        detail = (
            f"The last {characters} characters have no word boundary; "
            f"a text to be continued may have at most {limit} after the last one."
        )
        super().__init__(detail, [FieldError(pointer, self.code, detail)])
        self.characters = characters
        self.limit = limit
