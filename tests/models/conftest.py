"""Tiny corpora in the layout of the real ones, tiny recipes, and training runs that take a second."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from models.corpora import CLOSED_PARTS, CLOSED_TEXT, OPEN_TEXT, SENTIMENT
from models.loop import Run
from models.recipe import Recipe

GOOD = {"en": ["good", "great", "lovely", "fine"], "zh": ["好看", "精彩", "喜欢", "不错"]}
BAD = {"en": ["bad", "awful", "poor", "dull"], "zh": ["难看", "无聊", "失望", "糟糕"]}
SENTENCE = {
    "en": "{source} text {number}: I found this one {word}, to be sure.",
    "zh": "{source}{number}这部电影很{word}。",
}
LINES = {"en": "line {number} of {name}: the cat sat on the mat again .", "zh": "{name}第{number}行：今天天气很好。"}
CLOSED_WORDS = ["sat", "lay", "stood"]
ROWS = 48  # of every tiny corpus

Write = Callable[[Path, list[Any]], None]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """A gzipped JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every corpus that recipes may name, tiny, in its real layout and codes. Never write to it: see ``own_corpora``."""
    return make_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def own_corpora(tmp_path: Path) -> Path:
    """The same, for a test that changes it."""
    return make_corpora(tmp_path / "corpora")


def make_corpora(folder: Path) -> Path:
    rng = random.Random(0)
    files: dict[str, list[dict[str, Any]]] = {}
    for corpus in SENTIMENT.values():
        code = {ours: theirs for theirs, ours in corpus.labels.items()}
        for part, file in corpus.files.items():
            rows = files.setdefault(file, [])
            for number in range(ROWS):
                if number % 2 not in code:
                    continue
                word = rng.choice((BAD, GOOD)[number % 2][corpus.language])
                text = SENTENCE[corpus.language].format(source=f"{corpus.name} {part}", number=number, word=word)
                rows.append({"text": text, "label": code[number % 2], "in_sst": None, "in_chnsenticorp": None})
    for file, rows in files.items():
        write_rows(folder / file, rows)
    write_rows(
        folder / "imdb/unsup.jsonl.gz", [{"text": f"unlabelled review number {n}", "label": None} for n in range(ROWS)]
    )
    for running in OPEN_TEXT.values():
        for part in ("train", "valid"):
            path = folder / running.folder / f"{part}.txt.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(path, "wt", encoding="utf-8", newline="\n") as lines:
                for number in range(ROWS):
                    lines.write(LINES[running.language].format(number=number, name=f"{running.name} {part}") + "\n")
                    if number % 6 == 5:
                        lines.write("\n")
    for closed in CLOSED_TEXT.values():
        for number, part in enumerate(CLOSED_PARTS):
            path = folder / closed.folder / f"{part}.txt.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(path, "wt", encoding="utf-8", newline="\n") as lines:
                for _ in range(ROWS):
                    lines.write(f" the cat {rng.choice(CLOSED_WORDS)} on the <unk> {CLOSED_WORDS[number]} \n\n")
    return folder


@pytest.fixture
def rows_file() -> Write:
    """Writes a gzipped JSON-lines file."""
    return write_rows


def recipe_document(task: str = "sentiment", cell: str = "gru", language: str = "en", **changes: Any) -> dict[str, Any]:
    """A recipe that trains in a second; ``changes`` replace whole sections."""
    sentiment = task == "sentiment"
    document: dict[str, Any] = {
        "name": "tiny",
        "task": task,
        "language": language,
        "tokenizer": {"vocab_size": 400},
        "model": {"cell": cell, "embedding_dim": 8, "hidden_size": 12},
        "data": {"sentiment": ["sst2", "imdb"] if language == "en" else ["waimai"]}
        if sentiment
        else {"text": ["tatoeba_en"]},
        "language_model": {"epochs": 2, "rows": 4, "bptt": 16, "warmup_steps": 2},
    }
    if sentiment:
        document["classifier"] = {"epochs": 4, "max_rows": 8, "learning_rate": 0.02, "ema": 0.5}
    return document | changes


@pytest.fixture
def make_recipe() -> Callable[..., Recipe]:
    """Builds a tiny recipe; see ``recipe_document``."""
    return lambda *args, **changes: Recipe.model_validate(recipe_document(*args, **changes))


@pytest.fixture
def make_run(tmp_path: Path, corpora: Path) -> Callable[..., Run]:
    """Builds a run over the tiny corpora that talks to a string: ``run.console.file.getvalue()``."""

    def make(recipe: Recipe, out: str = "out", **fields: Any) -> Run:
        console = Console(file=StringIO(), width=300)
        given: dict[str, Any] = {"recipe": recipe, "data": corpora, "out": tmp_path / out, "console": console}
        return Run(**given | fields)

    return make
