"""``docs/cells.md`` and its plots, made from the numbers of a comparison; no number in the text is typed by hand."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # before pyplot: no screen is needed

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from export.compare_cells import CELLS, FILLER, TRACE, Comparison, Result, Task, plan
from models.cell_tasks import ALWAYS_ONE, BATCH, COPIED, SOLVED, SYMBOLS

LABELS = {
    "rnn": "RNN",
    "rnn-wide": "RNN, wide",
    "lstm": "LSTM",
    "gru": "GRU",
    "gru-pools": "GRU with pools",
}
COLOURS = {"rnn": "#c44e52", "rnn-wide": "#dd8452", "lstm": "#4c72b0", "gru": "#55a868", "gru-pools": "#8172b3"}
TEXT_VARIANTS = ("rnn", "rnn-wide", "lstm", "gru")
FAINT = 1e-3  # a gradient this small beside the nearest one's is called lost


def write_report(comparison: Comparison, document: Path) -> None:
    """Write the page, and its plots into a folder of the same name beside it."""
    plots = document.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    for name, draw in PLOTS.items():
        figure, axes = plt.subplots(
            1, 2 if name == "gradients" else 1, figsize=(10 if name == "gradients" else 6.4, 3.8)
        )
        draw(comparison, list(axes) if name == "gradients" else [axes])
        figure.tight_layout()
        figure.savefig(plots / f"{name}.png", dpi=110, metadata={"Software": None})
        plt.close(figure)
    document.write_text(markdown(comparison, plots.name), encoding="utf-8")


# -- looking results up ------------------------------------------------------------------------------------------------


def results_of(comparison: Comparison, task: Task, variant: str, length: int = 0) -> list[Result]:
    """One result a seed."""
    return [
        result
        for result in comparison.results
        if (result.job.task, result.job.variant.name, result.job.length) == (task, variant, length)
    ]


def numbers_of(comparison: Comparison, task: Task, variant: str, number: str, length: int = 0) -> list[float]:
    """A number, once a seed."""
    return [result.outcome.numbers[number] for result in results_of(comparison, task, variant, length)]


def curve_of(
    comparison: Comparison, task: Task, variant: str, curve: str, mean: Callable[[Sequence[float]], float]
) -> list[float]:
    """A curve, point by point the mean over seeds."""
    curves = [result.outcome.curves[curve] for result in results_of(comparison, task, variant)]
    return [mean(points) for points in zip(*curves, strict=True)]


def geometric_mean(values: Sequence[float]) -> float:
    """For numbers of different orders of magnitude; zero counts as 1e-300."""
    return statistics.geometric_mean([max(value, 1e-300) for value in values])


def lost_at(curve: Sequence[float]) -> int | None:
    """The first distance from which on the gradient stays below ``FAINT``; None if it never does."""
    far = [distance for distance, value in enumerate(curve) if value >= FAINT]
    last = far[-1] if far else -1
    return last + 1 if last + 1 < len(curve) else None


def was_cut(comparison: Comparison, result: Result) -> bool:
    """Whether a memory task was ended by the clock: neither solved nor at its last step."""
    job, outcome, settings = result.job, result.outcome, comparison.settings
    planned = {"adding": settings.adding_steps, "copying": settings.copy_steps}
    solved = outcome.numbers.get("solved", 0.0) == 1.0 or outcome.numbers.get("accuracy", 0.0) > 0.99
    return job.task in planned and outcome.steps < planned[job.task] and not solved


# -- text --------------------------------------------------------------------------------------------------------------


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation over seeds."""
    if not values:
        return "not run"
    mean = f"{statistics.mean(values):,.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["--"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_table(comparison: Comparison) -> str:
    """Weights and speed of cells of the shipped classifiers' size."""
    rows = [
        [
            LABELS[s.cell],
            f"{s.weights:,}",
            f"{s.training_tokens_per_s:,.0f}",
            f"{s.step_us:.0f}",
            f"{s.text_us:.0f}",
        ]
        for s in comparison.speed
    ]
    return table(["cell", "weights", "training, tokens/s", "one token alone, µs", "a text of 32, µs per token"], rows)


