"""docs/own-model.md does what it says: its commands are read from the page and run."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import httpx
import pytest

from models.negation import negation_examples
from models.tokenizer import Language
from tests.e2e.conftest import ROOT, run_server

PAGE = ROOT / "docs" / "own-model.md"


def commands_on_the_page() -> list[list[str]]:
    """Every command line of the page's shell blocks, without the environment's folder."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.split()[1:] for line in lines if line.startswith(".venv/bin/rnnserve ")]


def write_texts(path: Path, language: Language, seed: int, rows: int) -> None:
    """Labelled sentences of our own, as a user's file."""
    labels = ("negative", "positive")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((text, labels[label]) for text, label in islice(negation_examples(language, rows, seed), rows))


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_leads_from_a_csv_to_an_endpoint(tmp_path: Path, language: Language) -> None:
    """Train, export, evaluate, serve, word for word; then the model answers under its own name."""
    train, export, evaluate, serve, *others = commands_on_the_page()
    if language == "zh":
        train = next(command for command in others if "zh" in command)
    assert [command[0] for command in (train, export, evaluate, serve)] == ["train", "export", "evaluate", "serve"]
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    write_texts(tmp_path / "reviews.csv", language, seed=1, rows=80)
    write_texts(tmp_path / "held-out.csv", language, seed=2, rows=40)

    output = ""
    for command in (train, export, evaluate):
        done = subprocess.run(
            [sys.executable, str(ROOT / "rnnserve.py"), *command],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        output = done.stdout
    assert "held-out.csv" in output

    bundles = tmp_path / serve[serve.index("--bundles") + 1]
    with run_server(bundles) as server:
        text = {"en": "It broke after a week.", "zh": "用了一周就坏了。"}[language]
        answer = httpx.post(f"{server.url}/v1/sentiment", json={"text": text}).json()["results"][0]
    assert answer["model"] == "my-reviews@1"
    assert answer["label"] in ("negative", "positive")
