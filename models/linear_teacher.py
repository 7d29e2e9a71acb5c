"""A linear model over n-grams as a teacher: it never forgets a word of a long text, and errs elsewhere than a recurrent one.

Source: logistic regression on features scaled by Naive Bayes log-count ratios, Wang & Manning 2012 ("Baselines and
Bigrams"); that such a model and a recurrent one make a better mean than either, Mesnil et al. 2014 (arXiv:1412.5335).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from models.corpora import Language, fingerprint

Margins = NDArray[np.float64]
Labels = NDArray[np.int64]
Counts = Any  # SciPy's sparse matrix (N, features), as scikit-learn makes it

# Words and marks, up to three; characters, up to four.
UNITS = {
    "en": {"ngram_range": (1, 3), "token_pattern": r"\w+|[^\w\s]"},
    "zh": {"ngram_range": (1, 4), "analyzer": "char"},
}
MIN_DOCUMENTS = 2  # an n-gram of one text alone is no feature
INVERSE_PENALTY = 0.3
TOLERANCE = 0.01  # of the optimiser; margins are the same to two digits
FOLDS = 4


class LinearTeacher:
    """Fitted on one corpus, judges texts like its own.

    Args:
        language: words in English, characters in Chinese.
        texts: of both classes.
        labels: (N,) 0 negative, 1 positive.
        weights: (N,) how much each text counts.
    """

    def __init__(self, language: Language, texts: Sequence[str], labels: Labels, weights: Margins) -> None:
        self._vectorizer = CountVectorizer(binary=True, min_df=MIN_DOCUMENTS, dtype=np.float64, **UNITS[language])
        counts: Counts = self._vectorizer.fit_transform(texts)
        weighted = counts.multiply(weights[:, None]).tocsr()
        seen = [1 + np.asarray(weighted[labels == label].sum(axis=0)).ravel() for label in (0, 1)]
        self._ratios = np.log(seen[1] / seen[1].sum()) - np.log(seen[0] / seen[0].sum())
        self._model = LogisticRegression(C=INVERSE_PENALTY, solver="liblinear", tol=TOLERANCE, random_state=0)
        self._model.fit(self._scaled(counts), labels, weights)

    def margins(self, texts: Sequence[str]) -> Margins:
        """(N,) log-odds of positive."""
        margins: Margins = self._model.decision_function(self._scaled(self._vectorizer.transform(texts)))
        return margins

    def _scaled(self, counts: Counts) -> Counts:
        return counts.multiply(self._ratios).tocsr()


def held_out_margins(
    language: Language, texts: Sequence[str], labels: Labels, weights: Margins, folds: int = FOLDS
) -> Margins:
    """(N,) log-odds of positive, of each text by a teacher that has seen neither it nor a copy of it."""
    fold = np.array([int(fingerprint(text), 16) % folds for text in texts])
    margins = np.zeros(len(texts))
    for held in range(folds):
        out = fold == held
        teacher = LinearTeacher(language, _where(texts, ~out), labels[~out], weights[~out])
        margins[out] = teacher.margins(_where(texts, out)) if out.any() else 0.0
    return margins


def _where(texts: Sequence[str], chosen: NDArray[np.bool_]) -> list[str]:
    return [texts[i] for i in np.flatnonzero(chosen).tolist()]
