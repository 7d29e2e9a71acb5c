"""Wire types of ``/v1/completions``, as OpenAI's clients send and read them. Unknown fields are ignored: clients send many."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ModelWrapValidatorHandler, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

MAX_STOP_STRINGS = 4
MAX_STOP_CHARACTERS = 256
MAX_LOGPROBS = 5
MAX_N = 16

FinishReason = Literal["stop", "length"]


def _one_error(message: str) -> WrapValidator:
    """One error that says what is allowed, instead of one for each alternative of a union."""

    def validate(value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("wrong_type", "must be {allowed}", {"allowed": message}) from None

    return WrapValidator(validate)


StopString = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]
Stop = Annotated[
    StopString | Annotated[list[StopString], Field(max_length=MAX_STOP_STRINGS, fail_fast=True)],
    _one_error(f"a string or up to {MAX_STOP_STRINGS} strings, each of 1 to {MAX_STOP_CHARACTERS} characters"),
]
# The first wrong item says it all: an error for each of a million would take seconds and gigabytes.
TokenIds = Annotated[list[int], Field(fail_fast=True)]
Prompt = Annotated[
    str | Annotated[list[str], Field(fail_fast=True)] | TokenIds | Annotated[list[TokenIds], Field(fail_fast=True)],
    _one_error("a string, a list of strings, a list of token ids, or a list of such lists"),
]


class StreamOptions(BaseModel, extra="ignore", strict=True, frozen=True):
    """What a stream carries beside its text."""

    include_usage: bool | None = Field(default=None, description="End with one more chunk that holds the usage.")


class CompletionRequest(BaseModel, extra="ignore", strict=True, frozen=True):
    """What to continue, and how. ``null`` is the default everywhere."""

    model: str = Field(description="`name` or `name@version` of a language model.", examples=["lm-en"], max_length=128)
    prompt: Prompt = Field(description="Text or token ids, one or several.", examples=["I'll see you"])
    best_of: int | None = Field(
        default=None, ge=1, le=MAX_N, description="Generate so many and return the `n` likeliest per token."
    )
    echo: bool | None = Field(default=None, description="Also return the prompt.")
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        default=None, description="Added to the logits of these token ids."
    )
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS, description="How many alternatives to name.")
    max_tokens: int | None = Field(default=None, ge=0, description="16 if absent.")
    n: int | None = Field(default=None, ge=1, le=MAX_N, description="Completions of each prompt.")
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64, description="The same seed gives the same text.")
    stop: Stop | None = Field(default=None, description="Strings that end the text and are not part of it.")
    stream: bool | None = Field(default=None, description="Send server-sent events as the text grows.")
    stream_options: StreamOptions | None = None
    suffix: None = Field(default=None, description="Text after the completion is not supported.")
    state: str | None = Field(
        default=None,
        description="Not OpenAI's: the state of an earlier answer; the prompt goes on where that text ended.",
        max_length=16384,
    )
    return_state: bool | None = Field(
        default=None, description="Not OpenAI's: also return the state after prompt and completion, in each choice."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="1 if absent; 0 takes the likeliest token.")
    top_k: int | None = Field(
        default=None, ge=-1, description="Not OpenAI's: draw from so many of the likeliest tokens; 0 and -1 mean all."
    )
    top_p: float | None = Field(default=None, ge=0, le=1)
    user: str | None = None


class Logprobs(BaseModel):
    """What the model thought of each token, before temperature, bias and penalties. Four lists of one length."""

    tokens: list[str] = Field(description="A piece that is no text by itself is written `bytes:\\xe7`.")
    token_logprobs: list[float | None] = Field(description="null for the first token of an echoed prompt.")
    top_logprobs: list[dict[str, float] | None] = Field(description="The likeliest tokens and the one that was taken.")
    text_offset: list[int] = Field(description="Where each token begins, in characters of prompt and completion.")


class CompletionChoice(BaseModel):
    """One completion of one prompt."""

    index: int = Field(description="prompt_index * n + i")
    text: str
    finish_reason: FinishReason
    logprobs: Logprobs | None = None
    state: str | None = Field(
        default=None, description="Sealed; send it back with what comes next.", exclude_if=lambda v: v is None
    )


class PromptTokensDetails(BaseModel):
    """Where the prompt's tokens came from."""

    cached_tokens: int = Field(description="Tokens whose state was kept from an earlier request.")


class CompletionUsage(BaseModel):
    """What was counted."""

    prompt_tokens: int
    completion_tokens: int = Field(description="All that were generated, those of unreturned `best_of` included.")
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Completion(BaseModel):
    """All completions."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(description="Unix time, seconds.")
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage


class OpenAIError(BaseModel):
    """How this surface says what went wrong."""

    class Error(BaseModel):
        """The error itself."""

        message: str
        type: str
        param: str | None
        code: str | None

    error: Error
