"""What ``rnnserve evaluate`` does: opens each bundle and measures what its task calls for."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from pydantic import BaseModel, Field
from rich.console import Console

from export.behaviour import BehaviourReport, measure_behaviour
from export.compare import ComparisonReport, compare
from export.evaluate_language_model import (
    LanguageModelReport,
    SampleSizes,
    measure_language_model,
    measure_perplexities,
)
from export.evaluate_sentiment import (
    SentimentReport,
    evaluation_sets,
    measure_set,
    own_set,
    predict,
    read_set,
    seed_answers,
)
from export.neutral import neutral_result, neutral_sets, read_neutral
from export.scoring import OpenBundle
from service.bundle import METRICS_FILE, WEIGHTS_FILE, Manifest

BINARY = ["negative", "positive"]
FINGERPRINT_DIGITS = 12
LARGE = 8_000_000  # weights; a model that is much larger than any that ships is measured on fewer rows
ROWS_OF_LARGE = 2_000  # of each set
What = Literal["quality", "behaviour", "comparison"]


class EvaluationError(Exception):
    """The evaluation can't be done as asked; the message says what is missing."""


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


class Report(BaseModel, frozen=True):
    """All that was measured of one bundle.

    Args:
        further: measured beside those that ship, to show what other sizes, seeds and precisions are worth.
        weights: the beginning of the weights file's SHA-256.
        recipe: a fingerprint of what the model was trained by, its seed and its name aside.
        trained: how long on what, one run after the other.
        dev: what may choose among models: mean accuracy on the dev parts, or a language model's nats a piece on documents held
            back from its training text.
        microseconds_per_token: of one row alone on one core, in ONNX Runtime.
        rows_cut: at most so many rows of each set, for a model too large for all.
        perplexities: by corpus, of a further language model.
    """

    model: str
    task: str
    language: str
    cell: str
    num_layers: int
    hidden_size: int
    embedding_dim: int
    parameters: int
    precision: str
    further: bool = False
    earlier: bool = Field(default=False, description="A further bundle that the last run of its kind did not measure.")
    weights: str = ""
    recipe: str | None = None
    seed: int | None = None
    trained: str = ""
    dev: float | None = None
    measured: str = Field(default_factory=_today, description="ISO date.")
    microseconds_per_token: float | None = None
    rows_cut: int | None = None
    sentiment: SentimentReport | None = None
    behaviour: BehaviourReport | None = None
    comparison: ComparisonReport | None = None
    language_model: LanguageModelReport | None = None
    perplexities: dict[str, float] | None = None

    def quality(self) -> dict[str, float]:
        """Flat metric names for the manifest."""
        parts = (self.sentiment, self.behaviour, self.language_model)
        return {name: value for part in parts if part is not None for name, value in part.quality().items()}


def describe(folder: Path, manifest: Manifest, *, further: bool = False) -> Report:
    """What a bundle is and was trained by; nothing is measured."""
    path = folder / METRICS_FILE
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    about = manifest.model_dump(
        include={"task", "language", "cell", "num_layers", "hidden_size", "embedding_dim", "parameters", "precision"}
    )
    return Report(
        model=manifest.id,
        further=further,
        weights=manifest.files[WEIGHTS_FILE][:FINGERPRINT_DIGITS],
        recipe=recipe_fingerprint(metrics),
        seed=metrics.get("seed"),
        trained=how_trained(metrics),
        dev=metrics.get("stages", {}).get("language-model", {}).get("watched_nll_per_token")
        if manifest.task == "language-model"
        else None,
        **about,
    )


def how_trained(metrics: dict[str, Any]) -> str:
    """For instance "15 min H100, 10 min CPU": the run that a model started from comes first."""
    before = how_trained(metrics["started_from"]) if metrics.get("started_from") else ""
    device = str(metrics.get("device") or "").replace("NVIDIA", "").strip().split(" ")[0].upper()
    run = f"{metrics['minutes']:.0f} min {device}".strip() if "minutes" in metrics else ""
    return ", ".join(filter(None, (before, run)))


def recipe_fingerprint(metrics: dict[str, Any]) -> str | None:
    """The same for models that differ in seed and name alone; None if ``metrics.json`` does not say how it was trained."""
    if "recipe" not in metrics:
        return None
    recipe = {key: value for key, value in metrics["recipe"].items() if key != "name"}
    whole = [recipe, metrics.get("teachers") or [], metrics.get("started_from") is not None]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:FINGERPRINT_DIGITS]


def _refuse_other_labels(bundle: OpenBundle, who: str) -> None:
    if bundle.manifest.labels != BINARY:
        raise EvaluationError(f"{bundle.manifest.id}: {who} the labels {' and '.join(BINARY)}")


