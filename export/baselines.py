"""What a user would pick instead of a sentiment bundle: counting, linear models and lexicons, behind one interface."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a contender's memory is measured: nothing is imported before it is needed
    from export.scoring import OpenBundle
    from models.corpora import Example
    from service.bundle import Language

Labels = NDArray[np.int64]

# Words with their apostrophes, and marks; scikit-learn's own pattern drops both, and "I" and "a" with them.
ENGLISH_WORD = r"\w+(?:'\w+)?|[^\w\s]"
MIN_DOCUMENTS = 2  # an n-gram of one text alone is no feature


class MissingPackageError(Exception):
    """A contender needs a package of the extra ``compare``."""


class Contender(Protocol):
    """Something that labels texts. It can be pickled, so that its memory can be measured in a process of its own."""

    name: str

    def predict(self, texts: Sequence[str]) -> Labels:
        """(N,) labels: 0 negative, 1 positive."""
        ...


@dataclass
class BundleContender:
    """The bundle itself, through the engine that serves it."""

    folder: Path
    name: str

    @cached_property
    def _bundle(self) -> OpenBundle:
        from export.scoring import OpenBundle

        return OpenBundle.open(self.folder)

    def predict(self, texts: Sequence[str]) -> Labels:
        """As every contender."""
        from export.scoring import final_logits

        labels: Labels = final_logits(self._bundle.engine, self._bundle.encode(texts)).argmax(axis=1)
        return labels

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "name": self.name}  # the engine is opened anew where it is needed


@dataclass
class Majority:
    """Always answers the label that training saw most."""

    label: int
    name: str = "majority"

    @classmethod
    def fit(cls, examples: Sequence[Example]) -> Majority:
        """Count the labels."""
        return cls(Counter(e.label for e in examples).most_common(1)[0][0])

    def predict(self, texts: Sequence[str]) -> Labels:
        """As every contender."""
        return np.full(len(texts), self.label, np.int64)


@dataclass
class Linear:
    """A linear model over n-grams, untuned."""

    name: str
    pipeline: Any

    @classmethod
    def naive_bayes(cls, examples: Sequence[Example], language: Language) -> Linear:
        """Multinomial Naive Bayes over 1-2-grams: of words in English, of characters in Chinese."""
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.naive_bayes import MultinomialNB

        features = CountVectorizer(**_units(language), ngram_range=(1, 2), min_df=MIN_DOCUMENTS)
        return cls("Naive Bayes 1-2-grams", _fit(features, MultinomialNB(), examples))

    @classmethod
    def logistic_regression(cls, examples: Sequence[Example], language: Language) -> Linear:
        """TF-IDF and logistic regression over 1-2-grams of words, or 1-3-grams of Chinese characters."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        longest = 2 if language == "en" else 3
        features = TfidfVectorizer(
            **_units(language), ngram_range=(1, longest), min_df=MIN_DOCUMENTS, sublinear_tf=True, dtype=np.float32
        )
        model = LogisticRegression(solver="liblinear", random_state=0)
        return cls(f"TF-IDF 1-{longest}-grams + logistic regression", _fit(features, model, examples))

    def predict(self, texts: Sequence[str]) -> Labels:
        """As every contender."""
        return np.asarray(self.pipeline.predict(list(texts)), np.int64)


def _units(language: Language) -> dict[str, Any]:
    return {"token_pattern": ENGLISH_WORD} if language == "en" else {"analyzer": "char"}


def _fit(features: Any, model: Any, examples: Sequence[Example]) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(features, model).fit([e.text for e in examples], [e.label for e in examples])


@dataclass
class Lexicon:
    """A published package that needs no training; its score is cut in the middle of its range, where it says neutral.

    Args:
        name: of the package.
        make: returns the package's scoring function; called where it is needed, so that the contender can be pickled.
        middle: scores above it are positive.
    """

    name: str
    make: Callable[[], Callable[[str], float]]
    middle: float = 0.0
    _score: Callable[[str], float] | None = field(default=None, repr=False)

    def predict(self, texts: Sequence[str]) -> Labels:
        """As every contender."""
        if self._score is None:
            self._score = self.make()
        return np.array([int(self._score(text) > self.middle) for text in texts], np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "make": self.make, "middle": self.middle, "_score": None}


def _vader() -> Callable[[str], float]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return lambda text: float(analyzer.polarity_scores(text)["compound"])


def _textblob() -> Callable[[str], float]:
    from textblob import TextBlob

    return lambda text: float(TextBlob(text).sentiment.polarity)


def _snownlp() -> Callable[[str], float]:
    from snownlp import SnowNLP

    return lambda text: float(SnowNLP(text).sentiments)


LEXICONS: dict[str, tuple[Lexicon, ...]] = {
    "en": (Lexicon("VADER", _vader), Lexicon("TextBlob", _textblob)),
    "zh": (Lexicon("SnowNLP", _snownlp, middle=0.5),),
}


def contenders(bundle: OpenBundle, examples: Sequence[Example]) -> list[Contender]:
    """The bundle, and everything a user might take instead, trained on the same rows where it is trained.

    Raises:
        MissingPackageError: a package of the extra ``compare`` is not installed.
    """
    language = bundle.manifest.language
    found: list[Contender] = [BundleContender(bundle.folder, bundle.manifest.id)]
    try:
        for lexicon in LEXICONS[language]:
            lexicon.predict(["好" if language == "zh" else "good"])
        found += [
            Majority.fit(examples),
            Linear.naive_bayes(examples, language),
            Linear.logistic_regression(examples, language),
            *LEXICONS[language],
        ]
    except ImportError as error:
        raise MissingPackageError(f"{error.name} is missing: pip install 'rnnserve[compare]'") from error
    return found
