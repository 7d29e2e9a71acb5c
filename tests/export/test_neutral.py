"""Texts without a verdict: which are read, and how firmly sides are taken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from export.evaluate_sentiment import SentimentReport
from export.neutral import NeutralSet, neutral_result, neutral_sets, read_neutral
from models.corpora import OPEN_TEXT, SENTIMENT, Language, everyday_neutral
from models.negation import _expanded
from models.negation_texts import TEXTS
from tests.export.likeness import FEWEST_WORDS, alike, words

RATED = NeutralSet("semeval_neutral_test", "SemEval", "semeval", "rated neutral")


def test_firm_answers_are_those_of_eighty_percent_or_more() -> None:
    """Whichever side they take; confidence is that of the likelier class."""
    positive = np.array([0.95, 0.5, 0.1, 0.3, 0.8])

    result = neutral_result(RATED, np.stack([1 - positive, positive], axis=1))

    assert (result.rows, result.firm, result.positive) == (5, 0.6, 0.4)
    assert result.confidence == pytest.approx(0.77)
    assert SentimentReport(sets=[], seeds=[], neutral=[result]).quality() == {"semeval_neutral_test_firm": 0.6}


def test_only_rows_between_the_classes_are_read_and_the_same_for_every_model(tmp_path: Path) -> None:
    """A limit draws with one seed."""
    (tmp_path / "semeval2017_4a").mkdir()
    with gzip.open(tmp_path / "semeval2017_4a/test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"tweet {n}", "label": n % 3}) + "\n" for n in range(60))

    everything = read_neutral(tmp_path, RATED)
    assert everything == [f"tweet {n}" for n in range(60) if n % 3 == 1]
    drawn = read_neutral(tmp_path, RATED, limit=5)
    assert len(drawn) == 5
    assert set(drawn) <= set(everything)
    assert drawn == read_neutral(tmp_path, RATED, limit=5)


def test_of_running_text_the_held_out_sentences_are_read(tmp_path: Path) -> None:
    """Recipes train on its train part."""
    folder = tmp_path / OPEN_TEXT["commonvoice_en"].folder
    folder.mkdir()
    for part in ("train", "valid"):
        (folder / f"{part}.txt").write_text(f"The {part} leaves at nine.\nIt is a {part}.\n", encoding="utf-8")

    texts = read_neutral(tmp_path, NeutralSet("commonvoice_en_valid", "Common Voice", "commonvoice_en", ""))

    assert texts == ["The valid leaves at nine.", "It is a valid."]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_choosing_and_reporting_read_different_texts(language: Language) -> None:
    """What chooses a model is no test; both name corpora that exist, in their language."""
    dev, test = (neutral_sets(language, dev=dev) for dev in (True, False))

    assert not {(s.corpus, s.part, s.texts) for s in dev} & {(s.corpus, s.part, s.texts) for s in test}
    assert {s.key for s in dev}.isdisjoint(s.key for s in test)
    for s in (*dev, *test):
        if s.texts:
            assert s.corpus == ""
            continue
        known = SENTIMENT.get(s.corpus) or OPEN_TEXT[s.corpus]
        assert known.language == language


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_neutral_text_of_ours_trains_that_is_like_one_that_chooses_or_tests(language: Language) -> None:
    """Their authors had not seen each other's; whole texts need no corpora folder."""
    dev, test = ([s for s in neutral_sets(language, dev=dev) if s.texts] for dev in (True, False))
    asked = [read_neutral(Path(), s) for s in (*dev, *test)]
    theirs = [w for texts in asked for text in texts if len(w := words(text, language)) >= FEWEST_WORDS[language]]
    ours = {tuple(words(t, language)) for t in _expanded(TEXTS[language], tuple(everyday_neutral(language, "train")))}

    assert [len(set(texts)) for texts in asked] == [200, 200]
    assert not set(asked[0]) & set(asked[1])
    assert not ours & {tuple(words(text, language)) for texts in asked for text in texts}
    assert not [(a, b) for a in theirs for b in ours if alike(a, list(b))]
