"""``rnnserve export``: a checkpoint becomes a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from export.bundle import export_bundle
from export.parity import TOLERANCE, ParityError
from models.checkpoint import CheckpointError

app = typer.Typer()


@app.command("export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a trained checkpoint.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the bundle; the checkpoint's own if not given.")] = None,
    version: Annotated[str, typer.Option(help="Version of the model on the wire.")] = "1",
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference allowed between torch and ONNX Runtime.")] = TOLERANCE,
) -> None:
    """Convert a checkpoint to ONNX, prove that nothing changed, and write the bundle."""
    console = Console(stderr=True)
    try:
        manifest = export_bundle(checkpoint, out or checkpoint, version, tolerance)
    except (CheckpointError, ParityError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        raise typer.Exit(1) from error
    parity = manifest.parity
    console.print(
        f"{manifest.id}: {manifest.parameters:,} weights, {len(parity.cases)} parity cases, worst error {parity.max_error:.2g} "
        f"(tolerance {parity.tolerance:g}); wrote {out or checkpoint}",
        highlight=False,
    )
