"""Tests of models/stacking.py: what several teachers say becomes one calibrated probability."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.stacking import stack

Floats = NDArray[np.float64]
N = 400


def rows(seed: int, sharpness: float, noise: float) -> tuple[Floats, NDArray[np.int64]]:
    """Log-odds (N, 2) of two teachers that err apart from each other, and labels drawn from the truth they guess at."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 3, N)
    labels = (rng.random(N) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    return sharpness * (truth[:, None] + rng.normal(0, noise, (N, 2))), labels


def accuracy(positive: Floats, labels: NDArray[np.int64]) -> float:
    return float(((positive > 0.5) == labels).mean())


def test_two_teachers_that_err_apart_know_more_than_one() -> None:
    """Fitted on one half, measured on the other."""
    evidence, labels = rows(0, 1.0, 3.0)
    known = np.where(np.arange(N) < N // 2, labels, -1)

    both, _ = stack(evidence, np.array(["a"] * N), known, np.ones(N))
    one, _ = stack(evidence[:, :1], np.array(["a"] * N), known, np.ones(N))

    unseen = slice(N // 2, None)
    assert accuracy(both[unseen], labels[unseen]) > accuracy(one[unseen], labels[unseen])


@pytest.mark.parametrize("sharpness", [0.2, 5.0])
def test_what_is_too_sure_or_not_sure_enough_is_calibrated(sharpness: float) -> None:
    """Each source by itself: the same teachers may be too sure of one and not sure enough of another."""
    plain, labels = rows(1, 1.0, 0.1)
    skewed, more = rows(2, sharpness, 0.1)
    sources = np.array(["plain"] * N + ["skewed"] * N)

    positive, _ = stack(np.concatenate([plain, skewed]), sources, np.concatenate([labels, more]), np.ones(2 * N))

    for said, truth in ((positive[:N], labels), (positive[N:], more)):
        sure = np.where(said > 0.5, said, 1 - said)
        assert sure.mean() == pytest.approx(accuracy(said, truth), abs=0.03)


def test_a_source_without_labels_learns_from_those_with_the_same_teachers() -> None:
    """Not from those that other teachers judge, whose one coefficient would have to do for two."""
    evidence, labels = rows(3, 4.0, 0.1)
    alone = evidence.copy()
    alone[:, 1] = np.nan
    sources = np.array(["both"] * N + ["alone"] * N + ["both too"] * N + ["alone too"] * N)
    none = np.full(2 * N, -1)

    positive, coefficients = stack(
        np.concatenate([evidence, alone, evidence, alone]),
        sources,
        np.concatenate([labels, labels, none]),
        np.ones(4 * N),
    )

    assert np.allclose(positive[: 2 * N], positive[2 * N :])
    assert coefficients["alone"][1] == 0 != coefficients["both"][1]
    assert coefficients["both"] == coefficients["both too"]


def test_without_any_labels_the_first_teacher_has_the_word() -> None:
    """As it stands."""
    evidence, _ = rows(4, 1.0, 0.1)

    positive, coefficients = stack(evidence, np.array(["a"] * N), np.full(N, -1), np.ones(N))

    assert np.allclose(positive, 1 / (1 + np.exp(-evidence[:, 0])))
    assert coefficients == {}
