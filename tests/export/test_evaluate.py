"""Tests of ``rnnserve evaluate`` on tiny bundles and a user's own file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from export.cli import app
from export.evaluate import how_trained
from service.bundle import MANIFEST_FILE, METRICS_FILE, load_manifest


@pytest.fixture
def folder(bundles: Path, tmp_path: Path) -> Path:
    """A bundle that the test may write to."""
    return Path(shutil.copytree(bundles / "sentiment-en", tmp_path / "sentiment-en"))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Labelled texts of a user's own."""
    path = tmp_path / "mine.csv"
    path.write_text("text,label\na good film,positive\nnot good,negative\n", encoding="utf-8")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_results_are_printed_and_noted_in_the_bundle(folder: Path, texts: Path) -> None:
    """The manifest and metrics.json hold what the table shows, and the bundle still opens."""
    result = run(folder, "--texts", texts)

    assert result.exit_code == 0, result.output
    assert "mine.csv" in result.stdout
    assert "mine_accuracy" in load_manifest(folder).quality
    assert json.loads((folder / METRICS_FILE).read_text())["quality"] == load_manifest(folder).quality


@pytest.mark.parametrize("option", [["--no-write"], ["--limit", "1"]])
def test_nothing_is_written_when_not_asked_or_when_rows_were_left_out(
    folder: Path, texts: Path, option: list[str]
) -> None:
    """A number from a part of the rows must not pass for the whole."""
    before = (folder / "manifest.json").read_bytes()

    assert run(folder, "--texts", texts, *option).exit_code == 0
    assert (folder / "manifest.json").read_bytes() == before


def test_json_is_all_that_machines_see(folder: Path, texts: Path) -> None:
    """Progress goes to stderr."""
    result = run(folder, "--texts", texts, "--json", "--no-write")

    (report,) = json.loads(result.stdout)
    assert report["model"] == "sentiment-en@1"
    assert report["sentiment"]["sets"][0]["rows"] == 2


def test_without_corpora_the_command_says_what_to_give(folder: Path) -> None:
    """No traceback, exit code 2."""
    result = run(folder)

    assert result.exit_code == 2
    assert "--data" in result.stderr


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path, texts: Path) -> None:
    """The file that is missing, and what to do."""
    result = run(tmp_path / "nothing", "--texts", texts)

    assert result.exit_code == 2
    assert "manifest.json" in result.stderr.replace("\n", "")


def test_the_behavioural_suite_needs_no_corpora_and_leaves_examples_of_failures(folder: Path) -> None:
    """Pass rates go into the manifest; the failing texts into metrics.json, for the model card."""
    result = run(folder, "--behaviour")

    assert result.exit_code == 0, result.output
    assert "negated negative" in result.stdout
    assert 0 <= load_manifest(folder).quality["behaviour_negation"] <= 1
    assert json.loads((folder / METRICS_FILE).read_text())["behaviour"]["categories"]


@pytest.mark.parametrize("what", [("--behaviour",), ("--data", "corpora")])
def test_a_classifier_of_other_classes_is_measured_on_own_texts_alone(
    folder: Path, tmp_path: Path, what: tuple[str, ...]
) -> None:
    """The corpora and the suite know two classes, which are not its."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest | {"labels": ["bad", "good"]}))

    result = run(folder, "--no-write", *(str(tmp_path) if part == "corpora" else part for part in what))

    assert result.exit_code == 2
    assert "the labels negative and positive" in " ".join(result.stderr.split())


def test_a_language_model_has_no_behavioural_suite(bundles: Path) -> None:
    """It has no labels."""
    result = run(bundles / "lm-en", "--behaviour", "--no-write")

    assert result.exit_code == 2
    assert "labels" in result.stderr


def test_how_a_model_was_trained_is_told_run_by_run() -> None:
    """What it started from comes first; a bundle without metrics says nothing."""
    first = {"minutes": 14.6, "device": "NVIDIA H100 80GB HBM3"}

    assert how_trained({"minutes": 9.6, "device": "cpu", "started_from": first}) == "15 min H100, 10 min CPU"
    assert how_trained({}) == ""
