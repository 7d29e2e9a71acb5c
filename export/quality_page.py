"""Writes ``docs/quality.md`` and its plots from evaluation reports: every number on the page comes from one."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from export.behaviour import BehaviourReport
from export.compare import ComparisonReport
from export.evaluate import Report
from export.evaluate_language_model import LanguageModelReport
from export.evaluate_sentiment import SentimentReport
from export.plots import plot_reading, plot_reliability, plot_risk_coverage, plot_speed
from models.checkpoint import write_json

RESULTS_FILE = "results.json"
LANGUAGES = {"en": "English", "zh": "Chinese"}

INTRODUCTION = """# Quality

Written by `rnnserve evaluate --all`; every number comes from `quality/results.json`. All bundles are measured as they are
served: through ONNX Runtime, with the tokenizer and the calibration of the bundle, in batches of similar length. No row of
a dev or test part was trained on, nor a copy of one in another corpus; dev parts chose the models, test parts were only
measured. Sampling error (95 %) of an accuracy near 90 %: ± 2.1 points on 800 rows, ± 1.3 on 2,000, ± 0.4 on 25,000.
"""

SENTIMENT_MEASURES = """Macro-F1 and macro recall are means over the two classes. ECE is the expected calibration error over
15 equally wide bins of confidence; NLL the mean negative log-likelihood in nats, both with the bundle's temperature.
"""

BEHAVIOUR_MEASURES = """Short texts whose right answer is known by their making, with templates and words that no training text
was made with (`export/behaviour_texts.py`). Negations are pairs, plain and negated: both must be right. Orders, additions,
names and typing errors ask for the right order, or for the same label. The examples are sentences that people try first.
"""

COMPARISON_MEASURES = """The same rows for all, {rows} of each set at most, drawn with a fixed seed. Naive Bayes and logistic regression are untuned and
trained on the same {training_rows} rows as the model (without its templates); the lexicons need no training and are cut at
the middle of their range (SnowNLP's makers trained it on shopping reviews, which may hold some of these rows). Time is the median for one text alone on one core; memory is what a Python process gains by
answering one text, its libraries included.
"""

LANGUAGE_MODEL_MEASURES = {
    "en": """Perplexity is per word: the probability of the whole text (its spaces, marks and line breaks, and the end of every document)
shared among the words that white space separates. "With ends" counts line and document ends as words too, as benchmarks
with an end mark a line do. The vocabulary is open: no word is replaced by `<unk>`. Next words are asked for at places drawn
from all that follow a space and are letters alone (apostrophes allowed); a hit is the very word, letter case included.
""",
    "zh": """Perplexity is per character that is no white space: the probability of the whole text, the end of every document included,
shared among them. "With ends" counts line and document ends as characters too. The vocabulary is open: no character is
replaced by `<unk>`. Chinese has no spaces, so a word is what the model's own tokenizer makes one piece of, and the n-gram
models get the same words: the numbers compare models, not tokenizers. Next words are asked for at places drawn from all
whose word is Chinese characters alone; a hit is the very word.
""",
}
NGRAM_MEASURES = """The n-gram models (interpolated modified Kneser-Ney) are counted on the same training text and see the same text in the same
words; what they do not know they spell, letter by letter, so that their perplexities are comparable. "Keys saved" is the
share of keystrokes that a user saves who takes a word as soon as it is among three suggestions, shown before its first
letter and after each: a taken word costs one keystroke{space}. Only the words asked for count.
"""


def write_quality_page(docs: Path, reports: Sequence[Report]) -> None:
    """Write page, plots and results; reports of other models that are already in the results are kept.

    Args:
        docs: folder of ``quality.md``.
        reports: of one run.
    """
    folder = docs / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    known = {report.model: report for report in _read(folder / RESULTS_FILE)} | {r.model: r for r in reports}
    write_json(folder / RESULTS_FILE, [report.model_dump(mode="json", exclude_none=True) for report in known.values()])
    everything = list(known.values())
    for report in reports:
        if report.sentiment is not None:
            plot_reliability(folder / f"{_name(report)}-reliability.png", report.sentiment.sets)
            plot_risk_coverage(folder / f"{_name(report)}-risk-coverage.png", report.sentiment.sets)
            plot_reading(folder / f"{_name(report)}-reading.png", report.sentiment.sets)
    plot_speed(folder / "speed.png", speed_panels(everything))
    (docs / "quality.md").write_text(quality_page(everything), encoding="utf-8")


def _read(path: Path) -> list[Report]:
    if not path.is_file():
        return []
    return [Report.model_validate(report) for report in json.loads(path.read_text(encoding="utf-8"))]


def quality_page(reports: Sequence[Report]) -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION, _overview(reports)]
    for report in reports:
        parts.append(f"## {report.model}\n")
        if report.sentiment is not None:
            parts += [SENTIMENT_MEASURES, sentiment_table(report.sentiment), _plots(report)]
        if report.behaviour is not None:
            parts += ["### Behaviour\n", BEHAVIOUR_MEASURES, behaviour_table(report.behaviour)]
        if report.comparison is not None:
            parts += ["### What you might take instead\n", comparison_tables(report.comparison)]
        if report.language_model is not None:
            parts += [LANGUAGE_MODEL_MEASURES[report.language], language_model_tables(report.language_model)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _overview(reports: Sequence[Report]) -> str:
    rows = [
        [
            report.model,
            LANGUAGES[report.language],
            f"{report.cell.upper()} {report.num_layers} × {report.hidden_size}",
            f"{report.parameters / 1e6:.2f} M",
            report.precision,
            "" if report.microseconds_per_token is None else f"{report.microseconds_per_token:.0f}",
            "" if (summary := summary_of(report)) is None else f"{summary[0]}: {summary[1]:.1%}",
            report.measured,
        ]
        for report in reports
    ]
    heads = ["model", "language", "cell", "weights", "precision", "µs a token", "in short", "measured"]
    return markdown_table(heads, rows) + (
        "\nµs a token: one row alone on one core in ONNX Runtime, tokenisation not included. "
        "In the plot the first model of each kind, which is the shipped one, is the star.\n\n"
        "![Quality against time for a token](quality/speed.png)\n"
    )


def summary_of(report: Report) -> tuple[str, float] | None:
    """One number for the overview and the speed plot, and what it is."""
    if report.sentiment is not None and report.sentiment.sets:
        return f"mean accuracy, {LANGUAGES[report.language]} sets", statistics.mean(
            s.accuracy for s in report.sentiment.sets
        )
    if report.language_model is not None and report.language_model.corpora:
        corpus = report.language_model.corpora[0]
        return f"top-3, {corpus.corpus}", corpus.predictors[0].top3
    return None


def speed_panels(reports: Sequence[Report]) -> dict[str, list[tuple[str, float, float]]]:
    """What :func:`export.plots.plot_speed` shows: models of one task and language share a panel."""
    panels: dict[str, list[tuple[str, float, float]]] = {}
    for report in reports:
        summary = summary_of(report)
        if summary is not None and report.microseconds_per_token is not None:
            panels.setdefault(summary[0], []).append((report.model, report.microseconds_per_token, summary[1]))
    return panels


def sentiment_table(report: SentimentReport) -> str:
    """Measures of every set, and the sentences that every version must get right."""
    rows = [
        [s.title, f"{s.rows:,}", *(f"{100 * v:.1f}" for v in (s.accuracy, s.macro_f1, s.macro_recall, s.ece)), f"{s.nll:.3f}", s.note]
        for s in report.sets
    ]  # fmt: skip
    heads = ["set", "rows", "accuracy %", "macro-F1 %", "macro recall %", "ECE %", "NLL", "note"]
    seeds = [[seed.text, seed.expected, f"{seed.label}, {seed.probability:.0%}"] for seed in report.seeds]
    return markdown_table(heads, rows) + "\n" + markdown_table(["sentence", "expected", "answer"], seeds)


def _plots(report: Report) -> str:
    name = _name(report)
    shown = {
        "reading": "Accuracy after the first 10, 25, 50, 75 and 100 % of each text's tokens",
        "risk-coverage": "Errors when only the surest texts are answered",
        "reliability": "Accuracy against confidence",
    }
    return "\n\n".join(f"![{title}](quality/{name}-{plot}.png)\n\n{title}." for plot, title in shown.items())


def behaviour_table(report: BehaviourReport) -> str:
    """Pass rates, and one failure of each category."""
    rows = []
    for c in report.categories:
        wrong = ""
        if c.failures:
            failure = c.failures[0]
            wrong = "; ".join(f"“{t}” {p:.0%}" for t, p in zip(failure.texts, failure.positive, strict=True))
        rows.append([c.category, str(c.cases), f"{100 * c.pass_rate:.1f}", wrong])
    return markdown_table(
        ["category", "cases", "passed %", "for instance wrong, with the probability of positive"], rows
    )


def comparison_tables(report: ComparisonReport) -> str:
    """Accuracy and macro-F1 of every contender on every set, time and memory."""
    text = COMPARISON_MEASURES.format(rows=f"{max(report.rows.values()):,}", training_rows=f"{report.training_rows:,}")
    heads = ["accuracy % (macro-F1 %)", *report.titles.values()]
    rows = [
        [c.name, *(f"{100 * c.accuracy[key]:.1f} ({100 * c.macro_f1[key]:.1f})" for key in report.titles)]
        for c in report.contenders
    ]
    cost = [[c.name, f"{c.milliseconds:.3f}", f"{c.megabytes:.0f}"] for c in report.contenders]
    return "\n".join([text, markdown_table(heads, rows), markdown_table(["", "ms for one text", "MB"], cost)])


def language_model_tables(report: LanguageModelReport) -> str:
    """One table for each held-out corpus."""
    behind = ", the space behind it included" if report.language == "en" else ""
    parts = [NGRAM_MEASURES.format(space=behind)]
    heads = ["model", f"perplexity per {report.unit}", "with ends", "bits a character", "top-1 %", "top-3 %", "keys saved %", "ms", "MB"]  # fmt: skip
    for corpus in report.corpora:
        rows = [
            [
                p.name,
                *(f"{v:.1f}" for v in (p.perplexity, p.perplexity_with_ends)),
                f"{p.bits_per_character:.3f}",
                *(f"{100 * v:.1f}" for v in (p.top1, p.top3, p.keystroke_savings)),
                f"{p.milliseconds:.1f}",
                f"{p.megabytes:.1f}",
            ]
            for p in corpus.predictors
        ]
        parts.append(
            f"**{corpus.corpus}**, held-out part: {corpus.documents:,} documents, {corpus.units:,} {report.unit}s; "
            f"{corpus.words_asked:,} words asked for, {corpus.words_typed:,} of them typed.\n\n{markdown_table(heads, rows)}"
        )
    parts.append(
        "ms: three suggestions for one context that was not read before, on one core; MB: the model's numbers and words. "
        "Corpora of single sentences are divided at random, so that their numbers are optimistic."
    )
    return "\n".join(parts)


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; numbers are set to the right by their column's position, the first column to the left."""
    lines = [heads, ["--", *["--:"] * (len(heads) - 1)], *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines
    )


def _name(report: Report) -> str:
    return report.model.replace("@", "-")
