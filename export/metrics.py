"""Measures of a classifier's probabilities. Arrays in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

FLOOR_DRAWS = 40
BINS = 15  # of confidence, equally wide: the field's usual choice for ECE


@dataclass(frozen=True)
class Classification:
    """How good the predictions for a set of texts are.

    Args:
        rows: texts measured.
        accuracy: share of texts whose likeliest class is the right one.
        macro_f1: mean over classes of the harmonic mean of precision and recall.
        macro_recall: mean over classes of the share of their texts that was found.
        ece: expected calibration error, see :func:`expected_calibration_error`.
        nll: mean negative log-likelihood of the right class, nats.
    """

    rows: int
    accuracy: float
    macro_f1: float
    macro_recall: float
    ece: float
    nll: float


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, bin by bin; a bin without texts has 0 in all three."""

    confidence: Array  # (bins,) mean probability of the predicted class
    accuracy: Array  # (bins,)
    share: Array  # (bins,) of all texts


@dataclass(frozen=True)
class RiskCoverage:
    """What is gained by answering only the surest texts."""

    coverage: Array  # (N,) share of texts answered: 1/N, 2/N, ..., 1
    risk: Array  # (N,) share of wrong answers among those


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Array:
    """(..., C) logits -> probabilities of ``logits / temperature``, safe at any size of logit."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    weights = np.exp(scaled)
    total: Array = weights / weights.sum(axis=-1, keepdims=True)
    return total


def classification(probabilities: Array, labels: Labels) -> Classification:
    """All measures of (N, C) probabilities against (N,) labels.

    Raises:
        ValueError: there are no rows, or not one label per row.
    """
    if not len(labels) or len(labels) != len(probabilities):
        raise ValueError(f"{len(probabilities)} predictions for {len(labels)} labels")
    predicted = probabilities.argmax(axis=1)
    recalls, f1s = [], []
    for label in range(probabilities.shape[1]):
        hits = float(((predicted == label) & (labels == label)).sum())
        of_class, as_class = float((labels == label).sum()), float((predicted == label).sum())
        recalls.append(hits / of_class if of_class else 0.0)
        f1s.append(2 * hits / (of_class + as_class) if of_class + as_class else 0.0)
    right = probabilities[np.arange(len(labels)), labels]
    return Classification(
        rows=len(labels),
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(np.mean(f1s)),
        macro_recall=float(np.mean(recalls)),
        ece=expected_calibration_error(reliability(probabilities, labels)),
        nll=float(-np.log(np.maximum(right, 1e-12)).mean()),
    )


def reliability(probabilities: Array, labels: Labels, bins: int = BINS) -> Reliability:
    """Group texts by their confidence, the probability of the predicted class."""
    confidence = probabilities.max(axis=1)
    hit = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)  # bins are open below, as (0, 1/15]
    count = np.bincount(bin_of, minlength=bins)
    some = np.maximum(count, 1)
    return Reliability(
        confidence=np.bincount(bin_of, confidence, bins) / some,
        accuracy=np.bincount(bin_of, hit, bins) / some,
        share=count / max(1, len(labels)),
    )


def expected_calibration_error(bins: Reliability) -> float:
    """Mean distance between confidence and accuracy, bins weighted by their texts.

    Source: Naeini et al. 2015; Guo et al. 2017 (arXiv:1706.04599).
    """
    return float((bins.share * np.abs(bins.confidence - bins.accuracy)).sum())


def ece_of_the_calibrated(probabilities: Array, seed: int = 1) -> float:
    """ECE that a perfectly calibrated model of (N, 2) these probabilities has on average on N rows, by chance alone.

    Few rows leave bins of few texts, whose accuracy strays from their confidence whatever the model.
    """
    rng = np.random.default_rng(seed)
    drawn = [(rng.random(len(probabilities)) < probabilities[:, 1]).astype(np.int64) for _ in range(FLOOR_DRAWS)]
    return float(np.mean([expected_calibration_error(reliability(probabilities, labels)) for labels in drawn]))


def risk_coverage(probabilities: Array, labels: Labels) -> RiskCoverage:
    """Errors among the surest texts, for every number of texts answered.

    Source: selective classification, El-Yaniv & Wiener 2010.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    answered = np.arange(1, len(labels) + 1)
    return RiskCoverage(coverage=answered / len(labels), risk=np.cumsum(wrong) / answered)
