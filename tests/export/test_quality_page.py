"""Tests of ``export/quality_page.py`` and ``export/plots.py`` on made-up reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.behaviour import Case, Labels, judge
from export.compare import ComparisonReport, ContenderResult
from export.evaluate import Report
from export.evaluate_language_model import CorpusResult, LanguageModelReport, PredictorResult
from export.evaluate_sentiment import (
    EVALUATION_SETS,
    READ_SHARES,
    SeedAnswer,
    SentimentReport,
    set_curves,
    set_result,
)
from export.markdown import markdown_table
from export.neutral import NeutralResult
from export.quality_page import Results, quality_page, reading_table, typed_table, write_quality_page

PNG = b"\x89PNG"
NEUTRAL = NeutralResult(key="n", title="neutral tweets", note="", rows=9, confidence=0.75, firm=0.4, positive=0.6)


def sentiment_report(name: str = "sentiment-en@1") -> Report:
    """All parts of a sentiment bundle's report."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 300)
    positive = np.clip(labels * 0.5 + rng.random((len(READ_SHARES), 300)) * 0.5, 0, 1)
    steps = np.stack([1 - positive, positive], axis=2)
    sets = [set_result(s, steps[-1], labels, set_curves(steps, labels)) for s in EVALUATION_SETS["en"][:4]]
    seeds = [SeedAnswer(text="This movie is good", expected="positive", label="positive", probability=0.91)]
    behaviour = judge([Case("negation", ("not | good",), Labels((0,)))], {"not | good": np.array([0.2, 0.8])})
    contender = ContenderResult(name="VADER", accuracy={"a": 0.5}, macro_f1={"a": 0.4}, milliseconds=0.05, megabytes=18)
    comparison = ComparisonReport(titles={"a": "Set A"}, rows={"a": 2000}, training_rows=9, contenders=[contender])
    return Report(
        model=name, task="sentiment", language="en", cell="gru", num_layers=1, hidden_size=256, embedding_dim=128, parameters=1_900_000,
        precision="float32", microseconds_per_token=11.2, sentiment=SentimentReport(sets=sets, seeds=seeds, neutral=[NEUTRAL]),
        behaviour=behaviour, comparison=comparison,
    )  # fmt: skip


def language_model_report(name: str = "lm-zh@1", microseconds: float = 120.0) -> Report:
    """A language model's report with one corpus."""
    numbers = {"perplexity": 40.0, "perplexity_with_ends": 35.0, "bits_per_character": 5.1, "top1": 0.2, "top3": 0.3}
    rows = [
        PredictorResult(name=p, **numbers, keystroke_savings=0.4, milliseconds=3, megabytes=15)
        for p in (name, "bigram KN")
    ]
    corpus = CorpusResult(corpus="kdconv", documents=5, units=700, words_asked=90, words_typed=40, predictors=rows)
    report = LanguageModelReport(language="zh", unit="character", training_words=10, corpora=[corpus])
    return Report(
        model=name, task="language-model", language="zh", cell="lstm", num_layers=1, hidden_size=512, embedding_dim=192, parameters=4_000_000,
        precision="float32", microseconds_per_token=microseconds, language_model=report,
    )  # fmt: skip


