"""Wire types of the native routes. Unknown fields are refused; limits that operators set are checked by the use cases."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from service.bundle import DataSource, ParityCertificate


class Request(BaseModel, extra="forbid", strict=True, frozen=True):
    """Base of what clients send."""


class SentimentRequest(Request):
    """One text or several."""

    text: str | None = Field(default=None, description="One text.", examples=["This movie is not good"])
    texts: Annotated[list[str], Field(fail_fast=True)] | None = Field(
        default=None, description="Several texts, in any mix of languages."
    )
    model: str | None = Field(
        default=None,
        description="`name` or `name@version`. Without it the script of each text decides.",
        max_length=128,
    )
    trace: bool = Field(default=False, description="Also return the prediction after every token.")
    state: str | None = Field(
        default=None,
        description="The state of an earlier answer: `text` goes on where that text ended.",
        max_length=16384,
    )
    return_state: bool = Field(default=False, description="Also return a state to go on with. For a single `text`.")

    @model_validator(mode="after")
    def _text_or_texts(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise PydanticCustomError("one_of", "exactly one of text and texts is needed")
        if self.text is None and (self.state is not None or self.return_state):
            raise PydanticCustomError("single_text", "state and return_state go with a single text, not with texts")
        return self


class TracePoint(BaseModel):
    """The prediction after one token, from all tokens up to it."""

    token: str = Field(description="The text between start and end.")
    start: int = Field(description="Offset in Unicode code points of the text as sent.")
    end: int
    probabilities: dict[str, float]


class SentimentResult(BaseModel):
    """One text's prediction."""

    model: str = Field(description="Which model answered, as name@version.", examples=["sentiment-en@1"])
    label: str = Field(description="The most probable label.", examples=["negative"])
    score: float = Field(description="The label's probability.", examples=[0.97])
    probabilities: dict[str, float] = Field(description="The probability of each label; they sum to 1.")
    tokens: int = Field(description="How many tokens the text has.")
    trace: list[TracePoint] | None = None
    state: str | None = Field(default=None, description="Sealed; send it back with the next part of the text.")


class SentimentResponse(BaseModel):
    """One result per text, in the order of the texts."""

    results: list[SentimentResult]


class NextWordRequest(Request):
    """A text whose last word is to be completed or followed."""

    text: str = Field(
        description="Any text, also an empty one. If it ends inside a word, that word is completed; if it ends with a "
        "space (in Chinese: anywhere), the next word is predicted.",
        examples=["I'll see you tom"],
    )
    top_k: int = Field(default=5, description="How many words.", examples=[5])
    model: str | None = Field(
        default=None, description="`name` or `name@version`. Without it the script of the text decides.", max_length=128
    )
    state: str | None = Field(
        default=None,
        description="The state of an earlier answer: `text` goes on where that text ended.",
        max_length=16384,
    )
    return_state: bool = Field(default=False, description="Also return a state to go on with.")


class NextWordCandidate(BaseModel):
    """A whole word that may come."""

    word: str = Field(examples=["tomorrow"])
    completion: str = Field(
        description="What to append to the text; empty where the text may end with the whole word. A word that may come "
        "with a space in front and without is listed once, with the likelier of the two.",
        examples=["orrow"],
    )
    probability: float = Field(
        description="That this word comes, given the text and the letters typed. A lower bound: the true value is at "
        "most `unexplored` higher.",
        examples=[0.61],
    )


class NextWordResponse(BaseModel):
    """The likeliest words, likeliest first."""

    model: str = Field(description="Which model answered, as name@version.", examples=["lm-en@1"])
    prefix: str = Field(description="The half-typed word at the end of the text.", examples=["tom"])
    candidates: list[NextWordCandidate]
    unexplored: float = Field(
        description="Probability of all spellings that the search did not follow to the end of a word.", examples=[0.04]
    )
    state: str | None = Field(default=None, description="Sealed; send it back with the next part of the text.")


class ModelObject(BaseModel):
    """A model, as OpenAI's clients expect it."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time, seconds.")
    owned_by: str = "rnnserve"
    task: str
    language: str


class ModelList(BaseModel):
    """All loaded models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelCard(BaseModel):
    """What is known about a model: what it learnt from, how well it does, how exactly the export was checked."""

    id: str
    name: str
    version: str
    task: str
    language: str
    cell: str
    num_layers: int
    hidden_size: int
    embedding_dim: int
    vocab_size: int
    parameters: int
    labels: list[str]
    temperature: float
    max_tokens: int
    created: str
    quality: dict[str, float]
    training_data: list[DataSource]
    parity: ParityCertificate
    files: dict[str, str]
    tool_versions: dict[str, str]


class Problem(BaseModel):
    """RFC 9457 problem details: the answer to every request that fails, outside OpenAI's surface."""

    class Field(BaseModel):
        """One wrong field of the request."""

        pointer: str
        code: str
        detail: str

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[Field] | None = None


class Health(BaseModel):
    """Whether the process lives, or may be sent requests."""

    status: Literal["live", "ready", "loading", "draining"]
