"""Behavioural tests of a sentiment bundle: short texts whose right answer, order or sameness is known by their making.

Source: the kinds of test are those of CheckList, Ribeiro et al. 2020 (arXiv:2005.04118).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel

from export.behaviour_texts import TEMPLATES, Domain, Templates
from export.behaviour_unseen import UNSEEN
from export.evaluate_sentiment import predict
from export.metrics import Array
from export.scoring import OpenBundle
from service.bundle import Language

NEGATIVE, POSITIVE = 0, 1
CASES_PER_TEMPLATE = 12
ORDER_TOLERANCE = 0.005  # of a probability: texts that are both certain need not be told apart
GROUP_TOLERANCE = 0.2  # of a probability: so far apart may be what differs in a group of people alone
FAILURES_KEPT = 8  # of each category, as examples
SEED = 1

Rng = random.Random
_MARKS = re.compile(r"[.,:，。]")


@dataclass(frozen=True)
class Labels:
    """Each text has its label."""

    expected: tuple[int, ...]

    def holds(self, positive: Sequence[float]) -> bool:
        """Whether the probabilities of the positive class are on the right sides."""
        return all((p > 0.5) == bool(label) for p, label in zip(positive, self.expected, strict=True))


@dataclass(frozen=True)
class Rising:
    """Each text is at least as positive as the one before it."""

    def holds(self, positive: Sequence[float]) -> bool:
        """Whether the probabilities of the positive class rise."""
        return all(later > earlier - ORDER_TOLERANCE for earlier, later in pairwise(positive))


@dataclass(frozen=True)
class Same:
    """All texts have one label, whichever it is."""

    def holds(self, positive: Sequence[float]) -> bool:
        """Whether the probabilities of the positive class are on one side."""
        return len({p > 0.5 for p in positive}) == 1


@dataclass(frozen=True)
class Close:
    """All texts get about the same answer."""

    def holds(self, positive: Sequence[float]) -> bool:
        """Whether the probabilities of the positive class are within the tolerance."""
        return max(positive) - min(positive) <= GROUP_TOLERANCE


Rule = Labels | Rising | Same | Close


@dataclass(frozen=True)
class Case:
    """Texts with what must hold for the answers to them."""

    category: str
    texts: tuple[str, ...]
    rule: Rule


class Failure(BaseModel, frozen=True):
    """A case that the model fails, with its probabilities of the positive class."""

    texts: list[str]
    expected: str
    positive: list[float]


class CategoryResult(BaseModel, frozen=True):
    """How many cases of a category hold."""

    category: str
    cases: int
    passed: int
    failures: list[Failure]

    @property
    def pass_rate(self) -> float:
        """0..1."""
        return self.passed / self.cases


class BehaviourReport(BaseModel, frozen=True):
    """Pass rates with examples of failures."""

    categories: list[CategoryResult]

    def quality(self) -> dict[str, float]:
        """Flat metric names for the manifest."""
        return {f"behaviour_{c.category.replace(' ', '_')}": round(c.pass_rate, 4) for c in self.categories}


def cases(language: Language, seed: int = SEED) -> list[Case]:
    """The suite of a language; the same cases for the same seed."""
    found: list[Case] = []
    for set_name, templates in (("", TEMPLATES[language]), ("unseen ", UNSEEN[language])):
        for kind, make in _CATEGORIES.items():
            category = set_name + kind
            rng = Rng(f"{seed} {category}")
            found += dict.fromkeys(Case(category, *parts) for parts in make(templates, rng))  # each once
    return found


def measure_behaviour(bundle: OpenBundle) -> BehaviourReport:
    """Run the suite of the bundle's language."""
    suite = cases(bundle.manifest.language)
    texts = list(dict.fromkeys(text for case in suite for text in case.texts))
    return judge(suite, dict(zip(texts, predict(bundle, texts), strict=True)))


def judge(suite: Sequence[Case], probabilities: dict[str, Array]) -> BehaviourReport:
    """Pass rates, given the probabilities (2,) of each text."""
    results = []
    for category in dict.fromkeys(case.category for case in suite):
        members = [case for case in suite if case.category == category]
        failures = []
        for case in members:
            positive = [float(probabilities[text][POSITIVE]) for text in case.texts]
            if not case.rule.holds(positive):
                failures.append(
                    Failure(
                        texts=list(case.texts), expected=_expected(case.rule), positive=[round(p, 3) for p in positive]
                    )
                )
        passed = len(members) - len(failures)
        kept = Rng(SEED).sample(failures, min(FAILURES_KEPT, len(failures)))
        results.append(CategoryResult(category=category, cases=len(members), passed=passed, failures=kept))
    return BehaviourReport(categories=results)


def _expected(rule: Rule) -> str:
    match rule:
        case Labels(expected):
            return ", ".join("positive" if label else "negative" for label in expected)
        case Rising():
            return "the second at least as positive as the first"
        case Same():
            return "one label for all"
        case Close():
            return f"answers within {GROUP_TOLERANCE} of each other"


# -- making cases ------------------------------------------------------------------------------------------------------

Parts = tuple[tuple[str, ...], Rule]
Maker = Callable[[Templates, Rng], Iterator[Parts]]


