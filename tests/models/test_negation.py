"""Tests of models/negation.py and its texts."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence

import pytest

from export.behaviour_texts import TEMPLATES
from models.corpora import Example
from models.negation import WEIGHTS, WORDS, _expanded, negated_sentences, negation_examples, polar_words
from models.negation_texts import TEXTS, Frames
from models.tokenizer import Language


def bare(text: str) -> str:
    """A text without letter case and marks."""
    return re.sub(r"[^\w{}']+", " ", text.lower()).strip()


@functools.cache
def many(language: Language) -> list[tuple[str, int]]:
    """Enough texts for each frame to be among them, without marks."""
    return [(bare(text), label) for text, label in negation_examples(language, 400_000, seed=1)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_are_complete_and_both_classes_common(language: Language) -> None:
    """Every slot and choice is filled, and neither class is a prior."""
    rows = list(negation_examples(language, 10_000, seed=0))

    assert len(rows) == 10_000
    assert not [text for text, _ in rows if re.search(r"[{}\[\]|]|^[^\w“\"]|  | [,.;]", text)]
    assert 0.48 < sum(label for _, label in rows) / 10_000 < 0.52


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_seldom_come_twice(language: Language) -> None:
    """There are too many to learn by heart."""
    rows = list(negation_examples(language, 20_000, seed=0))

    assert len(set(rows)) > 18_000


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_each_kind_has_frames_that_keep_and_frames_that_turn(language: Language, kind: str) -> None:
    """Otherwise a kind would tell what its words mean. In contrasts the clauses are kept or turned; implied verdicts are facts."""
    frames: Frames = TEXTS[language].kinds[kind]

    assert frames.keep or min(len(frames.keep_good), len(frames.keep_bad)) > 200
    assert frames.turn or kind in ("contrast", "implied", "everyday")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("polarity", [0, 1])
def test_a_word_alone_tells_no_label(language: Language, polarity: int) -> None:
    """Good words stand in negative texts about as often as in positive ones, bad words too."""
    edge = r"\b" if language == "en" else ""
    word = re.compile("|".join(f"{edge}{word}{edge}" for word in TEXTS[language].words["word"][1 - polarity]))
    labels = [label for text, label in many(language) if word.search(text)]

    assert 0.45 < sum(labels) / len(labels) < 0.55


@pytest.mark.parametrize(
    ("language", "pattern", "label"),
    [
        ("en", r"^not (good|great|nice)$", 0),
        ("en", r"^not (bad|awful|poor)$", 1),
        ("en", r"^hardly (good|great|nice)$", 0),
        ("en", r"^never (bad|awful|poor)$", 1),
        ("en", r"^nothing to complain about$", 1),
        ("en", r"^not worth it$", 0),
        ("en", r"^expected (bad|awful|poor) got the opposite$", 1),
        ("en", r"^just as (bad|awful|poor) as the reviews said$", 0),
        ("en", r"^although .* the \w+ leaves nothing to be desired$", 1),
        ("en", r"^although .* the \w+ leaves a lot to be desired$", 0),
        ("en", r"^the \w+ leaves nothing to be desired (even though|although) ", 1),
        ("en", r"^I wish the \w+ were (good|great|nice)$", 0),
        ("en", r"^nothing (is|was) wrong with the \w+$", 1),
        ("en", r"^the \w+ (is|was) by no means (bad|awful|poor)$", 1),
        ("en", r"^I thought the \w+ would be (good|great|nice) but (it isn't|it wasn't|no)$", 0),
        ("zh", r"^(并不|不太|毫不)(好|出色|优秀)$", 0),
        ("zh", r"^(并不|不太|毫不)(差|糟糕|烂)$", 1),
        ("zh", r"^(真|确实|很|真的很)(好|出色|优秀)$", 1),
        ("zh", r"^(真|确实|很|真的很)(差|糟糕|烂)$", 0),
        ("zh", r"^没什么缺点$", 1),
        ("zh", r"^没什么优点$", 0),
        ("zh", r"^出乎意料地(差|糟糕|烂)$", 0),
        ("zh", r"^不是不好 是太好了$", 1),
        ("zh", r"^(虽然|尽管).*(差|糟糕|烂) (但是|但|可)?\w{1,2}(没的说|无可挑剔|挑不出毛病)$", 1),
        ("zh", r"^\w{1,3}要是(好|优秀|出色)就好了$", 0),
        ("zh", r"^以为会(失望|后悔|生气) 结果很(满意|开心|高兴)$", 1),
        ("zh", r"^\w{1,2}没那么(好|优秀|出色)$", 0),
    ],
)
def test_the_turn_decides_the_verdict(language: Language, pattern: str, label: int) -> None:
    """A good word turned is negative, a bad word turned positive; of two clauses the one that counts decides."""
    labels = {label for text, label in many(language) if re.search(pattern, text, re.IGNORECASE)}

    assert labels == {label}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_has_both_labels(language: Language) -> None:
    """Frames that contradict each other would teach nothing."""
    seen: dict[str, int] = {}
    for text, label in negation_examples(language, 50_000, seed=2):
        assert seen.setdefault(text.lower(), label) == label, text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_seed_fixes_the_texts(language: Language) -> None:
    """A run can be repeated."""
    first, again, other = (list(negation_examples(language, 50, seed)) for seed in (3, 3, 4))

    assert first == again
    assert first != other


def test_articles_agree_with_the_word_behind_them() -> None:
    """An awful film, a good one."""
    texts = [text.lower() for text, _ in negation_examples("en", 20_000, seed=7)]

    assert not [text for text in texts if re.search(r"\ba (?=[aeio])(?!one)|\ban (?=[^aeiouh])", text)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_word_is_both_good_and_bad(language: Language) -> None:
    """Labels follow from the lists."""
    _, good, bad, _, _ = WORDS[language]

    assert not set(good) & set(bad)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_finished_text_is_a_filled_template_of_the_behavioural_suite(language: Language) -> None:
    """Nor do clauses, openings and endings put together make one. Two words alone are nobody's template."""
    templates = TEMPLATES[language]
    pairs = itertools.chain(*templates.negation, *templates.indirect_negation, *templates.intensity)
    theirs = {
        bare(re.sub(r"\{\w+\}", "{}", text)) for text in (*pairs, *templates.expectation_turned, *templates.contrast)
    }
    words = sorted({word for words in WORDS[language][:3] for word in words}, key=len, reverse=True)
    edge = r"\b" if language == "en" else ""
    word = re.compile(f"{edge}(?:{'|'.join(map(re.escape, words))}){edge}")
    ours = (re.sub(r"\ban ", "a ", text.lower()) for text, _ in negation_examples(language, 20_000, seed=8))

    assert not (theirs - {"{}{}"}) & {bare(word.sub("{}", text)) for text in ours}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_word_of_the_behavioural_suite_stands_in_a_frame(language: Language) -> None:
    """Words outside the slots are new to the suite too, but for the things that implied verdicts are about."""
    texts = TEXTS[language]
    *_, keep, turn = WORDS[language]
    implied = "\n".join(texts.kinds["implied"].keep_good + texts.kinds["implied"].keep_bad)
    everyday = texts.kinds["everyday"]
    whole = (*implied.split("\n"), *everyday.keep_good, *everyday.keep_bad)  # no frames
    frames = "\n".join({*keep, *turn, *texts.before, *texts.after}.difference(_expanded(texts, whole)))
    edge = r"\b" if language == "en" else ""

    for domain in TEMPLATES[language].domains:
        verdicts = (*domain.good, *domain.bad)
        for words, where in (((*domain.things, *verdicts), frames), (verdicts, implied)):
            assert not [word for word in words if re.search(f"{edge}{re.escape(word)}{edge}", where)]


