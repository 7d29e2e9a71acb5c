"""A recipe: everything that decides what a trained model is, in one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from models.classifier import Pools
from models.corpora import CLOSED_TEXT, OPEN_TEXT, SENTIMENT
from models.trunk import Cell

NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


CORPUS_LABELS = ("negative", "positive")  # 0 and 1


class RecipeError(Exception):
    """A recipe is missing or wrong; the message names the file and the field."""


class Section(BaseModel, extra="forbid", frozen=True):
    """Base of a recipe's sections: a misspelt key stops the run."""


class TokenizerSection(Section):
    """How the tokenizer is trained."""

    vocab_size: int = Field(default=12_000, ge=400)
    max_texts: int = Field(default=150_000, ge=1, description="Texts it is trained on, drawn evenly.")


class ModelSection(Section):
    """Sizes of the network."""

    cell: Cell
    embedding_dim: int = Field(default=128, ge=1)
    hidden_size: int = Field(default=256, ge=1)
    num_layers: int = Field(default=1, ge=1)
    pools: Pools = ("last", "boltzmann")
    head_size: int = Field(default=64, ge=1)
    backward: bool = Field(default=False, description="Reads texts from their end: a teacher, never served.")


class DataSection(Section):
    """Which corpora; names as in ``models/corpora.py``."""

    sentiment: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = Field(
        default=(), description="Further JSON-lines files with a text field, for the language-model stage."
    )
    closed: str | None = Field(
        default=None, description="A benchmark, alone: read in order, in words of its own vocabulary, then measured."
    )
    statements: tuple[str, ...] = Field(
        default=(),
        description="Running text whose sentences a classifier given with --init judges; it learns to be less sure of them.",
    )
    everyday: bool = Field(default=False, description="Everyday texts of ours are a dev part beside the corpora's.")
    repeat: dict[str, int] = Field(default={}, description="How often a corpus counts in an epoch, where not once.")
    negation_share: float = Field(default=0.0, ge=0, le=0.5, description="Templated negation, as a share of the texts.")
    neutral_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Texts of ours that judge nothing, labelled one half, as a share of the texts.",
    )
    unmarked_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Texts that lose their final marks, or all, before a classifier reads them.",
    )
    mistyped_share: float = Field(
        default=0.0, ge=0, le=1, description="Texts that get typing errors before a classifier reads them."
    )


class LanguageModelSection(Section):
    """The language-model stage: of a language model, or before a classifier's own stage."""

    epochs: float = Field(default=3, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    rows: int = Field(default=64, ge=1, description="Parallel streams.")
    bptt: int = Field(default=64, ge=2, description="Tokens per step of each stream.")
    reset_probability: float = Field(
        default=0.01, ge=0, le=1, description="Chance that a stream's state is zeroed at a step."
    )
    clip: float = Field(default=0.5, gt=0)
    row_dropout: float = Field(default=0.025, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Locked, on inputs, between layers, on outputs.")
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of recurrent weights, once per batch.")
    share_of_time: float = Field(default=1.0, gt=0, le=1, description="Of --max-minutes, where another stage follows.")


class ClassifierSection(Section):
    """The classifier stage."""

    epochs: float = Field(default=3, gt=0)
    learning_rate: float = Field(
        default=2e-3, gt=0, description="Of the head; halved per layer below it after a language-model stage."
    )
    weight_decay: float = Field(default=0.01, ge=0)
    max_rows: int = Field(default=128, ge=1)
    max_tokens: int = Field(default=16_000, ge=1, description="Padded tokens of a batch.")
    cut_tokens: int = Field(
        default=400, ge=1, description="Longer training texts keep their beginning or their end, by turns."
    )
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.999, ge=0, lt=1)
    row_dropout: float = Field(default=0.05, ge=0, lt=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1, description="Of recurrent weights, once per batch.")
    head_dropout: tuple[float, float] = (0.4, 0.1)
    class_weights: tuple[str, ...] = Field(
        default=(), description="Corpora within which classes are weighed, n / (2 n_class), clipped to 0.3..4."
    )
    share_of_time: float = Field(default=1.0, gt=0, le=1, description="Of what is left, where distillation follows.")
    start_share: float = Field(
        default=0.0, ge=0, lt=1, description="What the classifier given with --init keeps of the final weights."
    )


class DistillationSection(ClassifierSection):
    """Another classifier stage, on what teachers (``--teacher``) say; left out where there are none.

    They judge the labelled texts, unlabelled ones, and sentences of both. Texts whose label is soft, or known by how they
    were made, keep it.
    """

    linear: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Corpora that a linear model over n-grams teaches as well, each with the unlabelled texts of its kind.",
    )

    teachers_share: float = Field(
        default=0.8, ge=0, le=1, description="Weight of the teachers' mean probabilities against a text's own label."
    )
    max_sentences: int = Field(
        default=300_000, ge=0, description="Sentences cut from all texts, drawn evenly; only the teachers judge them."
    )


