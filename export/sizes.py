"""Sizes, seeds and precisions beside what ships: tables, and the points of the speed plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from export.evaluate import LARGE, Report
from export.markdown import markdown_table

LANGUAGES = {"en": "English", "zh": "Chinese"}
# Sets that a mean leaves out: dev rows chose the model; ChnSentiCorp's rows outside its train part count once already.
NOT_IN_THE_MEAN = frozenset({"sst2_dev", "chnsenticorp_test"})

MOST_WEIGHTS = {"sentiment": 3_000_000, "language-model": 5_500_000}  # of a model that ships

HOW_IT_IS_CHOSEN = {
    "sentiment": """Accuracy in %, on the same rows. Column *dev* is the mean accuracy over the dev parts, among them
298 everyday texts that are not the test's; it alone may choose what ships (★), beside weights and time a token. {rank}The mean is over the test
sets, which choose nothing.
""",
    "language-model": """Perplexity per {unit}, on the same text; lower is better. Column *dev* is in nats a piece, on documents held
back from the training text (drawn by each seed); it alone may choose what ships (★), beside weights and time a token. {rank}The mean is
geometric, over the corpora's own held-out parts, which choose nothing.
""",
}
SEEDS = """The same recipe with other seeds: mean ± standard deviation.
"""


@dataclass(frozen=True)
class Point:
    """A bundle on the speed plot; ``size`` names its network and precision."""

    size: str
    microseconds: float
    quality: float
    shipped: bool


def kinds(reports: Iterable[Report]) -> dict[tuple[str, str], list[Report]]:
    """Reports of one task and language together: those that can be compared."""
    found: dict[tuple[str, str], list[Report]] = {}
    for report in reports:
        found.setdefault((report.task, report.language), []).append(report)
    return found


def network(report: Report) -> str:
    """Cell and sizes, for readers."""
    return f"{report.cell.upper()} {report.num_layers} × {report.hidden_size}"


def scores(report: Report) -> dict[str, float]:
    """What a bundle is compared by: accuracy (0..1) of each test set, or perplexity on each corpus; by title."""
    if report.sentiment is not None:
        return {s.title: s.accuracy for s in report.sentiment.sets if s.key not in NOT_IN_THE_MEAN}
    if report.language_model is not None:
        return {c.corpus: c.predictors[0].perplexity for c in report.language_model.corpora}
    return report.perplexities or {}


def rows_of(report: Report) -> dict[str, int]:
    """How much of each test set a bundle was measured on: rows; of a language model 0."""
    if report.sentiment is not None:
        return {s.key: s.rows for s in report.sentiment.sets}
    return dict.fromkeys(scores(report), 0)


def mean_score(report: Report, titles: Sequence[str]) -> float:
    """Mean accuracy; geometric mean of perplexities."""
    values = [scores(report)[title] for title in titles]
    return statistics.mean(values) if report.task == "sentiment" else statistics.geometric_mean(values)


def shared_titles(reports: Sequence[Report]) -> list[str]:
    """What all the reports were measured on."""
    first, *others = (scores(report) for report in reports)
    return [title for title in first if all(title in other for other in others)]


def speed_panels(reports: Iterable[Report]) -> dict[str, list[Point]]:
    """What :func:`export.plots.plot_speed` shows: what the y axis is -> the bundles of a task and language."""
    panels = {}
    for (task, language), members in kinds(reports).items():
        measured = [r for r in members if scores(r) and r.microseconds_per_token is not None]
        if not measured or not (titles := shared_titles(measured)):
            continue
        what = "mean accuracy" if task == "sentiment" else "mean perplexity (lower is better)"
        panels[f"{LANGUAGES[language]}: {what}"] = [
            Point(
                size=f"{network(r)}{'' if r.precision == 'float32' else f' {r.precision}'}",
                microseconds=r.microseconds_per_token or 0.0,
                quality=mean_score(r, titles),
                shipped=not r.further,
            )
            for r in measured
        ]
    return panels


def size_sections(reports: Iterable[Report]) -> list[str]:
    """For each task and language with further bundles: a table of all, and one of seeds."""
    parts = []
    for (task, language), members in kinds(reports).items():
        measured = [r for r in members if scores(r)]
        if any(r.further for r in measured):
            kind = "sentiment" if task == "sentiment" else "language models"
            unit = "word" if language == "en" else "character"
            parts.append(f"### {LANGUAGES[language]} {kind}\n")
            parts.append(HOW_IT_IS_CHOSEN[task].format(unit=unit, rank=rank_by_dev(measured)))
            parts.append(size_table(measured))
            if seeds := seed_table(measured):
                parts += [SEEDS, seeds]
    return parts


def rank_by_dev(reports: Sequence[Report]) -> str:
    """Where the shipped bundle stands by what may choose, among those small enough to ship in its precision."""
    shipped = [r for r in reports if not r.further]
    if len(shipped) != 1 or (dev := shipped[0].dev) is None:
        return ""
    most, ours = MOST_WEIGHTS[shipped[0].task], shipped[0]
    small = [r.dev for r in reports if r.dev is not None and r.parameters <= most and r.precision == ours.precision]
    order = sorted(small, reverse=ours.task == "sentiment")
    if len(order) == 1:
        return ""
    return f"By it the shipped bundle is number {order.index(dev) + 1} of {len(order)} with at most {most / 1e6:g} M weights. "


def size_table(reports: Sequence[Report]) -> str:
    """One line a bundle, the fastest first."""
    titles = shared_titles(reports)
    rows = [
        [
            f"**{network(r)} ★**" if not r.further else network(r) + " †" * bool(r.rows_cut) + " ‡" * r.earlier,
            f"{r.parameters / 1e6:.2f} M",
            r.precision,
            "" if r.seed is None else str(r.seed),
            r.trained,
            "" if r.microseconds_per_token is None else f"{r.microseconds_per_token:.1f}",
            "" if r.dev is None else _shown(r.dev, "sentiment") if r.task == "sentiment" else f"{r.dev:.3f}",
            _shown(mean_score(r, titles), r.task),
            *(_shown(scores(r)[title], r.task) for title in titles),
        ]
        for r in sorted(reports, key=lambda r: r.microseconds_per_token or 0.0)
    ]
    heads = ["network", "weights", "precision", "seed", "trained", "µs a token", "dev", "mean", *titles]
    cut = {r.rows_cut for r in reports if r.rows_cut}
    note = f"\n†: more than {LARGE / 1e6:.0f} M weights; at most {max(cut):,} rows of each set.\n" if cut else ""
    if any(r.earlier for r in reports):
        note += "\n‡: measured in an earlier run, on the same rows; the time a token is that of a bundle of the same network in this run.\n"
    return markdown_table(heads, rows) + note


def seed_table(reports: Sequence[Report]) -> str:
    """One line for each recipe that was run with several seeds; empty if none was."""
    recipes: dict[tuple[str, str], dict[int, Report]] = {}
    for r in reports:
        if r.recipe is not None and r.seed is not None:
            recipes.setdefault((r.recipe, r.precision), {}).setdefault(r.seed, r)
    titles = shared_titles(reports)
    rows = []
    for by_seed in recipes.values():
        if len(by_seed) > 1:
            runs = [by_seed[seed] for seed in sorted(by_seed)]
            columns = [[mean_score(r, titles) for r in runs], *([scores(r)[title] for r in runs] for title in titles)]
            shown = [
                f"{_shown(statistics.mean(c), runs[0].task)} ± {_shown(statistics.stdev(c), runs[0].task)}"
                for c in columns
            ]
            ships = any(not r.further for r in runs)
            rows.append([network(runs[0]) + " ★" * ships, ", ".join(map(str, sorted(by_seed))), *shown])
    return markdown_table(["network", "seeds", "mean", *titles], rows) if rows else ""


def _shown(value: float, task: str) -> str:
    return f"{100 * value:.1f}" if task == "sentiment" else f"{value:.1f}"