def text_table(comparison: Comparison) -> str:
    """Language model and classifier: quality at equal width, and at equal weights."""
    rows = []
    for variant in TEXT_VARIANTS:
        found = results_of(comparison, "sentiment", variant)
        rows.append(
            [
                LABELS[variant],
                str(found[0].job.variant.hidden_size) if found else "",
                f"{found[0].outcome.numbers['weights']:,.0f}" if found else "",
                spread(percent(numbers_of(comparison, "sentiment", variant, "accuracy")), 1),
                spread(numbers_of(comparison, "language-model", variant, "word_perplexity"), 1),
            ]
        )
    return table(["cell", "width", "classifier's weights", "SST-2 dev, %", "word perplexity"], rows)


def percent(values: Iterable[float]) -> list[float]:
    """0..1 -> 0..100."""
    return [100 * value for value in values]


def adding_table(comparison: Comparison) -> str:
    """Solved runs and errors by length."""
    rows = []
    for length in comparison.settings.adding_lengths:
        row = [str(length)]
        for cell in CELLS:
            solved = numbers_of(comparison, "adding", cell, "solved", length)
            errors = numbers_of(comparison, "adding", cell, "error", length)
            row.append(f"{sum(solved):.0f} of {len(solved)} ({statistics.mean(errors):.4f})" if solved else "not run")
        rows.append(row)
    return table(["length", *(LABELS[cell] for cell in CELLS)], rows)


def copying_table(comparison: Comparison) -> str:
    """Share of symbols repeated right by delay."""
    rows = []
    for delay in comparison.settings.copy_delays:
        means = (percent(numbers_of(comparison, "copying", cell, "accuracy", delay)) for cell in CELLS)
        rows.append([str(delay), *(spread(values, 1) for values in means)])
    return table(["blanks in between", *(LABELS[cell] for cell in CELLS)], rows)


def gradient_table(comparison: Comparison) -> str:
    """Gradients at a few distances, fresh and trained."""
    most = comparison.settings.distances - 1
    distances = [d for d in (1, 5, 10, 20, 50, 100) if d < most] + [most]
    rows = []
    for state in ("fresh", "trained"):
        for variant in TEXT_VARIANTS:
            curve = curve_of(comparison, "language-model", variant, f"{state}_gradient", geometric_mean)
            if curve:
                rows.append([f"{LABELS[variant]}, {state}", *(f"{curve[d]:.1e}" for d in distances)])
    return table(["tokens back", *map(str, distances)], rows)


def gradient_sentences(comparison: Comparison) -> str:
    """Where each cell's gradient is lost."""
    sentences = []
    for state, words in (("fresh", "Before training"), ("trained", "After training on text")):
        parts = []
        for variant in TEXT_VARIANTS:
            curve = curve_of(comparison, "language-model", variant, f"{state}_gradient", geometric_mean)
            if curve:
                at = lost_at(curve)
                where = f"from {at} tokens on" if at is not None else f"at no distance up to {len(curve) - 1}"
                parts.append(f"{LABELS[variant]}: {where}")
        sentences.append(f"{words} the gradient is below {FAINT:g} of its value at distance 0: {'; '.join(parts)}.")
    return "\n".join(sentences)


def filler_table(comparison: Comparison) -> str:
    """Accuracy on a first clause by the number of filler tokens behind it."""
    lengths = comparison.settings.filler_lengths
    rows = []
    for variant in (*TEXT_VARIANTS, "gru-pools"):
        curve = curve_of(comparison, "sentiment", variant, "after_filler", statistics.mean)
        if curve:
            rows.append([LABELS[variant], *(f"{100 * value:.0f}" for value in curve)])
    return table(["filler tokens", *map(str, lengths)], rows)


def trace_table(comparison: Comparison) -> str:
    """The probability of positive after every piece of one sentence."""
    variants = [v for v in (*TEXT_VARIANTS, "gru-pools") if results_of(comparison, "sentiment", v)]
    if not variants:
        return "Not run."
    curves = [curve_of(comparison, "sentiment", v, "trace", statistics.mean) for v in variants]
    rows = [
        [piece, *(f"{100 * point:.0f}" for point in points)]
        for piece, points in zip(comparison.trace_pieces, zip(*curves, strict=True), strict=True)
    ]
    return table(["after", *(LABELS[v] for v in variants)], rows)


