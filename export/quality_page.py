"""Writes ``docs/quality.md`` and its plots from evaluation reports: every number on the page comes from one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from export.behaviour import BehaviourReport
from export.closed_vocabulary import ClosedVocabularyResult, closed_vocabulary_section
from export.compare import ComparisonReport
from export.evaluate import Report
from export.evaluate_language_model import LanguageModelReport
from export.evaluate_sentiment import READ_SHARES, TYPED_ROWS, SentimentReport
from export.markdown import markdown_table
from export.neutral import FIRM
from export.plots import plot_reading, plot_reliability, plot_risk_coverage, plot_speed
from export.readme import in_short
from export.sizes import LANGUAGES, kinds, network, rows_of, size_sections, speed_panels
from models.checkpoint import write_json

RESULTS_FILE = "results.json"
COVERAGES = (0.5, 0.8, 0.9, 1.0)

INTRODUCTION = """# Quality

Written by `rnnserve evaluate --all`; every number comes from `quality/results.json`. All bundles are measured as they are
served: through ONNX Runtime, with the tokenizer and the calibration of the bundle, in batches of similar length. No row of
a dev or test part was trained on as such, nor a copy of one in another labelled corpus (earlier runs read a few copies among unlabelled
sentences: [decision 0012](decisions/0012-texts-as-people-type-them.md), point 5; six everyday test texts are like opinions that trained:
[decision 0014](decisions/0014-everyday-texts-choose-too.md)); dev parts chose the models, test parts were only
measured. Models of one task and language were measured on the same rows. Sampling error (95 %) of an accuracy near 90 %: ± 2.1 points on 800 rows, ± 1.3 on 2,000, ± 0.4 on 25,000.
"""

SENTIMENT_MEASURES = """Macro-F1 and macro recall are means over the two classes. ECE is the expected calibration error over
15 equally wide bins of confidence; NLL the mean negative log-likelihood in nats, both with the bundle's temperature. "By chance" is
the ECE that a perfectly calibrated model with the same confidences has on so many rows. Temperatures were fitted on dev parts, each corpus
that has one alike, so they promise nothing for domains that training did not see (MR, CR).
"""

BEHAVIOUR_MEASURES = """Short texts whose right answer is known by their making, with templates that no training text
was made with (`export/behaviour_texts.py`); their words do come in reviews, and negation is taught with words of reviews, too. Negations are pairs, plain and negated: both must be right. Orders, additions,
names, typing errors and marks left out ask for the right order, or for the same label; groups (of people: faith, origin, and so on) for
answers within 0.2 of each other. The examples are sentences that people try first.
What is called unseen is a second set (`export/behaviour_unseen.py`), by an author who had seen neither the training templates nor any answer
of a model. Most of its words train; of its templates only plain halves do. Some training templates are younger than both sets
(decisions [0011](decisions/0011-linear-teachers.md), [0012](decisions/0012-texts-as-people-type-them.md),
[0013](decisions/0013-more-to-learn-from-and-more-to-choose-by.md), [0017](decisions/0017-texts-that-judge-nothing.md) and [0020](decisions/0020-ten-thousand-texts-more.md)). Implied verdicts are pairs in which a fact or a turn of phrase judges and no word does; their
authors and those of the opinions that train (`models/opinions/`) knew nothing of each other.
"""

COMPARISON_MEASURES = """The same rows for all, {rows} of each set at most, drawn with a fixed seed. Naive Bayes and logistic regression are untuned and
trained on the same {training_rows} labelled rows as the model (without templates, soft labels and unlabelled text); the lexicons need no training and are cut at
the middle of their range (SnowNLP's makers trained it on shopping reviews, which may hold some of these rows). Time is the median for one text alone on one core; memory is what a Python process gains by
answering one text, its libraries included. Times were taken while another measurement ran on another core.
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


NEUTRAL_MEASURES = """Two classes have no word for texts that judge nothing: the nearer their confidence is to 50 %, the better. A
threshold on the probability finds only some of them."""
READING_MEASURES = """Accuracy in % when only the first so many % of each text's tokens were read (at least one), and errors in % among the texts
answered when only the surest so many % are answered.
"""

TYPED_MEASURES = """Accuracy in % on {rows:,} rows of each set at most, as they are and as people type them: their last marks, all marks or apostrophes left out;
for every dozen words one error, at least one, inside a word of five or more Latin letters: two letters changed places, one missing or one twice. English training
texts are changed in both ways, too, Chinese ones lose marks alone.
"""


class Results(BaseModel, frozen=True):
    """``results.json``: all that the page is made of."""

    reports: list[Report] = []
    closed_vocabulary: list[ClosedVocabularyResult] = []

    def updated(self, later: Results) -> Results:
        """With what a later run measured.

        It replaces what ships of every task and language that it measured. Further bundles that it did not measure again are kept
        and marked if they were measured on the very rows that it measured on, and left out if not. Their time a token is that of
        a bundle of the same network in the later run, since machines differ, and none where there is no such bundle.
        """
        measured = kinds(later.reports)
        kept = [r for r in self.reports if (r.task, r.language) not in measured]
        for kind, members in measured.items():
            again = {r.weights for r in members}
            times = {_sizes(r): r.microseconds_per_token for r in members}
            kept += [
                r.model_copy(
                    update={
                        "earlier": True,
                        "microseconds_per_token": times.get(_sizes(r)),
                    }
                )
                for r in kinds(self.reports).get(kind, [])
                if r.further and r.weights not in again and rows_of(r) == rows_of(members[0])
            ]
        order = [("sentiment", "en"), ("sentiment", "zh"), ("language-model", "en"), ("language-model", "zh")]
        return Results(
            reports=sorted([*kept, *later.reports], key=lambda r: (r.further, order.index((r.task, r.language)))),
            closed_vocabulary=later.closed_vocabulary or self.closed_vocabulary,
        )


def _sizes(report: Report) -> tuple[str, int, str]:
    """What decides the time of a token; not the few hundred weights of a temperature for each text."""
    return network(report), report.embedding_dim, report.precision


def write_quality_page(docs: Path, measured: Results) -> Results:
    """Write page, plots and results.

    Args:
        docs: folder of ``quality.md``.
        measured: in this run; see :meth:`Results.updated` for what becomes of earlier ones.

    Returns:
        All that the page shows.
    """
    folder = docs / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS_FILE
    earlier = Results.model_validate_json(path.read_bytes()) if path.is_file() else Results()
    results = earlier.updated(measured)
    write_json(path, results.model_dump(mode="json", exclude_none=True))
    for report in measured.reports:
        if report.sentiment is not None and not report.further:
            plot_reliability(folder / f"{_name(report)}-reliability.png", report.sentiment.sets)
            plot_risk_coverage(folder / f"{_name(report)}-risk-coverage.png", report.sentiment.sets)
            plot_reading(folder / f"{_name(report)}-reading.png", report.sentiment.sets)
    plot_speed(folder / "speed.png", speed_panels(results.reports))
    (docs / "quality.md").write_text(quality_page(results), encoding="utf-8")
    return results


def quality_page(results: Results) -> str:
    """The page as Markdown."""
    shipped = [report for report in results.reports if not report.further]
    parts = [INTRODUCTION, _overview(shipped)]
    if sizes := size_sections(results.reports):
        parts += ["## Sizes, seeds and precision\n", *sizes]
    for report in shipped:
        parts.append(f"## {report.model}\n")
        if report.sentiment is not None:
            parts += [SENTIMENT_MEASURES, sentiment_table(report.sentiment)]
            if report.sentiment.neutral:
                parts += [NEUTRAL_MEASURES, neutral_table(report.sentiment)]
            parts.append(_plots(report))
            parts += [READING_MEASURES, reading_table(report.sentiment)]
            parts += [TYPED_MEASURES.format(rows=TYPED_ROWS), typed_table(report.sentiment)]
        if report.behaviour is not None:
            parts += ["### Behaviour\n", BEHAVIOUR_MEASURES, behaviour_table(report.behaviour)]
        if report.comparison is not None:
            parts += ["### What you might take instead\n", comparison_tables(report.comparison)]
        if report.language_model is not None:
            parts += [LANGUAGE_MODEL_MEASURES[report.language], language_model_tables(report.language_model)]
    parts += closed_vocabulary_section(results.closed_vocabulary)
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _overview(shipped: Sequence[Report]) -> str:
    rows = [
        [
            report.model,
            LANGUAGES[report.language],
            network(report),
            f"{report.parameters / 1e6:.2f} M",
            report.precision,
            "" if report.microseconds_per_token is None else f"{report.microseconds_per_token:.0f}",
            in_short(report),
            report.measured,
        ]
        for report in shipped
    ]
    heads = ["model", "language", "network", "weights", "precision", "µs a token", "in short", "measured"]
    return markdown_table(heads, rows) + (
        "\nµs a token: one row alone on one core in ONNX Runtime, tokenisation not included, no other measurement running. Machines "
        "differ from day to day by half as much again: compare times of the same date and kind of model only. In the plot stars "
        "ship, dots are other sizes, seeds and precisions. Accuracy is the mean over test sets, perplexity the geometric mean over corpora.\n\n"
        "![Quality against time for a token](quality/speed.png)\n"
    )


def sentiment_table(report: SentimentReport) -> str:
    """Measures of every set, and the sentences that every version must get right."""
    rows = [
        [
            s.title,
            f"{s.rows:,}",
            *(f"{100 * v:.1f}" for v in (s.accuracy, s.macro_f1, s.macro_recall, s.ece)),
            "" if s.ece_by_chance is None else f"{100 * s.ece_by_chance:.1f}",
            f"{s.nll:.3f}",
            s.note,
        ]
        for s in report.sets
    ]
    heads = ["set", "rows", "accuracy %", "macro-F1 %", "macro recall %", "ECE %", "by chance", "NLL", "note"]
    seeds = [[seed.text, seed.expected, f"{seed.label}, {seed.probability:.0%}"] for seed in report.seeds]
    return markdown_table(heads, rows) + "\n" + markdown_table(["sentence", "expected", "answer"], seeds)


def neutral_table(report: SentimentReport) -> str:
    """How firmly sides are taken on texts without a verdict."""
    rows = [
        [s.title, f"{s.rows:,}", *(f"{100 * v:.1f}" for v in (s.confidence, s.firm, s.positive)), s.note]
        for s in report.neutral
    ]
    heads = [
        "texts without a verdict",
        "rows",
        "mean confidence %",
        f"confidence {FIRM:.0%} or more, %",
        "positive %",
        "note",
    ]
    return markdown_table(heads, rows)


def reading_table(report: SentimentReport) -> str:
    """Accuracy while texts are being read, and errors among the surest texts."""
    rows = []
    for s in report.sets:
        if (curves := s.curves) is not None:
            errors = np.interp(COVERAGES, curves.coverage, curves.risk).tolist()
            shown = [*(curves.accuracy_after[share] for share in READ_SHARES), *errors]
            rows.append([s.title, *(f"{100 * value:.1f}" for value in shown)])
    heads = [f"read {share:.0%}" for share in READ_SHARES] + [f"errors at {coverage:.0%}" for coverage in COVERAGES]
    return markdown_table(["set", *heads], rows)


def typed_table(report: SentimentReport) -> str:
    """Accuracy on texts as people type them; a way that changes no text of a set has no number."""
    sets = [s for s in report.sets if s.typed is not None]
    ways = list(dict.fromkeys(way for s in sets for way in s.typed or ()))
    rows = [
        [s.title, *(f"{100 * (s.typed or {})[way]:.1f}" if way in (s.typed or {}) else "" for way in ways)]
        for s in sets
    ]
    return markdown_table(["set", *ways], rows)


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


def _name(report: Report) -> str:
    return report.model.replace("@", "-")
