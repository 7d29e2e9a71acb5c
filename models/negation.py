"""Templated negation: short texts in which a word or a turn of phrase decides the verdict, mixed into a classifier's training texts.

Words and frames are in ``negation_texts.py`` and ``opinions/``, where whole texts as people type them are, too. The behavioural suite in ``export/behaviour.py`` tests with other frames and other words.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from models.corpora import Example
from models.negation_texts import EVERYDAY, TEXTS, Domain, Frames, Texts
from models.tokenizer import Language

NEGATION = "negation templates"  # the source of these texts
# How often each kind of frame is drawn.
WEIGHTS = {
    "clause": 5, "personal": 3, "fragment": 3, "indirect": 6, "expectation": 8, "contrast": 6, "manner": 12, "implied": 10,
    "everyday": 12,
}  # fmt: skip
# Share of the frames that turn polarity. Fewer than half: in those that keep it, what was said or feared often has words of the other polarity.
TURNED = 0.36
# What comes after these is an adjective most of the time; adverbs and negations are none.
_DEGREE = {
    "en": re.compile(
        r"\b(?:very|really|so|too|extremely|incredibly|absolutely|quite|pretty) "
        r"(?!not|nothing|never|cannot|no\b|isn|wasn|don|doesn|didn|how|why|over|let|ever|which|from)([a-z]{3,14})(?<!.ly)\b"
    ),
    "zh": re.compile(r"(?:很|非常|太|特别|十分|相当|极其|超级)([\u4e00-\u9fff]{1,4})"),
}
FEWEST = 10  # texts that a word must come in
CLEAR_ODDS = 1.2  # of log-odds: 3.3 times as often in texts of its class
# With a judge, too: fewer texts and smaller odds are enough if it agrees, or if it is sure.
FEWEST_JUDGED, JUDGED_ODDS, AGREED, SURE = 5, 0.9, 0.6, 0.82
# Whom a text is about is no verdict on anything, whatever texts some corpus has about them.
_PEOPLE = frozenset(
    (
        "adult", "african", "american", "asian", "black", "blonde", "british", "catholic", "chinese", "christian", "female", "french", "gay",
        "german", "indian", "japanese", "jewish", "lesbian", "male", "muslim", "old", "russian", "white", "young", "东方", "女性", "年轻", "男性", "黑人",
    )
)  # fmt: skip
_JUDGED = {
    "en": ("it is very {}", "so {}", "really {}", "a {} thing", "too {}", "it was {}"),
    "zh": ("很{}", "太{}了", "东西真{}", "非常{}", "感觉{}", "{}"),
}
# A verdict in a real sentence: what is judged, the verb or degree adverb, and the word that judges.
_VERDICT = {
    "en": re.compile(
        r"^((?:[a-z']+ ){1,5}?)(is|was|are|were) (very |really |so |quite |extremely )?([a-z]+)((?: (?!and\b)[a-z']+){0,3})$"
    ),
    "zh": re.compile(r"^([\u4e00-\u9fff]{0,6}?)(很|非常|挺|太|特别|真|比较|还算|十分)([\u4e00-\u9fff]{2,4})$"),
}
_NEGATED = {
    "en": re.compile(r"n't\b|\b(?:not|never|no|nothing|nobody|none|but|without|hardly|too)\b"),
    "zh": re.compile("[不没无别未非但却]"),
}
_MANNERS = (
    "{left}*", "{left}*", "{left}的确*", "{left}实在*", "{left}其实*", "{left}看着*", "{left}用起来*", "{left}全程*", "{left}始终*", "{left}总体上*", "{left}绝对*",
    "我觉得{left}*", "朋友都说{left}*", "看得出来{left}*", "不得不说{left}*", "事实上{left}*",
)  # fmt: skip
_CLAUSE_END = {"en": re.compile(r"[.!?;]+"), "zh": re.compile(r"[，。！？；,.!?;~～\s]+")}


def _said(*verdicts: str) -> tuple[str, ...]:
    """Each verdict in each manner of saying it."""
    return tuple(manner.replace("*", verdict) for manner in _MANNERS for verdict in verdicts)


# What turns such a sentence, and what keeps it: the same ways of saying it on both sides, so that only negation tells.
_TURNS = {
    "en": (
        "{left}{verb} not {word}{right}", "{left}{verb}n't {word}{right}", "{left}{verb}n't very {word}{right}",
        "{left}{verb} not {word}{right} at all", "{left}{verb} never {word}{right}", "{left}{verb} not exactly {word}{right}",
        "i don't think {left}{verb} {word}{right}", "i wouldn't say that {left}{verb} {word}{right}",
        "no one can claim that {left}{verb} {word}{right}", "i can't agree that {left}{verb} {word}{right}",
        "i must say that {left}{verb} not {word}{right}", "we think {left}{verb}n't {word}{right}", "it is true that {left}{verb} not {word}{right}",
        "to me {left}{verb} simply not {word}{right}", "everyone says that {left}{verb} not {word}{right}", "{left}{verb} by no stretch {word}{right}",
        "nobody thinks that {left}{verb} {word}{right}", "it is hard to believe that {left}{verb} {word}{right}", "{left}{verb} far from {word}{right}",
    ),
    "zh": (
        *_said("不{word}", "不太{word}", "并不{word}", "一点也不{word}", "不怎么{word}", "没那么{word}", "算不上{word}", "不是很{word}", "毫不{word}"),
        "不觉得{left}{word}", "没觉得{left}有多{word}", "{left}没有多{word}", "{left}谈不上{word}", "没人会说{left}{word}", "不相信{left}{word}",
    ),
}  # fmt: skip
_KEEPS = {
    "en": (
        "{left}{verb} {word}{right}", "{left}{verb} {word}{right}", "{left}{verb} very {word}{right}", "i think {left}{verb} {word}{right}",
        "everyone agrees that {left}{verb} {word}{right}", "i must say that {left}{verb} {word}{right}", "we think {left}{verb} {word}{right}",
        "it is true that {left}{verb} {word}{right}", "to me {left}{verb} simply {word}{right}", "everyone says that {left}{verb} {word}{right}",
        "no one can deny that {left}{verb} {word}{right}", "i don't doubt that {left}{verb} {word}{right}", "it is easy to believe that {left}{verb} {word}{right}",
    ),
    "zh": (
        *_said("很{word}", "真的{word}", "挺{word}", "非常{word}", "{word}", "太{word}了", "特别{word}", "十分{word}"),
        "觉得{left}很{word}", "{left}要多{word}有多{word}", "没人会说{left}不{word}", "相信{left}{word}", "{left}没有不{word}的时候",
    ),
}  # fmt: skip
_SLOT = re.compile(r"\{(anti_)?(\w+?)(_again)?\}")
_CHOICE = re.compile(r"\[([^\]]*)\]")
# "an awful film"; "a useless one" begins with a consonant's sound.
_AN = re.compile(r"\b([Aa]) (?=[aeiou])(?!use|one\b)")


PolarWords = tuple[tuple[str, ...], tuple[str, ...]]  # good ones, bad ones
Judge = Callable[[Sequence[str]], Sequence[float]]


def with_choices_made(text: str, rng: random.Random) -> str:
    """The text with one part of each choice ``[a|b]`` in it, drawn evenly."""
    return _CHOICE.sub(lambda choice: rng.choice(choice[1].split("|")), text)


def polar_words(language: Language, examples: Iterable[Example], judge: Judge | None = None) -> PolarWords:
    """Words with a clear verdict, read off labelled texts: those that follow "very" in texts of one class above all.

    What follows a degree adverb is an adjective most of the time, so no tagger is needed; negations themselves are left out.

    Args:
        language: of the texts.
        examples: labelled texts.
        judge: gives the probability of positive of each text; it confirms words that few texts have, and knows some more.
    """
    counts: Counter[tuple[str, int]] = Counter()
    texts = [0, 0]
    for example in examples:
        counts.update((word, example.label) for word in set(_after_degree(language, example.text.lower())))
        texts[example.label] += 1
    fewest = FEWEST if judge is None else FEWEST_JUDGED
    words = sorted({word for word, _ in counts if counts[word, 0] + counts[word, 1] >= fewest} - _PEOPLE)
    frames = _JUDGED[language]
    judged = judge([frame.format(word) for word in words for frame in frames]) if judge is not None and words else []
    good: list[str] = []
    bad: list[str] = []
    for i, word in enumerate(words):
        odds = math.log((counts[word, 1] + 1) / (counts[word, 0] + 1) * (texts[0] + 1) / (texts[1] + 1))
        clear = abs(odds) >= CLEAR_ODDS
        if judge is not None:
            mean = sum(judged[i * len(frames) : (i + 1) * len(frames)]) / len(frames)
            agreed = mean if odds > 0 else 1 - mean
            clear = agreed > SURE or (agreed > AGREED and abs(odds) >= JUDGED_ODDS)
        if clear:
            (good if odds > 0 else bad).append(word)
    return tuple(good), tuple(bad)


def _after_degree(language: Language, text: str) -> Iterator[str]:
    for match in _DEGREE[language].finditer(text):
        if language == "en":
            yield match[1]
            continue
        import jieba  # reads its dictionary when it is first used

        word = next(iter(jieba.cut(match[1])))
        if len(word) > 1 and word[0] not in "不没":
            yield word


def negated_sentences(
    language: Language, examples: Iterable[Example], known: PolarWords, count: int, seed: int
) -> list[tuple[str, int]]:
    """Real clauses that judge with one known word, turned or kept, with the labels that they have then; ``count``, or none.

    Templates name some hundred things and words; here are those that people write about.
    """
    polarity = {word: 1 - index for index, words in enumerate(known) for word in words}
    found: set[tuple[str, str, str, str]] = set()
    for example in examples:
        for part in _CLAUSE_END[language].split(example.text.lower()):
            verdict = _VERDICT[language].match(part.strip())
            if verdict is None or _NEGATED[language].search(verdict[0]):
                continue
            left, verb, *_, word, right = verdict.groups() if language == "en" else (*verdict.groups(), "")
            if polarity.get(word) == example.label:
                found.add((left, verb, word, right))
    rng = random.Random(seed)
    drawn = rng.choices(sorted(found), k=count) if found else []
    texts: list[tuple[str, int]] = []
    for left, verb, word, right in drawn:
        turned = rng.randrange(2)
        frame = rng.choice((_TURNS if turned else _KEEPS)[language])
        text = frame.format(left=left, verb=verb, word=word, right=right) + rng.choice(TEXTS[language].marks)
        texts.append((text, polarity[word] ^ turned))
    return texts


def negation_examples(
    language: Language, count: int, seed: int, known: PolarWords = ((), ())
) -> Iterator[tuple[str, int]]:
    """``count`` texts with labels (0 negative, 1 positive), drawn evenly within each kind of frame.

    Many turn the polarity of their words: a good word turned is negative, a bad word turned positive ("not bad at all",
    不难吃). So neither a word nor a frame's kind tells the label; only the whole text does. Words that are ``known`` to be
    good or bad, see :func:`polar_words`, come beside those that were written for the frames.
    """
    rng = random.Random(seed)
    texts = TEXTS[language]
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    for _ in range(count):
        (kind,) = rng.choices(kinds, weights)
        label = rng.randrange(2)
        writer = _Writer(texts, rng, rng.choice(texts.domains), rng.randrange(2), known)
        text = writer.framed(texts.kinds[kind], label)
        yield text if kind == EVERYDAY else _finished(text, texts, rng, english=language == "en"), label


@dataclass
class _Writer:
    """Fills the slots of one text, so that its words fit each other and none comes twice."""

    texts: Texts
    rng: random.Random
    domain: Domain
    tense: int
    known: PolarWords
    used: set[str] = field(default_factory=set)
    last: dict[str, str] = field(default_factory=dict)

    def framed(self, frames: Frames, label: int) -> str:
        """One of the frames, filled so that its verdict is ``label``."""
        turned = self.rng.random() < TURNED
        choices = _pool(frames, turned, label) or _pool(frames, not turned, label)
        turned = turned and bool(_pool(frames, turned, label))
        frame = with_choices_made(self.rng.choice(choices), self.rng)
        return _SLOT.sub(lambda slot: self._fill(slot, label ^ turned), frame)

    def _fill(self, slot: re.Match[str], polarity: int) -> str:
        anti, name, again = slot.groups()
        if anti:
            polarity = 1 - polarity
        if again:
            return self.last[f"{name}{polarity}"]
        if name == "this":
            return self.domain.this
        if name in self.texts.tenses:
            return self.texts.tenses[name][self.tense]
        if name == "clause":
            return self.framed(self.texts.kinds["clause"], polarity)
        if name == "verdict":
            return self.framed(self.texts.kinds[self.rng.choice(("clause", "clause", "personal", "implied"))], polarity)
        words = [word for word in self._words(name, polarity) if word not in self.used] or self._words(name, polarity)
        word = self.last[f"{name}{polarity}"] = self.rng.choice(words)
        self.used.add(word)
        return word

    def _words(self, name: str, polarity: int) -> tuple[str, ...]:
        if name == "thing":
            return self.domain.things
        if name == "part":
            return self.domain.parts
        general = self.texts.words[name][1 - polarity]
        if name != "word":
            return general
        # A domain's own words come as often as those that fit every domain, and as those that labelled texts have taught.
        own = self.domain.good if polarity else self.domain.bad
        return self.rng.choice([pool for pool in (own, general, self.known[1 - polarity]) if pool])


def _pool(frames: Frames, turned: bool, label: int) -> tuple[str, ...]:
    """The frames that turn (or keep) polarity and can have the verdict ``label``."""
    if turned:
        return frames.turn + (frames.turn_bad if label else frames.turn_good)
    return frames.keep + (frames.keep_good if label else frames.keep_bad)


def _finished(text: str, texts: Texts, rng: random.Random, english: bool) -> str:
    """With or without neighbours that say nothing of quality, a mark at the end, and English capitals."""
    before = rng.choice(texts.before) if rng.random() < 0.15 else ""
    after = rng.choice(texts.after) if rng.random() < 0.1 else ""
    mark = "" if text.endswith(("?", "？")) else rng.choice([mark for mark in texts.marks if mark or not after])
    if not english:
        return before + text + mark + after
    text = re.sub(r" (?=[,.;])", "", " ".join(f"{before} {text}{mark} {after}".split()))
    text = _AN.sub(r"\1n ", text)
    if rng.random() < 0.5:
        text = re.sub(r"(^|[.?!] )([a-z])", lambda start: start[1] + start[2].upper(), text)
    return text


def _expanded(texts: Texts, frames: tuple[str, ...]) -> Iterator[str]:
    """The frames with each choice and each tense written out."""
    for frame in frames:
        parts = _CHOICE.split(frame)
        for choice in itertools.product(*(part.split("|") if i % 2 else [part] for i, part in enumerate(parts))):
            for tense in range(2):
                text = "".join(choice)
                for name, forms in texts.tenses.items():
                    text = text.replace(f"{{{name}}}", forms[tense])
                yield " ".join(text.split())


def _listed(texts: Texts) -> tuple[list[str], list[str], list[str], list[str], list[str]]:
    kinds = texts.kinds.values()
    return (
        [word for domain in texts.domains for word in domain.things + domain.parts],
        [word for domain in texts.domains for word in domain.good]
        + [word for good, _ in texts.words.values() for word in good],
        [word for domain in texts.domains for word in domain.bad]
        + [word for _, bad in texts.words.values() for word in bad],
        sorted({frame for kind in kinds for frame in _expanded(texts, kind.keep + kind.keep_good + kind.keep_bad)}),
        sorted({frame for kind in kinds for frame in _expanded(texts, kind.turn + kind.turn_good + kind.turn_bad)}),
    )


# Things, good words, bad words, frames that keep and that turn polarity: what a test set must not repeat.
WORDS = {language: _listed(texts) for language, texts in TEXTS.items()}
