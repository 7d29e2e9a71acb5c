"""The console command ``rnnserve``: serving always, training and export where PyTorch is installed, benchmarks in a checkout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import typer

import service.cli

SERVING_COMMANDS = frozenset({"serve", "predict", "models"})
TRAINING_COMMANDS = ("train", "calibrate", "evaluate", "export", "data", "compare-cells")
NO_TORCH = "This command needs the training tools: make train-tools"
USAGE_ERROR = 2


def missing_torch(name: str) -> Callable[[], None]:
    """A command that says what to install."""

    def command() -> None:
        typer.echo(NO_TORCH, err=True)
        raise typer.Exit(USAGE_ERROR)

    command.__doc__ = f"Needs PyTorch ({name})."
    return command


def build(command: str | None = None) -> typer.Typer:
    """The console command.

    Args:
        command: the subcommand that will run, if known. Importing PyTorch takes seconds and 200 MB, so one that does
            without it is built alone.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, export and serve recurrent text models.")
    app.add_typer(service.cli.app)
    if command in SERVING_COMMANDS:
        return app
    if has("torch"):
        for module in ("models.cli", "export.cli"):
            if has(module):
                app.add_typer(import_module(module).app)
    else:
        for name in TRAINING_COMMANDS:
            options = {"allow_extra_args": True, "ignore_unknown_options": True}
            app.command(name, context_settings=options)(missing_torch(name))
    checkout = str(Path(__file__).resolve().parent)
    if checkout not in sys.path:  # the benchmarks are not installed: they belong to a checkout
        sys.path.append(checkout)
    if has("benchmarks.cli"):
        app.add_typer(import_module("benchmarks.cli").app)
    return app


def has(module: str) -> bool:
    """Whether a module can be imported; does not import it, only its parent packages."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    """Entry point of the console script."""
    build(next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None))()


if __name__ == "__main__":
    main()