def _draw(templates: Templates, rng: Rng, polarity: int) -> dict[str, str]:
    """Slots: a thing, a word of the polarity that is said of it, and one of the other."""
    domain: Domain = rng.choice(templates.domains)
    words, others = (domain.good, domain.bad) if polarity else (domain.bad, domain.good)
    return {"thing": rng.choice(domain.things), "word": rng.choice(words), "opposite": rng.choice(others)}


def _article(text: str) -> str:
    """English: ``a attentive`` -> ``an attentive``."""
    words = text.split(" ")
    for i, word in enumerate(words[:-1]):
        if word in ("a", "A") and words[i + 1][:1].lower() in set("aeiou") and not words[i + 1].startswith("us"):
            words[i] = word + "n"
    return " ".join(words)


def _fill(template: str, slots: dict[str, str], **more: str) -> str:
    return _article(template.format(**slots, **more))


def _pairs(of: Callable[[Templates], tuple[tuple[str, str], ...]], polarities: Sequence[int]) -> Maker:
    """Plain and negated sentence; both must be right, or a model that calls everything negative would pass."""

    def make(templates: Templates, rng: Rng) -> Iterator[Parts]:
        for plain, negated in of(templates):
            for i in range(CASES_PER_TEMPLATE):
                polarity = polarities[i % len(polarities)]
                slots = _draw(templates, rng, polarity)
                yield (_fill(plain, slots), _fill(negated, slots)), Labels((polarity, 1 - polarity))

    return make


def _sentences(of: Callable[[Templates], tuple[str, ...]], *, turned: bool) -> Maker:
    """Single sentences with the word's polarity, or the other."""

    def make(templates: Templates, rng: Rng) -> Iterator[Parts]:
        for template in of(templates):
            for i in range(CASES_PER_TEMPLATE):
                slots = _draw(templates, rng, i % 2)
                yield (_fill(template, slots),), Labels(((i % 2) ^ turned,))

    return make


def _intensity(templates: Templates, rng: Rng) -> Iterator[Parts]:
    for weaker, stronger in templates.intensity:
        for i in range(CASES_PER_TEMPLATE):
            slots = _draw(templates, rng, i % 2)
            pair = (_fill(weaker, slots), _fill(stronger, slots))
            yield (pair if i % 2 else pair[::-1]), Rising()


def _additions(templates: Templates, rng: Rng) -> Iterator[Parts]:
    blank = " " if templates.typos == () else ""
    for template in templates.invariant:
        for i in range(CASES_PER_TEMPLATE):
            text = _fill(template, _draw(templates, rng, i % 2))
            addition = rng.choice(templates.additions)
            yield (text, blank.join((addition, text)), blank.join((text, addition))), Same()


def _names(templates: Templates, rng: Rng) -> Iterator[Parts]:
    for template in templates.named:
        for i in range(CASES_PER_TEMPLATE):
            slots = _draw(templates, rng, i % 2)
            yield tuple(_fill(template, slots, name=name) for name in rng.sample(templates.names, 4)), Same()


def _typos(templates: Templates, rng: Rng) -> Iterator[Parts]:
    for template in templates.invariant:
        for i in range(CASES_PER_TEMPLATE):
            text = _fill(template, _draw(templates, rng, i % 2))
            wrong = mistyped(text, rng, templates.typos)
            yield (text, wrong), Same()


def mistyped(text: str, rng: Rng, confused: Sequence[tuple[str, str]] = ()) -> str:
    """One typing error: a character of ``confused`` for its fellow, or else two letters of a word change places."""
    places = [(i, right, wrong) for right, wrong in confused for i in range(len(text)) if text[i] == right]
    if places:
        i, right, wrong = rng.choice(places)
        return text[:i] + wrong + text[i + len(right) :]
    inner = [i for i in range(1, len(text) - 2) if text[i - 1 : i + 3].isalpha() and text[i] != text[i + 1]]
    i = rng.choice(inner)
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def _examples(templates: Templates, _: Rng) -> Iterator[Parts]:
    for text, label in templates.examples:
        yield (text,), Labels((label,))


def _groups(templates: Templates, _: Rng) -> Iterator[Parts]:
    for template, groups in templates.grouped:
        yield tuple(_article(template.replace("{group}", group)) for group in groups), Close()


def _implied(templates: Templates, _: Rng) -> Iterator[Parts]:
    for pair in templates.implied:
        yield pair, Labels((POSITIVE, NEGATIVE))


def _unmarked(templates: Templates, rng: Rng) -> Iterator[Parts]:
    """With its marks, without the last, and without any."""
    for template in templates.invariant:
        for i in range(CASES_PER_TEMPLATE):
            text = _fill(template, _draw(templates, rng, i % 2))
            yield (text, text.rstrip(".。"), " ".join(_MARKS.sub(" ", text).split())), Same()


_CATEGORIES: dict[str, Maker] = {
    "negation": _pairs(lambda t: t.negation, (POSITIVE,)),
    "negated negative": _pairs(lambda t: t.negation, (NEGATIVE,)),
    "indirect negation": _pairs(lambda t: t.indirect_negation, (POSITIVE, NEGATIVE)),
    "expectation turned": _sentences(lambda t: t.expectation_turned, turned=True),
    "contrast": _sentences(lambda t: t.contrast, turned=False),
    "intensity": _intensity,
    "neutral additions": _additions,
    "names": _names,
    "groups": _groups,
    "typos": _typos,
    "marks left out": _unmarked,
    "examples": _examples,
    "implied": _implied,
}