def cut_sentence(comparison: Comparison) -> str:
    """How many runs the clock has ended."""
    cut = [result for result in comparison.results if was_cut(comparison, result)]
    if not cut:
        return "No run of the two memory tasks was ended by the clock."
    names = sorted({f"{LABELS[r.job.variant.name]} at {r.job.length} ({r.job.task})" for r in cut})
    return (
        f"{len(cut)} runs of the two memory tasks were ended by the clock before their last step: {', '.join(names)}."
    )


def markdown(comparison: Comparison, plots: str) -> str:
    """The whole page."""
    s = comparison.settings
    return f"""# RNN, LSTM, GRU side by side

Every number on this page was measured by one command and is true of the lengths that stand beside it, not beyond:

```
rnnserve compare-cells --data DIR --max-minutes {comparison.max_minutes:g} --workers {comparison.workers}
```

{comparison.machine}; torch {comparison.versions["torch"]}, ONNX Runtime {comparison.versions["onnxruntime"]}.
{len(comparison.results)} of {len(plan(s))} runs, {comparison.minutes:.1f} minutes, {s.seeds} seeds; ± is the standard deviation over seeds.
The numbers: [cells.json]({plots}.json).

## A sentence, read word by word

A recurrent cell reads a text as people do: one word after the other, from left to right. What it knows of the past is one
vector h. At each word x it makes the next one, and a classifier can be asked at any point how the text feels so far:

    h_t = tanh(W x_t + U h_(t-1) + b)

Small classifiers (width {s.hidden_size}, embedding {s.embedding_dim}, {s.sentiment_epochs} epochs of SST-2 phrases) read "{TRACE}".
The probability of *positive* in percent, mean over seeds:

{trace_table(comparison)}

![the probability of positive after each piece]({plots}/trace.png)

## Why the plain cell forgets: the gradient fades

To learn that an early word decides a late verdict, the loss must be felt at that word. On the way back the gradient passes every
step in between, and each step multiplies it by U and by the slope of the tanh, which is at most 1. A product of many factors
below one vanishes; of many above one, it explodes (Hochreiter 1991; Bengio, Simard & Frasconi 1994).

The gates of the LSTM are the cure (Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000). Its memory c is not pushed
through a tanh at each step but kept, in the share that a gate f lets through, and added to:

    c_t = f * c_(t-1) + i * g        h_t = o * tanh(c_t)

Along c the gradient is multiplied by f alone, and f can stay near 1 for as long as the text needs. The GRU (Cho et al. 2014) does the
same with one gate less and one vector less: h_t = (1 - z) * n + z * h_(t-1).

Measured on the language models of the table further down: the gradient of the last output with respect to the input d tokens before it,
relative to d = 0 (geometric mean over seeds, on held-out text):

{gradient_table(comparison)}

{gradient_sentences(comparison)}

![gradient against distance, fresh and trained]({plots}/gradients.png)

## Memory alone: the adding problem and the copy task

**Adding.** Two of T numbers are marked, one in each half; say their sum at the end. Always saying 1 gives a mean squared error
of {ALWAYS_ONE:.3f}; below {SOLVED:g} the run counts as solved. Width {s.memory_size}, at most {s.adding_steps:,} steps of {BATCH} fresh sequences.
Solved runs, in brackets the mean error:

{adding_table(comparison)}

![error on the adding problem against length]({plots}/adding.png)

**Copying.** {COPIED} symbols out of {SYMBOLS}, then blanks, then repeat the symbols: chance is {100 / SYMBOLS:.1f} %. At most {s.copy_steps:,} steps. Symbols right, in percent:

{copying_table(comparison)}

![accuracy on the copy task against delay]({plots}/copying.png)

{cut_sentence(comparison)}

## What that means for text

The same recipe for all: a language model on {s.language_model_lines:,} lines of Tatoeba and self_dialogue ({s.language_model_epochs} epochs, open vocabulary of {s.vocab_size:,} pieces,
perplexity per word of held-out lines, the end of a line counted as a word), and the classifier from above. "RNN, wide" has
as many recurrent weights as the LSTM, so that what the gates bring is not mistaken for what weights bring.

{text_table(comparison)}

**How long does a verdict last?** A clause with a feeling stands first ("this film is awful."), then k pieces without one
("{FILLER.strip()}", over and over). Accuracy on the clause in percent, 50 is chance; these classifiers look at the last state only,
except the last row, which has the pools of the shipped models (the last state, and a running soft maximum over all states):

{filler_table(comparison)}

![accuracy of a first clause against filler]({plots}/filler.png)

## What it costs

A small classifier (width {s.speed_size}, embedding {s.speed_embedding}, vocabulary {s.speed_vocabulary:,}), one thread, median of {s.speed_rounds} rounds in turn. Training
is a whole step in float32 on batches of 64 x 64 tokens; the other columns are ONNX Runtime at batch 1.

{speed_table(comparison)}
"""


