"""``rnnserve train``: recipes and data in, checkpoints out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape

from models.corpora import CorpusError
from models.loop import Run, TrainingError
from models.recipe import RecipeError, load_recipe
from models.train import train

app = typer.Typer()
RECIPES = Path(__file__).parent / "recipes"


def find_recipe(name: str) -> Path:
    """A path to a TOML file, or the name of a recipe that comes with rnnserve."""
    shipped = RECIPES / f"{name}.toml"
    return shipped if shipped.is_file() and not Path(name).is_file() else Path(name)


@app.command("train")
def train_command(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (sentiment-en, lm-zh, ...) or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    data: Annotated[Path | None, typer.Option(help="The corpora folder.")] = None,
    texts: Annotated[Path | None, typer.Option(help="Your own CSV or JSONL with the columns text and label.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model, instead of the recipe's.")] = None,
    max_minutes: Annotated[
        float, typer.Option(min=0.01, help="Stop in time; the learning rate ends low all the same.")
    ] = math.inf,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves torch's choice.")] = 0,
) -> None:
    """Train a model. A run that was killed goes on where it was: give the same command again."""
    console = Console(stderr=True)
    if threads:
        torch.set_num_threads(threads)
    try:
        chosen = load_recipe(find_recipe(recipe))
        if name:
            chosen = chosen.renamed(name)
        train(Run(chosen, data, out, seed, device, max_minutes, texts, console))
    except (RecipeError, CorpusError, TrainingError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(train_command)
