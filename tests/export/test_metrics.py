"""Tests of ``export/metrics.py`` on predictions small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from export.metrics import (
    classification,
    ece_of_the_calibrated,
    expected_calibration_error,
    reliability,
    risk_coverage,
    softmax,
)

PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
LABELS = np.array([0, 1, 1, 1])


def test_measures_of_four_texts() -> None:
    """Three of four are right; the wrong one is a positive text taken for a negative one."""
    measures = classification(PROBABILITIES, LABELS)

    assert measures.rows == 4
    assert measures.accuracy == 0.75
    assert measures.macro_recall == pytest.approx((1 + 2 / 3) / 2)
    assert measures.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert measures.nll == pytest.approx(-(math.log(0.9) + math.log(0.4) + math.log(0.7) + math.log(0.8)) / 4)


def test_calibration_error_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    """Each text is alone in its bin: gaps of 0.1, 0.6, 0.3 and 0.2."""
    assert classification(PROBABILITIES, LABELS).ece == pytest.approx((0.1 + 0.6 + 0.3 + 0.2) / 4)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    """Of ten texts at 80 %, eight are right."""
    probabilities = np.tile([0.2, 0.8], (10, 1))
    labels = np.array([1] * 8 + [0] * 2)

    assert classification(probabilities, labels).ece == pytest.approx(0, abs=1e-12)


def test_full_confidence_falls_into_the_last_bin() -> None:
    """A probability of exactly 1 is no bin of its own."""
    bins = reliability(np.array([[0.0, 1.0]]), np.array([1]))

    assert bins.share[-1] == 1
    assert bins.share.sum() == 1


def test_a_class_without_texts_counts_as_not_found() -> None:
    """Nothing divides by zero."""
    measures = classification(np.array([[0.9, 0.1]]), np.array([0]))

    assert (measures.accuracy, measures.macro_recall, measures.macro_f1) == (1, 0.5, 0.5)


def test_certainty_in_the_wrong_class_is_not_infinite() -> None:
    """The logarithm is bounded, so that one text can't make a whole set's measure useless."""
    assert math.isfinite(classification(np.array([[1.0, 0.0]]), np.array([1])).nll)


def test_predictions_without_labels_are_refused() -> None:
    """An empty set has no accuracy."""
    with pytest.raises(ValueError, match="0 labels"):
        classification(PROBABILITIES, np.array([], np.int64))


def test_risk_grows_with_coverage_when_the_surest_are_right() -> None:
    """The surest text is answered first; the wrong one is the least sure."""
    curve = risk_coverage(PROBABILITIES, LABELS)

    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.risk.tolist() == [0, 0, 0, 0.25]


def test_temperature_flattens_and_never_overflows() -> None:
    """Large negative logits are as good as others; dividing them makes the answer less sure."""
    sharp = softmax(np.array([[-1000.0, -1001.0]]))
    flat = softmax(np.array([[-1000.0, -1001.0]]), temperature=2)

    assert sharp[0].tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))])
    assert 0.5 < flat[0, 0] < sharp[0, 0]


def test_few_rows_show_a_calibration_error_by_chance() -> None:
    """It shrinks with the rows, and a model that is calibrated by its making shows no more than that."""
    rng = np.random.default_rng(2)
    positive = rng.random(20_000)
    probabilities = np.stack([1 - positive, positive], axis=1)
    labels = (rng.random(20_000) < positive).astype(np.int64)

    few, many = ece_of_the_calibrated(probabilities[:200]), ece_of_the_calibrated(probabilities)

    assert few > 0.04 > 0.01 > many
    assert expected_calibration_error(reliability(probabilities, labels)) == pytest.approx(many, abs=0.005)