@pytest.mark.parametrize(
    ("language", "texts", "expected"),
    [
        (
            "en",
            {"it was very snug, really snug": 1, "so drab": 0, "so not good": 0, "very badly": 0, "very": 1},
            (("snug",), ("drab",)),
        ),
        ("zh", {"房间非常温馨": 1, "很无聊，太无聊": 0, "味道很不好": 0, "很": 1}, (("温馨",), ("无聊",))),
    ],
)
def test_labelled_texts_teach_their_words(
    language: Language, texts: dict[str, int], expected: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    """What follows "very" and comes in texts of one class; neither negations nor adverbs, nor words that are rare."""
    examples = [Example(text, label, "reviews") for text, label in texts.items()]
    both = [Example({"en": "very long", "zh": "很漫长"}[language], label, "reviews") for label in (0, 1)]

    assert polar_words(language, (examples + both) * 20) == expected
    assert polar_words(language, examples) == ((), ())


def test_a_judge_confirms_words_that_few_texts_have() -> None:
    """It knows some more, and it is not asked about people: what texts say of them is no verdict on anything."""
    texts = {"so snug": 1, "so drab": 0, "so long": 0, "very very": 1, "so british": 1}
    examples = [Example(text, label, "reviews") for text, label in texts.items()] * 6

    def judge(asked: Sequence[str]) -> list[float]:
        assert not [text for text in asked if "british" in text]
        return [0.9 if "snug" in text else 0.1 if "drab" in text else 0.5 for text in asked]

    assert polar_words("en", examples) == ((), ())
    assert polar_words("en", examples, judge) == (("snug",), ("drab",))


def test_known_words_come_into_the_frames() -> None:
    """With their polarity: what a frame turns is turned for them, too."""
    texts = list(negation_examples("en", 1000, 3, (("zyx",), ("xyz",))))

    turned = {label for text, label in texts if "not zyx" in text.lower() and "xyz" not in text.lower()}
    assert sum("zyx" in text.lower() or "xyz" in text.lower() for text, _ in texts) > 100
    assert 0 in turned


@pytest.mark.parametrize(
    ("language", "text", "label", "known", "turned", "kept"),
    [
        ("en", "The lobby was very drab. We left.", 0, ((), ("drab",)), "the lobby was not drab", "the lobby was drab"),
        ("zh", "下雨了，大厅很温馨", 1, (("温馨",), ()), "大厅不温馨", "大厅很温馨"),
    ],
)
def test_real_clauses_are_turned_with_their_labels(
    language: Language, text: str, label: int, known: tuple[tuple[str, ...], tuple[str, ...]], turned: str, kept: str
) -> None:
    """A clause that judges with a known word of its text's own class; the rest of the text stays out."""
    found = {
        (bare(t), y) for t, y in negated_sentences(language, [Example(text, label, "reviews")], known, 400, seed=2)
    }

    assert (turned, 1 - label) in found
    assert (kept, label) in found
    assert len({t for t, _ in found}) == len(found)


@pytest.mark.parametrize(
    "text", ["the lobby was not drab", "nothing was drab", "we came by train", "the lobby was airy"]
)
def test_clauses_without_a_clear_verdict_are_left_out(text: str) -> None:
    """Those that are negated already, and those that say nothing with a known word."""
    assert negated_sentences("en", [Example(text, 0, "reviews")], ((), ("drab",)), 10, seed=0) == []