class Recipe(Section):
    """One model, from data to checkpoint."""

    name: str = Field(pattern=NAME)
    task: Literal["sentiment", "language-model"]
    language: Literal["en", "zh"]
    labels: tuple[str, ...] = Field(default=CORPUS_LABELS, min_length=2)
    tokenizer: TokenizerSection = TokenizerSection()
    model: ModelSection
    data: DataSection = DataSection()
    language_model: LanguageModelSection | None = None
    classifier: ClassifierSection | None = None
    distillation: DistillationSection | None = None

    def changed(self, fields: Mapping[str, str]) -> Recipe:
        """The same recipe with other top-level fields, for instance another name.

        Raises:
            RecipeError: a value that the field cannot have.
        """
        try:
            return Recipe.model_validate(self.model_dump() | dict(fields))
        except ValidationError as error:
            raise RecipeError(_first_fault(error)) from error

    @model_validator(mode="after")
    def _stages_fit_the_task(self) -> Recipe:
        if self.task == "sentiment" and self.classifier is None and self.distillation is None:
            raise ValueError("a sentiment recipe needs a [classifier] section, or [distillation] alone")
        classifies = self.classifier is not None or self.distillation is not None
        if self.task == "language-model" and (self.language_model is None or classifies):
            raise ValueError(
                "a language-model recipe needs a [language_model] section, no [classifier] or [distillation]"
            )
        if self.task == "language-model" and self.model.backward:
            raise ValueError("model.backward: a language model reads forward")
        return self

    @model_validator(mode="after")
    def _corpora_exist_in_its_language(self) -> Recipe:
        for field, names, known in (
            ("sentiment", self.data.sentiment, SENTIMENT),
            ("text", self.data.text, OPEN_TEXT),
            ("statements", self.data.statements, OPEN_TEXT),
        ):
            usable = [name for name, corpus in known.items() if corpus.language == self.language]
            for name in names:
                if name not in usable:
                    raise ValueError(
                        f"data.{field}: no corpus {name!r} in {self.language}; there are {', '.join(usable)}"
                    )
        if self.data.statements and not self.data.sentiment:
            raise ValueError("data.statements: they stand beside corpora in data.sentiment")
        return self

    @model_validator(mode="after")
    def _labels_are_distinct_and_those_of_the_corpora(self) -> Recipe:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: one stands twice")
        if self.data.sentiment and self.labels != CORPUS_LABELS:
            raise ValueError(f"labels: the corpora have {', '.join(CORPUS_LABELS)}, in this order")
        return self

    @model_validator(mode="after")
    def _corpora_that_count_otherwise_are_read(self) -> Recipe:
        weighed = [section.class_weights for section in (self.classifier, self.distillation) if section]
        for field, names in (
            ("data.repeat", tuple(self.data.repeat)),
            *(("class_weights", names) for names in weighed),
        ):
            for name in names:
                if self.data.sentiment and name not in self.data.sentiment:
                    raise ValueError(f"{field}: {name!r} is not in data.sentiment")
        return self

    @model_validator(mode="after")
    def _linear_teachers_have_texts(self) -> Recipe:
        unlabelled = (*self.data.text, *self.data.unlabelled)
        for corpus, names in (self.distillation.linear if self.distillation else {}).items():
            if corpus not in self.data.sentiment:
                raise ValueError(f"distillation.linear: {corpus!r} is not in data.sentiment")
            for name in names:
                if name not in unlabelled:
                    raise ValueError(f"distillation.linear.{corpus}: {name!r} is not in data.text or data.unlabelled")
        return self

    @model_validator(mode="after")
    def _a_benchmark_stands_alone(self) -> Recipe:
        closed = self.data.closed
        if closed is None:
            return self
        if closed not in CLOSED_TEXT:
            raise ValueError(f"data.closed: no benchmark {closed!r}; there are {', '.join(CLOSED_TEXT)}")
        if self.task != "language-model" or self.language != CLOSED_TEXT[closed].language:
            raise ValueError(f"data.closed: {closed} is for a language model in {CLOSED_TEXT[closed].language}")
        if self.data.text or self.data.unlabelled:
            raise ValueError(f"data.closed: {closed} is read alone, without text or unlabelled")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        RecipeError: no such file, no TOML, or a field that is wrong.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise RecipeError(f"{path}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "the recipe"
    return f"{where}: {first['msg']}"
