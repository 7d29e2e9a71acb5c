"""Measures a sentiment bundle on labelled texts it was not trained on, through the engine that serves it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from export.metrics import (
    Array,
    Labels,
    classification,
    ece_of_the_calibrated,
    reliability,
    risk_coverage,
    softmax,
)
from export.neutral import NeutralResult
from export.scoring import OpenBundle, final_logits, logits_at_shares
from models.corpora import SENTIMENT, Example, Language, Part, everyday, labelled_rows, own_examples
from models.typed_texts import as_typed

SAMPLE_SEED = 1
YELP_SAMPLE = 20_000
READ_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of a text's tokens
CURVE_POINTS = 101
TYPED_ROWS = 2_000
TYPED_WAYS = {"marks left out": (1.0, 0.0), "typing errors": (0.0, 1.0)}  # shares for as_typed


@dataclass(frozen=True)
class EvaluationSet:
    """Labelled texts of one part of a corpus, or some of them.

    Args:
        key: begins the names of its measures in the manifest, for instance ``sst2_test``.
        title: for readers.
        corpus: name in ``models.corpora.SENTIMENT``; empty for texts of our own.
        part: dev or test.
        note: what a reader of the number must know.
        keep: which rows count.
        sample: at most so many rows, drawn with a fixed seed.
        texts: our own, with their labels.
    """

    key: str
    title: str
    corpus: str
    part: Part = "test"
    note: str = ""
    keep: Callable[[dict[str, Any]], bool] = lambda _: True
    sample: int | None = None
    texts: tuple[tuple[str, int], ...] = ()


def _everyday(language: Language, part: Part) -> EvaluationSet:
    texts = tuple((example.text, example.label) for example in everyday(language, part))
    note = "plain and hard ones, written for this by an author who had seen nothing of the project"
    title = "everyday texts" if part == "test" else "everyday dev"
    return EvaluationSet(f"everyday_{part}", title, "", part, note, texts=texts)


OWN_SPLIT_10, OWN_SPLIT_5 = "own split: 10 % by the text's hash", "own split: 5 % by the text's hash"
EVALUATION_SETS: dict[Language, tuple[EvaluationSet, ...]] = {
    "en": (
        EvaluationSet("sst2_dev", "SST-2 dev", "sst2", "dev", note="chose the model"),
        EvaluationSet("sst2_test", "SST-2 test", "sst2"),
        EvaluationSet("imdb_test", "IMDB test", "imdb"),
        EvaluationSet("mr_test", "MR outside SST", "mr", note="no training rows of its own; rows that SST does not hold"),
        EvaluationSet("cr_test", "CR", "cr", note="no training rows: an unseen domain"),
        EvaluationSet("yelp_test", "Yelp test", "yelp", note=f"{YELP_SAMPLE:,} rows drawn", sample=YELP_SAMPLE),
        EvaluationSet("amazon_test", "Amazon", "amazon_mds", note=OWN_SPLIT_10),
        EvaluationSet("airline_test", "Airline tweets ±", "airline", note=f"{OWN_SPLIT_10}; neutral rows left out"),
        EvaluationSet("semeval_test", "SemEval-2017 ±", "semeval", note="neutral rows left out"),
        _everyday("en", "test"),
    ),
    "zh": (
        EvaluationSet("chnsenticorp_test", "ChnSentiCorp, all", "chnsenticorp", note="335 rows also stand in its train part"),
        EvaluationSet("chnsenticorp_clean_test", "ChnSentiCorp, clean", "chnsenticorp", note="rows not in its train part", keep=lambda row: not row["in_train"]),
        EvaluationSet("waimai_test", "waimai", "waimai", note=OWN_SPLIT_5),
        EvaluationSet("online_shopping_test", "online_shopping", "online_shopping", note=OWN_SPLIT_5),
        EvaluationSet("appstore_test", "app store", "appstore", note=OWN_SPLIT_5),
        EvaluationSet("douban_test", "Douban", "douban", note="own split, by film; lopsided; 3 stars left out"),
        _everyday("zh", "test"),
    ),
}  # fmt: skip

SEED_SENTENCES: dict[Language, tuple[tuple[str, int], ...]] = {
    "en": (("This movie is not good", 0), ("This movie is good", 1)),
    "zh": (("这部电影不好看", 0), ("这部电影好看", 1)),
}


class SetCurves(BaseModel, frozen=True):
    """What the plots of a set show.

    Args:
        bin_confidence: mean confidence in each bin of :func:`export.metrics.reliability`.
        bin_accuracy: accuracy there.
        bin_share: of all texts there.
        coverage: shares of texts answered, the surest first.
        risk: share of errors among those.
        accuracy_after: accuracy when only this share of each text's tokens was read.
    """

    bin_confidence: list[float]
    bin_accuracy: list[float]
    bin_share: list[float]
    coverage: list[float]
    risk: list[float]
    accuracy_after: dict[float, float]


class SetResult(BaseModel, frozen=True):
    """Measures on one set; see :class:`export.metrics.Classification`.

    ``ece_by_chance`` is that of a perfectly calibrated model on as many rows. ``typed`` is the accuracy on at most ``TYPED_ROWS``
    rows as they are, and as people type them.
    """

    key: str
    title: str
    note: str
    rows: int
    accuracy: float
    macro_f1: float
    macro_recall: float
    ece: float
    nll: float
    ece_by_chance: float | None = None
    curves: SetCurves | None = None
    typed: dict[str, float] | None = None


class SeedAnswer(BaseModel, frozen=True):
    """What the model says to a sentence whose answer is known."""

    text: str
    expected: str
    label: str
    probability: float


class SentimentReport(BaseModel, frozen=True):
    """What was measured of a sentiment bundle."""

    sets: list[SetResult]
    seeds: list[SeedAnswer]
    neutral: list[NeutralResult] = []

    def quality(self) -> dict[str, float]:
        """Flat metric names for the manifest; accuracies first."""
        flat = {f"{s.key}_accuracy": s.accuracy for s in self.sets}
        for name in ("macro_f1", "macro_recall", "ece", "nll"):
            flat |= {f"{s.key}_{name}": getattr(s, name) for s in self.sets}
        flat |= {f"{s.key}_firm": s.firm for s in self.neutral}
        return {name: round(value, 4) for name, value in flat.items()}


def evaluation_sets(language: Language, *, dev: bool) -> tuple[EvaluationSet, ...]:
    """The sets of a language. With ``dev`` only what may choose a model: the dev parts."""
    if not dev:
        return EVALUATION_SETS[language]
    corpora = [c for c in SENTIMENT.values() if c.language == language and c.files.keys() & {"dev", "all"}]
    sets = [EvaluationSet(f"{c.name}_dev", f"{c.name} dev", c.name, "dev", sample=YELP_SAMPLE) for c in corpora]
    return (*sets, _everyday(language, "dev"))


def read_set(data: Path, evaluation_set: EvaluationSet, limit: int | None = None) -> list[Example]:
    """Rows of a set, in the file's order; ``limit`` draws fewer, with the same seed for every model."""
    rows = [Example(text, label, evaluation_set.key) for text, label in evaluation_set.texts] or [
        Example(row["text"], label, evaluation_set.corpus)
        for row, label in labelled_rows(data, evaluation_set.corpus, evaluation_set.part)
        if evaluation_set.keep(row)
    ]
    most = min(n for n in (evaluation_set.sample, limit, len(rows)) if n is not None)
    if most < len(rows):
        chosen = sorted(random.Random(SAMPLE_SEED).sample(range(len(rows)), most))
        rows = [rows[i] for i in chosen]
    return rows