# -- plots -------------------------------------------------------------------------------------------------------------


def draw_trace(comparison: Comparison, axes: list[Axes]) -> None:
    """Probability of positive after each piece."""
    (ax,) = axes
    for variant in (*TEXT_VARIANTS, "gru-pools"):
        curve = curve_of(comparison, "sentiment", variant, "trace", statistics.mean)
        if curve:
            ax.plot(range(len(curve)), curve, marker="o", ms=3, color=COLOURS[variant], label=LABELS[variant])
    ax.set_xticks(range(len(comparison.trace_pieces)), comparison.trace_pieces, rotation=45, ha="right")
    ax.set(ylabel="probability of positive", ylim=(0, 1))
    ax.axhline(0.5, color="grey", lw=0.8, ls=":")
    _legend(ax)


def draw_gradients(comparison: Comparison, axes: list[Axes]) -> None:
    """Fresh on the left, trained on the right."""
    for ax, state in zip(axes, ("fresh", "trained"), strict=True):
        for variant in TEXT_VARIANTS:
            curve = curve_of(comparison, "language-model", variant, f"{state}_gradient", geometric_mean)
            if curve:
                ax.semilogy(range(len(curve)), curve, color=COLOURS[variant], label=LABELS[variant])
        ax.set(title=f"{state} cells", xlabel="tokens back", ylabel="gradient, relative", ylim=(1e-14, 20))
        _legend(ax)


def draw_adding(comparison: Comparison, axes: list[Axes]) -> None:
    """Error of every run, and the mean."""
    (ax,) = axes
    _draw_by_length(comparison, ax, "adding", "error", comparison.settings.adding_lengths)
    ax.axhline(ALWAYS_ONE, color="grey", lw=0.8, ls=":", label="always saying 1")
    ax.set(xscale="log", yscale="log", xlabel="length T", ylabel="mean squared error")
    _legend(ax)


def draw_copying(comparison: Comparison, axes: list[Axes]) -> None:
    """Accuracy of every run, and the mean."""
    (ax,) = axes
    _draw_by_length(comparison, ax, "copying", "accuracy", comparison.settings.copy_delays)
    ax.axhline(1 / SYMBOLS, color="grey", lw=0.8, ls=":", label="chance")
    ax.set(xscale="log", xlabel="blanks in between", ylabel="symbols right", ylim=(0, 1.05))
    _legend(ax)


def _draw_by_length(comparison: Comparison, ax: Axes, task: Task, number: str, lengths: Sequence[int]) -> None:
    for cell in CELLS:
        found = [(n, numbers_of(comparison, task, cell, number, n)) for n in lengths]
        found = [(n, values) for n, values in found if values]
        if not found:
            continue
        ax.plot([n for n, _ in found], [statistics.mean(v) for _, v in found], color=COLOURS[cell], label=LABELS[cell])
        for n, values in found:
            ax.plot([n] * len(values), values, ".", ms=4, color=COLOURS[cell], alpha=0.6)
    ax.set_xticks(list(lengths), [str(n) for n in lengths])


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=8)


def draw_filler(comparison: Comparison, axes: list[Axes]) -> None:
    """Accuracy on the first clause."""
    (ax,) = axes
    lengths = comparison.settings.filler_lengths
    for variant in (*TEXT_VARIANTS, "gru-pools"):
        curve = curve_of(comparison, "sentiment", variant, "after_filler", statistics.mean)
        if curve:
            ax.plot(lengths, curve, marker="o", ms=3, color=COLOURS[variant], label=LABELS[variant])
    ax.axhline(0.5, color="grey", lw=0.8, ls=":")
    ax.set(xlabel="filler pieces behind the clause", ylabel="accuracy", ylim=(0.4, 1.02))
    _legend(ax)


PLOTS: dict[str, Callable[[Comparison, list[Axes]], None]] = {
    "trace": draw_trace,
    "gradients": draw_gradients,
    "adding": draw_adding,
    "copying": draw_copying,
    "filler": draw_filler,
}
