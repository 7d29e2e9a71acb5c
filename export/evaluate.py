"""What ``rnnserve evaluate`` does: opens each bundle and measures what its task calls for."""

from __future__ import annotations

import datetime as dt
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
from export.evaluate_language_model import LanguageModelReport, SampleSizes, measure_language_model
from export.evaluate_sentiment import SentimentReport, evaluation_sets, measure_set, own_set, read_set, seed_answers
from export.scoring import OpenBundle, microseconds_per_token

BINARY = ["negative", "positive"]
What = Literal["quality", "behaviour", "comparison", "all"]


class EvaluationError(Exception):
    """The evaluation can't be done as asked; the message says what is missing."""


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


class Report(BaseModel, frozen=True):
    """All that was measured of one bundle.

    ``microseconds_per_token`` is that of one row alone on one core, in ONNX Runtime.
    """

    model: str
    task: str
    language: str
    cell: str
    num_layers: int
    hidden_size: int
    parameters: int
    precision: str
    measured: str = Field(default_factory=_today, description="ISO date.")
    microseconds_per_token: float | None = None
    sentiment: SentimentReport | None = None
    behaviour: BehaviourReport | None = None
    comparison: ComparisonReport | None = None
    language_model: LanguageModelReport | None = None

    def quality(self) -> dict[str, float]:
        """Flat metric names for the manifest."""
        parts = (self.sentiment, self.behaviour, self.language_model)
        return {name: value for part in parts if part is not None for name, value in part.quality().items()}


@dataclass
class Evaluation:
    """What to measure, and on what.

    Args:
        data: the corpora folder.
        texts: a user's own labelled file, instead of the corpora.
        limit: at most so many rows of each set; of a language model, so many words asked for.
        dev: only the parts that may choose a model.
        what: the task's own measures; the behavioural suite, which needs no corpora; what a user would pick instead, on
            the same rows; or all of these with what plots need.
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
        manifest = bundle.manifest
        about = manifest.model_dump(
            include={"task", "language", "cell", "num_layers", "hidden_size", "parameters", "precision"}
        )
        if self.what == "all":
            return Report(model=manifest.id, **about, **self._all(bundle))
        if self.what == "behaviour":
            return Report(model=manifest.id, behaviour=self._behaviour(bundle), **about)
        if manifest.task == "language-model":
            return Report(model=manifest.id, language_model=self._language_model(bundle), **about)
        if self.what == "comparison":
            return Report(model=manifest.id, comparison=self._comparison(bundle), **about)
        return Report(model=manifest.id, sentiment=self._sentiment(bundle), **about)

    def _all(self, bundle: OpenBundle) -> dict[str, Any]:
        speed = {"microseconds_per_token": microseconds_per_token(bundle.engine)}
        if bundle.manifest.task == "language-model":
            return speed | {"language_model": self._language_model(bundle)}
        return speed | {
            "sentiment": self._sentiment(bundle),
            "behaviour": self._behaviour(bundle),
            "comparison": self._comparison(bundle),
        }

    def _behaviour(self, bundle: OpenBundle) -> BehaviourReport:
        if bundle.manifest.labels != BINARY:
            expected = " and ".join(BINARY)
            raise EvaluationError(f"{bundle.manifest.id}: the behavioural suite asks for the labels {expected}")
        return measure_behaviour(bundle)

    def _sentiment(self, bundle: OpenBundle) -> SentimentReport:
        results = []
        if self.texts is not None:
            own, examples = own_set(self.texts, bundle.manifest.labels, self.limit)
            return SentimentReport(sets=[measure_set(bundle, own, examples)], seeds=[])
        for evaluation_set in evaluation_sets(bundle.manifest.language, dev=self.dev):
            with self._timed(f"{bundle.manifest.id} {evaluation_set.title}"):
                examples = read_set(self._data(), evaluation_set, self.limit)
                results.append(measure_set(bundle, evaluation_set, examples, curves=self.what == "all"))
        return SentimentReport(sets=results, seeds=seed_answers(bundle))

    def _comparison(self, bundle: OpenBundle) -> ComparisonReport:
        sets = evaluation_sets(bundle.manifest.language, dev=self.dev)
        with self._saying(bundle.manifest.id) as say:
            return compare(bundle, self._data(), sets, self.limit, say)

    def _language_model(self, bundle: OpenBundle) -> LanguageModelReport:
        if self.texts is not None:
            raise EvaluationError(f"{bundle.manifest.id} is a language model: it is not measured on labelled texts")
        sizes = SampleSizes() if self.limit is None else SampleSizes.at_most(self.limit)
        with self._saying(bundle.manifest.id) as say:
            return measure_language_model(bundle, self._data(), sizes, say)

    @contextmanager
    def _saying(self, model: str) -> Iterator[Callable[[str], None]]:
        """Lets a longer measurement tell what it does, one line a step."""
        with self.console.status(model) as status:

            def say(what: str) -> None:
                status.update(f"{model}: {what}")
                self.console.print(f"{model}: {what}", highlight=False)

            yield say

    def _data(self) -> Path:
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