def own_set(path: Path, labels: Sequence[str], limit: int | None = None) -> tuple[EvaluationSet, list[Example]]:
    """A user's own CSV or JSONL as a set. Raises ``CorpusError`` naming file and line."""
    key = "".join(c if c.isalnum() else "_" for c in path.stem.lower())
    examples = own_examples(path, tuple(labels), every_class=False)
    return EvaluationSet(key, path.name, path.stem, note="your own texts"), examples[:limit]


def predict(bundle: OpenBundle, texts: Sequence[str]) -> Array:
    """(N, C) calibrated probabilities, as the service answers them."""
    return softmax(final_logits(bundle.engine, bundle.encode(texts)), bundle.manifest.temperature)


def measure_set(
    bundle: OpenBundle, evaluation_set: EvaluationSet, examples: Sequence[Example], *, curves: bool = False
) -> SetResult:
    """Predict and measure one set; with ``curves`` also what its plots show, and texts as people type them."""
    labels = np.array([e.label for e in examples])
    encoded = bundle.encode([e.text for e in examples])
    temperature = bundle.manifest.temperature
    if not curves:
        return set_result(evaluation_set, softmax(final_logits(bundle.engine, encoded), temperature), labels)
    steps = softmax(logits_at_shares(bundle.engine, encoded, READ_SHARES), temperature)
    result = set_result(evaluation_set, steps[-1], labels, set_curves(steps, labels))
    return result.model_copy(update={"typed": accuracy_as_typed(bundle, examples)})


