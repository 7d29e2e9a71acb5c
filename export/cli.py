"""``rnnserve export`` (a checkpoint becomes a verified bundle) and ``rnnserve evaluate`` (what a bundle is worth)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.markup import escape

from export.bundle import OutputError, export_bundle
from export.parity import TOLERANCE, ParityError
from models.checkpoint import CheckpointError
from models.corpora import CorpusError
from service.bundle import Precision
from service.errors import BundleError

app = typer.Typer()

USAGE_ERROR = 2


@app.command("export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a trained checkpoint.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the bundle; the checkpoint's own if not given.")] = None,
    version: Annotated[str, typer.Option(help="Version of the model on the wire.")] = "1",
    precision: Annotated[str, typer.Option(help="float32, or int8 (LSTM only).")] = "float32",
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help=f"Largest difference allowed between torch and ONNX Runtime; by default {TOLERANCE}."),
    ] = None,
) -> None:
    """Convert a checkpoint to ONNX, prove that nothing changed, and write the bundle."""
    console = Console(stderr=True)
    if precision not in get_args(Precision):
        raise typer.BadParameter(f"must be one of {', '.join(get_args(Precision))}", param_hint="--precision")
    try:
        manifest = export_bundle(checkpoint, out or checkpoint, version, tolerance, cast(Precision, precision))
    except (CheckpointError, ParityError, OutputError, ValueError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    parity = manifest.parity
    console.print(
        f"{manifest.id}: {manifest.parameters:,} weights, {len(parity.cases)} parity cases, worst error {parity.max_error:.2g} "
        f"(tolerance {parity.tolerance:g}), batch and chunk invariance {parity.max_invariance_error:.2g}; wrote {out or checkpoint}",
        highlight=False,
    )


@app.command("evaluate")
def evaluate_command(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of exported bundles.")],
    data: Annotated[Path | None, typer.Option(help="The corpora folder.")] = None,
    texts: Annotated[Path | None, typer.Option(help="Your own labelled CSV or JSONL, instead of the corpora.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows of each set.")] = None,
    dev: Annotated[bool, typer.Option("--dev", help="Dev parts only: what may choose a model.")] = False,
    behaviour: Annotated[
        bool, typer.Option("--behaviour", help="The behavioural suite alone; needs no corpora.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Sentiment bundles beside what you might take instead (extra: compare).")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All of it, with tables and plots in --docs and the table of the README beside it."),
    ] = False,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --all: a bundle of another size or seed, measured on the same rows; give it several times."
        ),
    ] = None,
    benchmark: Annotated[
        list[Path] | None,
        typer.Option(help="With --all: a checkpoint of a closed-vocabulary benchmark; give it several times."),
    ] = None,
    docs: Annotated[Path, typer.Option(help="Folder for quality.md and the plots of --all.")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="With --all: processes, one core each.")] = 2,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Note the results in the bundle.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of a model run.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: JSON instead of tables.")] = False,
) -> None:
    """Measure bundles on texts they were not trained on. With --limit nothing is written: a part is no measure of the whole."""
    from export.baselines import MissingPackageError
    from export.card import note_in_bundle
    from export.closed_vocabulary import read_closed_vocabulary
    from export.evaluate import Evaluation, EvaluationError, Report, What
    from export.evaluate_all import evaluate_all
    from export.quality_page import Results, write_quality_page
    from export.readme import update_readme
    from export.tables import print_report

    console = Console(stderr=True)
    if (also or benchmark) and not everything:
        raise typer.BadParameter("goes with --all", param_hint="--also" if also else "--benchmark")
    what: What = "behaviour" if behaviour else "comparison" if compare else "quality"
    evaluation = Evaluation(data, texts, limit, dev, what, threads, console)
    reports: list[Report] = []
    try:
        benchmarks = [read_closed_vocabulary(folder) for folder in benchmark or []]
        if everything:
            measured = iter(evaluate_all(bundles, also or [], evaluation.corpora(), limit, workers, console))
        else:
            measured = map(evaluation.run, bundles)
        for folder, report in zip(bundles, measured, strict=False):
            reports.append(report)
            if write and limit is None:
                note_in_bundle(folder, report)
            if not as_json:
                print_report(Console(), report)
        reports += measured  # further ones; their bundles stay as they are
    except (BundleError, CheckpointError, CorpusError, EvaluationError, MissingPackageError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(USAGE_ERROR) from error
    if everything and limit is None:
        results = write_quality_page(docs, Results(reports=reports, closed_vocabulary=benchmarks))
        readme = docs.parent / "README.md"
        written = f"{docs / 'quality.md'}{f' and {readme}' if update_readme(readme, results.reports) else ''}"
        console.print(f"wrote {written}", highlight=False)
    if as_json:
        typer.echo(json.dumps([report.model_dump(mode="json") for report in reports], ensure_ascii=False))


@app.command("compare-cells")
def compare_cells_command(
    data: Annotated[Path, typer.Option(help="The corpora folder.")],
    out: Annotated[Path, typer.Option(help="The page; numbers and plots go beside it.")] = Path("docs/cells.md"),
    max_minutes: Annotated[float, typer.Option(min=0.1, help="Of the whole; what has no time left is not run.")] = 20.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 2,
) -> None:
    """Compare RNN, LSTM and GRU: speed, text, memory, gradients. Killed, it goes on; complete, it writes the page anew."""
    from export.cells_report import write_report
    from export.compare_cells import CompareError, Settings, compare_cells

    console = Console(stderr=True)
    try:
        comparison = compare_cells(data, out.with_suffix(".json"), Settings(), max_minutes, workers, console)
    except (CorpusError, CompareError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(USAGE_ERROR) from error
    write_report(comparison, out)
    console.print(f"wrote {out}", highlight=False, markup=False)