@dataclass
class Evaluation:
    """What to measure, and on what.

    Args:
        data: the corpora folder.
        texts: a user's own labelled file, instead of the corpora.
        limit: at most so many rows of each set; of a language model, so many words asked for.
        dev: only the parts that may choose a model.
        what: the task's own measures; the behavioural suite, which needs no corpora; or what a user would pick instead, on
            the same rows.
        threads: of a model run.
        console: where progress is told.
    """

    data: Path | None
    texts: Path | None = None
    limit: int | None = None
    dev: bool = False
    what: What = "quality"
    threads: int = 1
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def run(self, folder: Path) -> Report:
        """Measure one bundle.

        Raises:
            BundleError: it can't be opened.
            CorpusError: a corpus can't be read.
            EvaluationError: no corpora folder was given, or the bundle's task has no such measure.
        """
        bundle = OpenBundle.open(folder, self.threads)
        return describe(folder, bundle.manifest).model_copy(update=self._measured(bundle))

    def _measured(self, bundle: OpenBundle) -> dict[str, Any]:
        if self.what == "behaviour":
            return {"behaviour": self.behaviour(bundle)}
        if bundle.manifest.task == "language-model":
            return {"language_model": self.language_model(bundle)}
        if self.what == "comparison":
            return {"comparison": self.comparison(bundle)}
        return {"sentiment": self.sentiment(bundle)}

    def behaviour(self, bundle: OpenBundle) -> BehaviourReport:
        """Run the behavioural suite."""
        _refuse_other_labels(bundle, "the behavioural suite asks for")
        return measure_behaviour(bundle)

    def sentiment(self, bundle: OpenBundle, *, curves: bool = False) -> SentimentReport:
        """Measure a classifier on every set; with ``curves`` also what plots need."""
        results = []
        if self.texts is not None:
            own, examples = own_set(self.texts, bundle.manifest.labels, self.limit)
            return SentimentReport(sets=[measure_set(bundle, own, examples)], seeds=[])
        _refuse_other_labels(bundle, "the corpora have")
        for evaluation_set in evaluation_sets(bundle.manifest.language, dev=self.dev):
            with self._timed(f"{bundle.manifest.id} {evaluation_set.title}"):
                examples = read_set(self.corpora(), evaluation_set, self.limit)
                results.append(measure_set(bundle, evaluation_set, examples, curves=curves))
        neutral = []
        for neutral_set in neutral_sets(bundle.manifest.language, dev=self.dev):
            with self._timed(f"{bundle.manifest.id} {neutral_set.title}"):
                texts = read_neutral(self.corpora(), neutral_set, self.limit)
                neutral.append(neutral_result(neutral_set, predict(bundle, texts)))
        return SentimentReport(sets=results, seeds=seed_answers(bundle), neutral=neutral)

    def dev_accuracy(self, bundle: OpenBundle) -> float:
        """Mean accuracy of a classifier on the dev parts."""
        sets = evaluation_sets(bundle.manifest.language, dev=True)
        return statistics.mean(measure_set(bundle, s, read_set(self.corpora(), s, self.limit)).accuracy for s in sets)

    def comparison(self, bundle: OpenBundle) -> ComparisonReport:
        """Measure what a user would pick instead of a classifier."""
        sets = evaluation_sets(bundle.manifest.language, dev=self.dev)
        with self._saying(bundle.manifest.id) as say:
            return compare(bundle, self.corpora(), sets, self.limit, say)

    def language_model(self, bundle: OpenBundle) -> LanguageModelReport:
        """Measure a language model beside n-gram models."""
        if self.texts is not None:
            raise EvaluationError(f"{bundle.manifest.id} is a language model: it is not measured on labelled texts")
        with self._saying(bundle.manifest.id) as say:
            return measure_language_model(bundle, self.corpora(), self._sizes(), say)

    def perplexities(self, bundle: OpenBundle) -> dict[str, float]:
        """Perplexity of a language model on each corpus, on the text that :meth:`language_model` measures it on."""
        with self._timed(f"{bundle.manifest.id} perplexities"):
            return measure_perplexities(bundle, self.corpora(), self._sizes())

    def _sizes(self) -> SampleSizes:
        return SampleSizes() if self.limit is None else SampleSizes.at_most(self.limit)

    @contextmanager
    def _saying(self, model: str) -> Iterator[Callable[[str], None]]:
        """Lets a longer measurement tell what it does, one line a step."""
        with self.console.status(model) as status:

            def say(what: str) -> None:
                status.update(f"{model}: {what}")
                self.console.print(f"{model}: {what}", highlight=False)

            yield say

    def corpora(self) -> Path:
        """The corpora folder. Raises ``EvaluationError`` where none was given."""
        if self.data is None or not self.data.is_dir():
            raise EvaluationError("evaluation reads the corpora folder: give --data DIR, or your own --texts FILE")
        return self.data

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        """Say what is being done while it is done, and how long it took."""
        began = perf_counter()
        with self.console.status(what):
            yield
        self.console.print(f"{what}: {perf_counter() - began:.1f} s", highlight=False)
