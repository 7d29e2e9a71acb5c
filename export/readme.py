"""The table of the README between its markers, from evaluation reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.evaluate import Report
from export.markdown import markdown_table
from export.sizes import network

BEGIN, END = "<!-- quality: written by `rnnserve evaluate --all` -->", "<!-- /quality -->"
SHOWN_SETS = frozenset(
    {"sst2_test", "imdb_test", "yelp_test", "amazon_test"}
    | {"chnsenticorp_clean_test", "waimai_test", "online_shopping_test", "douban_test"}
)


def update_readme(path: Path, reports: Sequence[Report]) -> bool:
    """Write the table anew; False if there is no such file or it has no markers.

    Args:
        path: the README.
        reports: all that are known; those that ship are shown.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return False
    path.write_text(f"{before}{BEGIN}\n{readme_table(reports)}{END}{after}", encoding="utf-8")
    return True


def readme_table(reports: Sequence[Report]) -> str:
    """One line for each model that ships."""
    rows = [
        [
            report.model.split("@")[0],
            f"{network(report)}, {report.parameters / 1e6:.1f} M weights",
            "" if report.microseconds_per_token is None else f"{report.microseconds_per_token:.0f}",
            in_short(report),
        ]
        for report in reports
        if not report.further
    ]
    return markdown_table(["model", "network", "µs a token", "on held-out text"], rows)


def in_short(report: Report) -> str:
    """The numbers that a reader asks for first."""
    if report.sentiment is not None:
        sets = [f"{s.title} {100 * s.accuracy:.1f}" for s in report.sentiment.sets if s.key in SHOWN_SETS]
        return f"accuracy, %: {', '.join(sets)}"
    if report.language_model is not None and report.language_model.corpora:
        corpus = report.language_model.corpora[0]
        ours = corpus.predictors[0]
        return (
            f"{corpus.corpus}: perplexity per {report.language_model.unit} {ours.perplexity:.0f}, "
            f"next word among three {ours.top3:.0%}, keystrokes saved {ours.keystroke_savings:.0%}"
        )
    return ""