def test_page_plots_and_results_are_written_together(tmp_path: Path) -> None:
    """Each picture the page shows is there, and the numbers can be read again."""
    write_quality_page(tmp_path, Results(reports=[sentiment_report(), language_model_report()]))

    page = (tmp_path / "quality.md").read_text(encoding="utf-8")
    shown = [line.split("](")[1].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(shown) == 4
    assert all((tmp_path / picture).read_bytes().startswith(PNG) for picture in shown)
    results = Results.model_validate_json((tmp_path / "quality/results.json").read_bytes())
    assert [r.model for r in results.reports] == ["sentiment-en@1", "lm-zh@1"]


def test_the_page_says_how_firmly_sides_are_taken_where_there_is_none(tmp_path: Path) -> None:
    """Results of earlier versions, which did not ask, are still read and shown without."""
    report = sentiment_report()
    assert report.sentiment is not None
    write_quality_page(tmp_path, Results(reports=[report]))
    assert "| neutral tweets | 9 | 75.0 | 40.0 | 60.0 |" in (tmp_path / "quality.md").read_text(encoding="utf-8")

    before = report.model_copy(update={"sentiment": report.sentiment.model_copy(update={"neutral": []})})
    write_quality_page(tmp_path, Results(reports=[before]))
    assert "without a verdict" not in (tmp_path / "quality.md").read_text(encoding="utf-8")


def test_further_bundles_stay_when_a_later_run_does_not_measure_them_again(tmp_path: Path) -> None:
    """Marked as of an earlier run, with a time of this one; measured again, or on other rows, it is not there twice."""
    other_seed = sentiment_report().model_copy(
        update={"further": True, "weights": "aa", "seed": 7, "microseconds_per_token": 7.5}
    )
    other_seed = other_seed.model_copy(
        update={"parameters": other_seed.parameters - 65}
    )  # no temperature for each text
    again = sentiment_report().model_copy(
        update={"further": True, "weights": "bb", "seed": 8, "microseconds_per_token": 11.2}
    )
    assert again.sentiment is not None
    fewer = SentimentReport(sets=again.sentiment.sets[:2], seeds=[])
    other_rows = again.model_copy(update={"weights": "cc", "seed": 9, "sentiment": fewer})
    write_quality_page(tmp_path, Results(reports=[sentiment_report(), other_seed, again, other_rows]))

    results = write_quality_page(tmp_path, Results(reports=[sentiment_report(), again]))

    assert sorted((r.seed or 0, r.earlier) for r in results.reports) == [(0, False), (7, True), (8, False)]
    assert {r.microseconds_per_token for r in results.reports} == {11.2}
    page = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "| GRU 1 × 256 ‡ | 1.90 M | float32 | 7 |" in page
    assert "‡: measured in an earlier run, on the same rows" in page
    assert "| GRU 1 × 256 | 1.90 M | float32 | 8 |" in page


def test_a_later_run_replaces_what_ships_of_its_kind_and_keeps_the_others(tmp_path: Path) -> None:
    """A page never shows two versions as what ships."""
    write_quality_page(tmp_path, Results(reports=[sentiment_report(), language_model_report(microseconds=120)]))
    write_quality_page(tmp_path, Results(reports=[language_model_report("lm-small@1", microseconds=99)]))

    page = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "## sentiment-en@1" in page
    assert "## lm-small@1" in page
    assert "lm-zh@1" not in page


def test_the_page_has_one_order_whatever_was_measured_last(tmp_path: Path) -> None:
    """Sentiment first."""
    write_quality_page(tmp_path, Results(reports=[language_model_report()]))
    results = write_quality_page(tmp_path, Results(reports=[sentiment_report()]))

    assert [r.model for r in results.reports] == ["sentiment-en@1", "lm-zh@1"]


def test_further_bundles_have_lines_in_tables_and_no_section(tmp_path: Path) -> None:
    """They show what other sizes are worth; they do not ship."""
    further = language_model_report(microseconds=240).model_copy(
        update={"further": True, "hidden_size": 768, "language_model": None, "perplexities": {"kdconv": 35.5}}
    )

    results = write_quality_page(tmp_path, Results(reports=[language_model_report(), further]))

    page = quality_page(results)
    assert page.count("## lm-zh@1") == 1
    assert "| LSTM 1 × 768 | 4.00 M | float32 |  |  | 240.0 |  | 35.5 | 35.5 |" in page
    assert "| **LSTM 1 × 512 ★** |" in page


def test_the_page_says_what_each_number_counts() -> None:
    """Units, ends, what a word is, and which rows."""
    page = quality_page(Results(reports=[sentiment_report(), language_model_report()]))

    assert "per character that is no white space" in page
    assert "one piece" in page
    assert "2,000 of each set" in page
    assert "“not \\| good” 80%" in page  # a bar in a text does not break the table


def test_accuracy_while_reading_and_errors_of_the_surest_are_in_a_table() -> None:
    """After all tokens accuracy and errors among all texts are the set's own."""
    report = sentiment_report().sentiment
    assert report is not None

    lines = reading_table(report).splitlines()

    assert "read 10%" in lines[0]
    assert "errors at 80%" in lines[0]
    cells = lines[2].split(" | ")
    assert float(cells[5]) == pytest.approx(100 * report.sets[0].accuracy, abs=0.1)
    assert float(cells[9].rstrip(" |")) == pytest.approx(100 - 100 * report.sets[0].accuracy, abs=0.1)


def test_texts_as_people_type_them_have_a_table() -> None:
    """A way of typing that changes no text of a set, as Latin letters none of a Chinese one, has no number there."""
    report = sentiment_report().sentiment
    assert report is not None
    typed = [{"as they are": 0.9, "marks left out": 0.8}, {"as they are": 0.7, "typing errors": 0.6}]
    sets = [s.model_copy(update={"typed": t}) for s, t in zip(report.sets, [*typed, None], strict=False)]

    lines = typed_table(report.model_copy(update={"sets": sets})).splitlines()

    assert lines[0] == "| set | as they are | marks left out | typing errors |"
    assert lines[2:] == [f"| {sets[0].title} | 90.0 | 80.0 |  |", f"| {sets[1].title} | 70.0 |  | 60.0 |"]


def test_a_table_has_as_many_cells_in_every_line() -> None:
    """Line breaks in a cell become spaces."""
    assert markdown_table(["a", "b"], [["x\ny", "1"]]) == "| a | b |\n| -- | --: |\n| x y | 1 |\n"


def test_curves_end_at_the_whole_set() -> None:
    """Coverage 1, all tokens read, shares of bins that sum to 1."""
    report = sentiment_report().sentiment
    assert report is not None
    curves = report.sets[0].curves
    assert curves is not None

    assert curves.coverage[-1] == 1
    assert curves.risk[-1] == pytest.approx(1 - report.sets[0].accuracy, abs=1e-4)
    assert curves.accuracy_after[1.0] == pytest.approx(report.sets[0].accuracy, abs=1e-4)
    assert sum(curves.bin_share) == pytest.approx(1, abs=1e-3)
