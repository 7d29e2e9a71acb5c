"""Wire types of the native routes. Unknown fields are refused; limits that operators set are checked by the use cases."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from service.bundle import DataSource, ParityCertificate


class Request(BaseModel, extra="forbid", strict=True, frozen=True):
    """Base of what clients send."""


class SentimentRequest(Request):
    """One text or several."""

    text: str | None = Field(default=None, description="One text.", examples=["This movie is not good"])
    texts: list[str] | None = Field(default=None, description="Several texts, in any mix of languages.")
    model: str | None = Field(
        default=None,
        description="`name` or `name@version`. Without it the script of each text decides.",
        max_length=128,
    )
    trace: bool = Field(default=False, description="Also return the prediction after every token.")

    @model_validator(mode="after")
    def _text_or_texts(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise PydanticCustomError("one_of", "exactly one of text and texts is needed")
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


class SentimentResponse(BaseModel):
    """One result per text, in the order of the texts."""

    results: list[SentimentResult]


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