def accuracy_as_typed(bundle: OpenBundle, examples: Sequence[Example]) -> dict[str, float]:
    """Accuracy on at most ``TYPED_ROWS`` texts as they are, and in each of ``TYPED_WAYS`` that changes any."""
    some = random.Random(SAMPLE_SEED).sample(examples, min(TYPED_ROWS, len(examples)))
    texts, labels = [e.text for e in some], np.array([e.label for e in some])
    ways = {way: as_typed(texts, *shares, SAMPLE_SEED) for way, shares in TYPED_WAYS.items()}
    ways = {"as they are": texts} | {way: typed for way, typed in ways.items() if typed != texts}
    return {
        way: round(float((predict(bundle, typed).argmax(axis=1) == labels).mean()), 4) for way, typed in ways.items()
    }


def set_result(
    evaluation_set: EvaluationSet, probabilities: Array, labels: Labels, curves: SetCurves | None = None
) -> SetResult:
    """Measures of (N, C) predictions, under the set's name."""
    measures = asdict(classification(probabilities, labels))
    about = {"key": evaluation_set.key, "title": evaluation_set.title, "note": evaluation_set.note}
    chance = ece_of_the_calibrated(probabilities) if probabilities.shape[1] == 2 else None
    return SetResult(**about, **measures, ece_by_chance=chance, curves=curves)


def set_curves(steps: Array, labels: Labels) -> SetCurves:
    """Curves of (shares, N, C) predictions after each of ``READ_SHARES`` of the tokens."""
    bins, risks = reliability(steps[-1], labels), risk_coverage(steps[-1], labels)
    points = np.unique(np.linspace(0, len(labels) - 1, CURVE_POINTS).astype(np.int64))
    return SetCurves(
        bin_confidence=_rounded(bins.confidence),
        bin_accuracy=_rounded(bins.accuracy),
        bin_share=_rounded(bins.share),
        coverage=_rounded(risks.coverage[points]),
        risk=_rounded(risks.risk[points]),
        accuracy_after={
            share: round(float((step.argmax(axis=1) == labels).mean()), 4)
            for share, step in zip(READ_SHARES, steps, strict=True)
        },
    )


def _rounded(values: Array) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def seed_answers(bundle: OpenBundle) -> list[SeedAnswer]:
    """The sentences that every version of a model must get right."""
    sentences = SEED_SENTENCES[bundle.manifest.language]
    labels = bundle.manifest.labels
    probabilities = predict(bundle, [text for text, _ in sentences])
    return [
        SeedAnswer(
            text=text,
            expected=labels[expected],
            label=labels[int(row.argmax())],
            probability=round(float(row.max()), 4),
        )
        for (text, expected), row in zip(sentences, probabilities, strict=True)
    ]
