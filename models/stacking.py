"""Several teachers as one: for each source of texts, a logistic regression of dev labels on what the teachers say.

Source: stacked generalization, Wolpert 1992. What it says is calibrated, too, where teachers are too sure or not sure enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.calibration import FEWEST

Floats = NDArray[np.float64]


def stack(
    evidence: Floats, sources: NDArray[np.str_], labels: NDArray[np.int64], weights: Floats
) -> tuple[Floats, dict[str, list[float]]]:
    """Fit on the texts with labels, judge all.

    A source with fewer than ``FEWEST`` labelled texts has the regression of all the others that the same teachers judge,
    each of them counting alike; if there is none, the first teacher's word.

    Args:
        evidence: (N, K) log-odds of positive that each of K teachers gives; NaN from one that does not judge a text's source.
        sources: (N,) where each text is from.
        labels: (N,) 0 negative, 1 positive, -1 unknown.
        weights: (N,) how much a labelled text counts.

    Returns:
        (N,) probabilities of positive; and the teachers' coefficients by source.
    """
    known, heard = labels >= 0, ~np.isnan(evidence)
    evidence = np.nan_to_num(evidence)
    positive = 1 / (1 + np.exp(-evidence[:, 0]))
    names = sorted(set(sources.tolist()))
    rows = {name: sources == name for name in names}
    judges = {name: tuple(heard[rows[name]].any(axis=0).tolist()) for name in names}
    labelled = {name: int((rows[name] & known).sum()) for name in names}
    coefficients: dict[str, list[float]] = {}
    for name in names:
        others = [other for other in names if labelled[other] >= FEWEST and judges[other] == judges[name]]
        like = [name] if labelled[name] >= FEWEST else others
        fit = known & np.isin(sources, like)
        if len(set(labels[fit].tolist())) < 2:
            continue
        each = np.array([1 / labelled[source] for source in sources[fit].tolist()])
        model = LogisticRegression().fit(evidence[fit], labels[fit], weights[fit] * each * fit.sum() / len(like))
        positive[rows[name]] = model.predict_proba(evidence[rows[name]])[:, 1]
        coefficients[name] = [round(c, 2) for c in model.coef_[0].tolist()]
    return positive, coefficients
