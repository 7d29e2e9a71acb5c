"""Plots of evaluation reports, as PNG files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from export.evaluate_sentiment import SetCurves, SetResult
from export.sizes import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_RANGE = 0.02  # of an axis of quality, as a share of its upper end
DPI = 110
COLUMNS = 3


def plot_reliability(path: Path, sets: Sequence[SetResult]) -> None:
    """Accuracy against confidence for each set; the bars would touch the diagonal of a perfectly calibrated model."""
    rows = math.ceil(len(sets) / COLUMNS)
    with _figure(path, rows, COLUMNS, (3.2 * COLUMNS, 3.0 * rows)) as axes:
        for axis, (result, curves) in zip(axes, _with_curves(sets), strict=False):
            bins = len(curves.bin_share)
            axis.bar(
                [(i + 0.5) / bins for i in range(bins)],
                curves.bin_accuracy,
                1 / bins,
                color="#7aa6c2",
                edgecolor="white",
            )
            axis.plot([0, 1], [0, 1], color="#444444", linewidth=0.8, linestyle="--")
            texts = [share / max(curves.bin_share) * 0.25 for share in curves.bin_share]
            axis.bar([(i + 0.5) / bins for i in range(bins)], texts, 1 / bins, color="#d9822b", alpha=0.6)
            axis.set(title=f"{result.title}: ECE {result.ece:.1%}", xlim=(1 / 3, 1), ylim=(0, 1))
            axis.set(xlabel="confidence", ylabel="accuracy; orange: texts")
        for axis in axes[len(sets) :]:
            axis.axis("off")


def plot_risk_coverage(path: Path, sets: Sequence[SetResult]) -> None:
    """Errors among the surest texts, for every share of texts answered."""
    with _figure(path, 1, 1, (6.4, 4.2)) as (axis,):
        for result, curves in _with_curves(sets):
            axis.plot(curves.coverage, curves.risk, label=result.title)
        axis.set(
            xlabel="coverage: share of texts answered, surest first",
            ylabel="risk: share of errors among them",
            xlim=(0, 1),
        )
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)


def plot_reading(path: Path, sets: Sequence[SetResult]) -> None:
    """Accuracy while a text is being read."""
    with _figure(path, 1, 1, (6.4, 4.2)) as (axis,):
        for result, curves in _with_curves(sets):
            shares = [float(share) for share in curves.accuracy_after]
            axis.plot(
                [100 * s for s in shares],
                list(curves.accuracy_after.values()),
                marker="o",
                markersize=3,
                label=result.title,
            )
        axis.set(xlabel="share of the text's tokens read, %", ylabel="accuracy")
        axis.legend(fontsize=8)


def plot_speed(path: Path, panels: Mapping[str, Sequence[Point]]) -> None:
    """Quality against time.

    Args:
        path: of the PNG.
        panels: what the y axis shows -> the bundles; those that ship are stars, one colour for each size.
    """
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    with _figure(path, math.ceil(len(panels) / 2), 2, (10.0, 4.2 * math.ceil(len(panels) / 2))) as axes:
        for axis, (title, points) in zip(axes, panels.items(), strict=False):
            sizes = list(dict.fromkeys(point.size for point in sorted(points, key=lambda p: p.microseconds)))
            for point in points:
                marker, edge = ("*", 14) if point.shipped else ("o", 6)
                colour = f"C{sizes.index(point.size)}"
                axis.plot(point.microseconds, point.quality, marker=marker, markersize=edge, color=colour)
            for size in sizes:
                best = next((p for p in points if p.size == size and p.shipped), None)
                shown = best or next(p for p in points if p.size == size)
                axis.annotate(
                    size,
                    (shown.microseconds, shown.quality),
                    textcoords="offset points",
                    xytext=(7, 5),
                    fontsize=8,
                )
            least, most = min(p.microseconds for p in points), max(p.microseconds for p in points)
            axis.set_xscale("log")
            axis.set_xlim(least / 1.5, most * 2.5)  # room for the last name
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set(xlabel="µs a token, one core, one row", ylabel=title)
            axis.margins(y=0.15)
            axis.set_ylim(*wide_enough(*axis.get_ylim()))
        for axis in axes[len(panels) :]:
            axis.axis("off")


def wide_enough(low: float, high: float) -> tuple[float, float]:
    """Limits of an axis around the same middle: differences that are next to nothing are not blown up."""
    missing = max(0.0, LEAST_RANGE * high - (high - low))
    return low - missing / 2, high + missing / 2


def _with_curves(sets: Sequence[SetResult]) -> Iterator[tuple[SetResult, SetCurves]]:
    return ((result, result.curves) for result in sets if result.curves is not None)


@contextmanager
def _figure(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[list[Axes]]:
    """Axes of a new figure, row by row, without a display; written to ``path`` at the end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for axis in axes:
        axis.grid(visible=True, alpha=0.3)
    yield axes
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
