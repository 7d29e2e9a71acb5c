"""``rnnserve train``, ``calibrate``, ``average`` and ``data pack``: recipes and data in, checkpoints out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.markup import escape

from models.averaging import write_average
from models.checkpoint import CheckpointError
from models.corpora import CorpusError
from models.data_pack import PackError, corpora_folder, write_pack
from models.loop import Run, TrainingError
from models.recipe import RecipeError, load_recipe
from models.train import recalibrate, train

app = typer.Typer()
data_app = typer.Typer(no_args_is_help=True, help="Corpora for training.")
app.add_typer(data_app, name="data")
USAGE_ERROR = 2
RECIPES = Path(__file__).parent / "recipes"


def find_recipe(name: str) -> Path:
    """A path to a TOML file, or the name of a recipe that comes with rnnserve."""
    shipped = RECIPES / f"{name}.toml"
    return shipped if shipped.is_file() and not Path(name).is_file() else Path(name)


@app.command("train")
def train_command(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (sentiment-en, lm-zh, ...) or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    data: Annotated[Path | None, typer.Option(help="The corpora folder, or a data pack.")] = None,
    texts: Annotated[Path | None, typer.Option(help="Your own CSV or JSONL with the columns text and label.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model, instead of the recipe's.")] = None,
    language: Annotated[str | None, typer.Option(help="en or zh, instead of the recipe's.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Start from this checkpoint or bundle: its tokenizer and weights.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A trained classifier for the recipe's distillation stage; several are averaged."),
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Use this tokenizer.json instead of training one.")] = None,
    max_minutes: Annotated[
        float, typer.Option(min=0.01, help="Stop in time; the learning rate ends low all the same.")
    ] = math.inf,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves torch's choice.")] = 0,
) -> None:
    """Train a model. A run that was killed goes on where it was: give the same command again."""
    console = Console(stderr=True)
    if threads:
        torch.set_num_threads(threads)
    try:
        chosen = load_recipe(find_recipe(recipe))
        changes = {key: value for key, value in (("name", name), ("language", language)) if value}
        if changes:
            chosen = chosen.changed(changes)
        with corpora_folder(data) as folder:
            teachers = tuple(teacher or ())
            train(Run(chosen, folder, out, seed, device, max_minutes, texts, init, teachers, tokenizer, console))
    except (RecipeError, CheckpointError, CorpusError, PackError, TrainingError) as error:
        raise _fail(console, error) from error


@app.command("calibrate")
def calibrate_command(
    checkpoint: Annotated[Path, typer.Argument(help="A trained classifier, or a bundle.")],
    recipe: Annotated[
        str, typer.Argument(help="The recipe it was trained by: it names the corpora whose dev parts count.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the calibrated checkpoint.")],
    data: Annotated[Path, typer.Option(help="The corpora folder, or a data pack.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit the temperatures of a classifier again. Training does it at its end."""
    console = Console(stderr=True)
    try:
        with corpora_folder(data) as folder:
            recalibrate(Run(load_recipe(find_recipe(recipe)), folder, out, seed, console=console), checkpoint)
    except (RecipeError, CheckpointError, CorpusError, PackError, TrainingError) as error:
        raise _fail(console, error) from error


@app.command("average")
def average_command(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Trained classifiers, or bundles, of runs that began with one model.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    share: Annotated[
        list[float] | None, typer.Option(help="How much of each, in their order; alike if not given.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model, instead of the first one's.")] = None,
) -> None:
    """Average the weights of several classifiers into one; calibrate it afterwards."""
    console = Console(stderr=True)
    try:
        write_average(checkpoints, share or [], out, name)
    except (CheckpointError, TrainingError) as error:
        raise _fail(console, error) from error
    console.print(f"wrote {out}; go on with rnnserve calibrate", highlight=False, markup=False)


@data_app.command("pack")
def pack_command(
    recipes: Annotated[list[str], typer.Argument(help="Names of recipes, or TOML files.")],
    data: Annotated[Path, typer.Option(help="The corpora folder.")],
    out: Annotated[Path, typer.Option(help="The file to write, for instance sentiment-en.tar.bz2.")],
    max_mb: Annotated[float, typer.Option(min=0.001, help="Refuse to write a larger file.")] = 40.0,
) -> None:
    """Put what recipes read into one small file, which `rnnserve train --data FILE` reads on any machine."""
    console = Console(stderr=True)
    try:
        size = write_pack([load_recipe(find_recipe(name)) for name in recipes], data, out, round(max_mb * 1e6))
    except (RecipeError, CorpusError, PackError) as error:
        raise _fail(console, error) from error
    console.print(f"wrote {out}: {size / 1e6:.1f} MB", highlight=False, markup=False)


def _fail(console: Console, error: Exception) -> typer.Exit:
    """Say what is wrong; raise the result."""
    console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
    return typer.Exit(USAGE_ERROR)


if __name__ == "__main__":
    typer.run(train_command)
