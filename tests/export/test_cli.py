"""Tests of ``rnnserve export`` as its users meet it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from export.graph import GATES
from rnnserve import build
from service.bundle import load_manifest
from tests.conftest import write_bundle

runner = CliRunner()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny LSTM, as a folder that is already a bundle."""
    write_bundle(tmp_path / "sentiment-en", "sentiment", "en", "lstm")
    return tmp_path / "sentiment-en"


def test_export_writes_the_bundle_and_says_how_exact_it_is(checkpoint: Path, tmp_path: Path) -> None:
    """The worst error is printed and stored."""
    result = runner.invoke(build(), ["export", str(checkpoint), "--out", str(tmp_path / "out"), "--version", "7"])

    manifest = load_manifest(tmp_path / "out")
    assert result.exit_code == 0
    assert manifest.version == "7"
    assert f"worst error {manifest.parity.max_error:.2g}" in " ".join(result.output.split())


def test_a_graph_that_differs_ends_the_command_and_says_where(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, the worst case named, nothing written."""
    monkeypatch.setitem(GATES, "lstm", (0, 1, 2, 3))

    result = runner.invoke(build(), ["export", str(checkpoint), "--out", str(tmp_path / "out")])

    message = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "torch and ONNX Runtime differ by" in message
    assert "batch" in message
    assert "length" in message
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint_ends_the_command_with_its_file(tmp_path: Path) -> None:
    """Exit code 1 and the name of the file that is not there."""
    result = runner.invoke(build(), ["export", str(tmp_path / "absent")])

    assert result.exit_code == 1
    assert "absent/config.json is missing" in "".join(result.output.split("\n"))


def test_a_folder_with_other_files_ends_the_command(checkpoint: Path, tmp_path: Path) -> None:
    """Exit code 1, and they are still there."""
    (tmp_path / "notes.txt").write_text("x")

    result = runner.invoke(build(), ["export", str(checkpoint), "--out", str(tmp_path)])

    assert result.exit_code == 1
    assert "which is no part of a bundle" in " ".join(result.output.split())
    assert (tmp_path / "notes.txt").exists()
