"""Contenders on the same rows in the same run: accuracy, time for one text, memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from pydantic import BaseModel

from export.baselines import Contender, contenders
from export.evaluate_sentiment import EvaluationSet, read_set
from export.footprint import resident_megabytes
from export.metrics import classification
from export.scoring import OpenBundle
from models.corpora import SENTIMENT, training_examples

ROWS = 2_000  # of each set: lexicons take milliseconds a text
TIMED_TEXTS = 100


class ContenderResult(BaseModel, frozen=True):
    """One contender.

    Args:
        name: for readers.
        accuracy: by the set's key.
        macro_f1: by the set's key.
        milliseconds: median for one text alone, over texts of all sets.
        megabytes: resident memory that a Python process gains by answering one text, libraries included.
    """

    name: str
    accuracy: dict[str, float]
    macro_f1: dict[str, float]
    milliseconds: float
    megabytes: float


class ComparisonReport(BaseModel, frozen=True):
    """All contenders on the same rows; the bundle first."""

    titles: dict[str, str]
    rows: dict[str, int]
    training_rows: int
    contenders: list[ContenderResult]


def compare(
    bundle: OpenBundle, data: Path, sets: Sequence[EvaluationSet], limit: int | None, say: Callable[[str], None]
) -> ComparisonReport:
    """Measure the bundle and what a user would pick instead.

    Args:
        bundle: a sentiment model.
        data: the corpora folder.
        sets: what to measure on; ``ROWS`` are drawn from each.
        limit: fewer rows than that.
        say: told what is being done.

    Raises:
        CorpusError: a corpus can't be read.
        MissingPackageError: a package of the extra ``compare`` is not installed.
    """
    say("training the linear models")
    names = [source.name for source in bundle.manifest.training_data if source.name in SENTIMENT]
    training = [
        e for e in training_examples(data, names)[0] if e.positive is None
    ]  # hard labels: soft ones are phrases
    rows = {s.key: read_set(data, s, min(limit or ROWS, ROWS)) for s in sets}
    timed = [e.text for examples in rows.values() for e in examples[: max(1, TIMED_TEXTS // len(sets))]]
    results = []
    for contender in contenders(bundle, training):
        say(f"measuring {contender.name}")
        measures = {}
        for key, examples in rows.items():
            predicted = contender.predict([e.text for e in examples])
            measures[key] = classification(np.eye(2)[predicted], np.array([e.label for e in examples]))
        results.append(
            ContenderResult(
                name=contender.name,
                accuracy={key: m.accuracy for key, m in measures.items()},
                macro_f1={key: m.macro_f1 for key, m in measures.items()},
                milliseconds=milliseconds_per_text(contender, timed),
                megabytes=resident_megabytes(contender, timed[0]),
            )
        )
    return ComparisonReport(
        titles={s.key: s.title for s in sets},
        rows={key: len(examples) for key, examples in rows.items()},
        training_rows=len(training),
        contenders=results,
    )


def milliseconds_per_text(contender: Contender, texts: Sequence[str]) -> float:
    """Median time for one text alone."""
    contender.predict(texts[:1])
    times = []
    for text in texts:
        began = perf_counter()
        contender.predict([text])
        times.append(perf_counter() - began)
    return statistics.median(times) * 1e3
