"""Tests of ``rnnserve evaluate --all`` on tiny language models and a hand-made corpora folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from export.bundle import export_bundle
from export.cli import app
from export.readme import BEGIN, END
from service.bundle import load_manifest
from tests.conftest import write_bundle

LINES = {
    "train": ["我去看电影", "你去看电影", "他去看书"] * 5,
    "valid": ["我去看书，好吗", "你去看电影吗", "他去看电影"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One corpus of running text."""
    for part, lines in LINES.items():
        path = tmp_path / f"data/lm_tatoeba_zh/{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A tiny Chinese LSTM that says it was trained on that corpus."""
    write_bundle(tmp_path / "lm-zh", "language-model", "zh", "lstm")
    path = tmp_path / ".lm-zh.checkpoint/config.json"
    use = {"name": "tatoeba_zh", "licence": "CC BY 2.0", "source": "tatoeba.org", "rows": 15}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training_data": [use]}))
    (path.parent / "metrics.json").write_text(json.dumps({"recipe": {"name": "lm-zh"}, "seed": 0}))
    export_bundle(path.parent, tmp_path / "lm-zh")
    return tmp_path / "lm-zh"


def test_one_command_writes_page_plots_card_and_readme(bundle: Path, data: Path, tmp_path: Path) -> None:
    """A second seed stands beside the shipped bundle, and so does its int8 twin; a copy of it counts once."""
    seed = Path(shutil.copytree(bundle, tmp_path / "seed-1"))
    (seed / "metrics.json").write_text(json.dumps({"recipe": {"name": "lm-zh"}, "seed": 1}))
    manifest = json.loads((seed / "manifest.json").read_text())
    (seed / "config.json").write_text((seed / "config.json").read_text() + " ")
    export_bundle(seed, seed)
    assert load_manifest(seed).files != manifest["files"]
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")

    asked = ["--all", "--also", seed, "--also", bundle, "--data", data, "--docs", tmp_path / "docs", "--workers", 1]
    result = CliRunner().invoke(app, ["evaluate", str(bundle), *map(str, asked)])

    assert result.exit_code == 0, result.output
    page = (tmp_path / "docs/quality.md").read_text(encoding="utf-8")
    assert "| **LSTM 1 × 16 ★** |" in page
    assert page.count("\n| LSTM 1 × 16 |") == 2
    assert "| int8 |" in page
    assert "| LSTM 1 × 16 ★ | 0, 1 |" in page
    assert (tmp_path / "docs/quality/speed.png").is_file()
    assert "tatoeba_zh_top3" in load_manifest(bundle).quality
    assert "tatoeba_zh_top3" not in load_manifest(seed).quality
    assert "tatoeba_zh_top3" in (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| lm-zh | LSTM 1 × 16, 0.0 M weights |" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["--also", "--benchmark"])
def test_what_stands_beside_is_for_the_page_alone(bundle: Path, option: str) -> None:
    """Without --all the option would be lost without a word."""
    result = CliRunner().invoke(app, ["evaluate", str(bundle), option, str(bundle)])

    assert result.exit_code == 2
    assert "--all" in result.output
