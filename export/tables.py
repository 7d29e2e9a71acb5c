"""Reports as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from export.behaviour import BehaviourReport
from export.compare import ComparisonReport
from export.evaluate import Report
from export.evaluate_language_model import LanguageModelReport
from export.evaluate_sentiment import SentimentReport
from export.neutral import FIRM


def print_report(console: Console, report: Report) -> None:
    """Everything in a report, one table per kind."""
    size = f"{report.cell} {report.num_layers}x{report.hidden_size}, {report.parameters / 1e6:.2f} M weights"
    console.print(f"\n[bold]{report.model}[/bold] ({size})", highlight=False)
    if report.sentiment is not None:
        _print_sentiment(console, report.sentiment)
    if report.behaviour is not None:
        _print_behaviour(console, report.behaviour)
    if report.comparison is not None:
        _print_comparison(console, report.comparison)
    if report.language_model is not None:
        _print_language_model(console, report.language_model)


def _print_sentiment(console: Console, report: SentimentReport) -> None:
    table = numeric_table("set", ["rows", "accuracy", "macro-F1", "macro-R", "ECE", "NLL"])
    for s in report.sets:
        shares = (f"{value:.2%}" for value in (s.accuracy, s.macro_f1, s.macro_recall, s.ece))
        table.add_row(s.title, f"{s.rows:,}", *shares, f"{s.nll:.3f}")
    console.print(table)
    for note, titles in _notes(report).items():
        console.print(f"  {', '.join(titles)}: {note}", highlight=False)
    if report.neutral:
        sides = numeric_table("texts without a verdict", ["rows", "mean confidence", f"{FIRM:.0%} or more", "positive"])
        for n in report.neutral:
            sides.add_row(n.title, f"{n.rows:,}", *(f"{value:.1%}" for value in (n.confidence, n.firm, n.positive)))
        console.print(sides)
    if report.seeds:
        seeds = Table("sentence", "expected", "answer", "probability")
        for seed in report.seeds:
            style = "green" if seed.label == seed.expected else "red"
            seeds.add_row(Text(seed.text), seed.expected, Text(seed.label, style=style), f"{seed.probability:.1%}")
        console.print(seeds)


def _print_behaviour(console: Console, report: BehaviourReport) -> None:
    table = numeric_table("behaviour", ["cases", "passed"])
    for c in report.categories:
        table.add_row(c.category, str(c.cases), f"{c.pass_rate:.1%}")
    console.print(table)
    console.print("  for instance wrong, with the probability of positive:", style="dim")
    for c in report.categories:
        for failure in c.failures[:1]:
            answers = "; ".join(f"{t} {p:.0%}" for t, p in zip(failure.texts, failure.positive, strict=True))
            console.print(f"  {c.category}: {answers}", style="dim", highlight=False, markup=False)


def _print_comparison(console: Console, report: ComparisonReport) -> None:
    table = Table("measure", title=f"accuracy on the same rows, {max(report.rows.values()):,} of each set at most")
    for contender in report.contenders:
        table.add_column(contender.name, justify="right")
    for key, title in report.titles.items():
        table.add_row(title, *(f"{c.accuracy[key]:.1%}" for c in report.contenders))
    table.add_section()
    table.add_row("ms for one text", *(f"{c.milliseconds:.2f}" for c in report.contenders))
    table.add_row("MB resident", *(f"{c.megabytes:.0f}" for c in report.contenders))
    console.print(table)


def _print_language_model(console: Console, report: LanguageModelReport) -> None:
    numbers = ["ppl", "with ends", "bits/char", "top-1", "top-3", "keys saved"]
    note = f"ppl: perplexity per {report.unit}; with ends: line and document ends count as {report.unit}s too"
    console.print(note, style="dim", highlight=False)
    for corpus in report.corpora:
        asked = f"{corpus.units:,} {report.unit}s, {corpus.words_asked:,} asked for, {corpus.words_typed:,} typed"
        table = numeric_table("model", numbers, title=f"{corpus.corpus}: {asked}")
        for p in corpus.predictors:
            perplexities = f"{p.perplexity:.1f}", f"{p.perplexity_with_ends:.1f}", f"{p.bits_per_character:.3f}"
            table.add_row(p.name, *perplexities, *(f"{v:.1%}" for v in (p.top1, p.top3, p.keystroke_savings)))
        console.print(table)


def _notes(report: SentimentReport) -> dict[str, list[str]]:
    notes: dict[str, list[str]] = {}
    for s in report.sets:
        if s.note:
            notes.setdefault(s.note, []).append(s.title)
    return notes


def numeric_table(first: str, numbers: list[str], title: str | None = None) -> Table:
    """A table whose first column names a thing and whose others hold numbers."""
    table = Table(first, title=title)
    table.columns[0].no_wrap = True
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
