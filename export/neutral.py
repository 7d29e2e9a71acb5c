"""Texts without a verdict: how firmly a classifier of two classes takes a side where it should take none."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from export.metrics import Array
from models.corpora import SENTIMENT, Language, Part, documents, everyday_neutral, neutral_texts

FIRM = 0.8  # of the likelier class
SAMPLE, SAMPLE_SEED = 5_000, 1


@dataclass(frozen=True)
class NeutralSet:
    """Texts between the classes: rows of a labelled corpus that raters put there, sentences of running text, or texts of our own.

    Args:
        key: begins the name of its measure in the manifest.
        title: for readers.
        corpus: name in ``models.corpora.SENTIMENT`` or ``OPEN_TEXT``; empty for texts of our own.
        note: what a reader of the number must know.
        part: of a labelled corpus. Of running text the valid part is read.
        texts: our own.
    """

    key: str
    title: str
    corpus: str
    note: str
    part: Part = "test"
    texts: tuple[str, ...] = ()


def _everyday(language: Language, part: Part) -> NeutralSet:
    title = "everyday neutral texts" if part == "test" else "everyday neutral dev"
    note = "written for this by an author who had seen nothing of the project"
    return NeutralSet(f"everyday_neutral_{part}", title, "", note, part, tuple(everyday_neutral(language, part)))


RATED, STATED = "rated neutral", "unlabelled sentences, few of which judge anything"
THREE_STARS = "three stars of five: mixed rather than neutral"
NEUTRAL_SETS: dict[Language, tuple[NeutralSet, ...]] = {
    "en": (
        NeutralSet("semeval_neutral_test", "SemEval-2017, neutral", "semeval", RATED),
        NeutralSet("airline_neutral_test", "Airline tweets, neutral", "airline", RATED),
        NeutralSet(
            "commonvoice_en_valid", "Common Voice sentences", "commonvoice_en", f"{STATED}; others of them train"
        ),
        _everyday("en", "test"),
    ),
    "zh": (
        NeutralSet("douban_neutral_test", "Douban, three stars", "douban", THREE_STARS),
        NeutralSet("commonvoice_zh_valid", "Common Voice sentences", "commonvoice_zh", STATED),
        _everyday("zh", "test"),
    ),
}
NEUTRAL_DEV_SETS: dict[Language, tuple[NeutralSet, ...]] = {
    "en": (
        NeutralSet("airline_neutral_dev", "Airline tweets dev, neutral", "airline", RATED, "dev"),
        NeutralSet("tatoeba_en_valid", "Tatoeba sentences", "tatoeba_en", STATED),
        _everyday("en", "dev"),
    ),
    "zh": (
        NeutralSet("douban_neutral_dev", "Douban dev, three stars", "douban", THREE_STARS, "dev"),
        NeutralSet("tatoeba_zh_valid", "Tatoeba sentences", "tatoeba_zh", STATED),
        _everyday("zh", "dev"),
    ),
}


class NeutralResult(BaseModel, frozen=True):
    """How sides were taken.

    Args:
        confidence: mean probability of the likelier class; 0.5 takes no side.
        firm: share of texts whose likelier class has ``FIRM`` or more.
        positive: share of texts judged positive.
    """

    key: str
    title: str
    note: str
    rows: int
    confidence: float
    firm: float
    positive: float


def neutral_sets(language: Language, *, dev: bool) -> tuple[NeutralSet, ...]:
    """The sets of a language; with ``dev`` only what may choose a model."""
    return (NEUTRAL_DEV_SETS if dev else NEUTRAL_SETS)[language]


def read_neutral(data: Path, neutral_set: NeutralSet, limit: int | None = None) -> list[str]:
    """Texts of a set, at most ``SAMPLE`` or ``limit``, drawn with the same seed for every model.

    Raises:
        CorpusError: the corpus is missing or damaged.
    """
    if neutral_set.texts:
        texts = list(neutral_set.texts)
    elif neutral_set.corpus in SENTIMENT:
        texts = list(neutral_texts(data, neutral_set.corpus, neutral_set.part))
    else:
        texts = [line for document in documents(data, neutral_set.corpus, "valid") for line in document]
    most = min(SAMPLE, limit or SAMPLE)
    return random.Random(SAMPLE_SEED).sample(texts, most) if most < len(texts) else texts


def neutral_result(neutral_set: NeutralSet, probabilities: Array) -> NeutralResult:
    """Measures of (N, 2) predictions, under the set's name."""
    surest = probabilities.max(axis=1)
    return NeutralResult(
        key=neutral_set.key,
        title=neutral_set.title,
        note=neutral_set.note,
        rows=len(probabilities),
        confidence=round(float(surest.mean()), 4),
        firm=round(float((surest >= FIRM).mean()), 4),
        positive=round(float((probabilities[:, 1] > 0.5).mean()), 4),
    )
