"""Tests of export/bundle.py: a bundle is written whole and right, or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export import bundle as bundle_module
from export.bundle import OutputError, export_bundle, write_quality
from export.graph import GATES
from export.parity import ParityError, open_graph
from models.checkpoint import (
    METRICS_FILE,
    WEIGHTS_FILE,
    CheckpointConfig,
    CheckpointError,
    DataUse,
    load_checkpoint,
    save_checkpoint,
    write_json,
)
from models.classifier import ClassifierConfig
from models.closed_vocabulary import word_tokenizer
from models.language_model import LanguageModelConfig
from models.loop import ANSWERS_FILE, RESUME_FILE
from models.tokenizer import train_tokenizer
from models.trunk import TrunkConfig
from service.bundle import (
    CARD_FILE,
    CONFIG_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    load_manifest,
    verify_files,
)
from service.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = {WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE, METRICS_FILE, GRAPH_FILE, MANIFEST_FILE}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A classifier as training leaves it."""
    folder = tmp_path / "checkpoint"
    tokenizer = train_tokenizer("en", ["a good film", "a bad film"] * 4, 400, lowercase=True, specials=False)
    trunk = TrunkConfig(cell="gru", vocab_size=tokenizer.get_vocab_size(), embedding_dim=4, hidden_size=5)
    config = CheckpointConfig(
        name="mine",
        task="sentiment",
        language="en",
        classifier=ClassifierConfig(trunk=trunk),
        training_data=(DataUse(name="films", licence="CC0", source="here", rows=7),),
        temperature=1.5,
    )
    torch.manual_seed(0)
    save_checkpoint(folder, config, config.build(), tokenizer)
    write_json(folder / METRICS_FILE, {"quality": {"dev_accuracy": 0.75}})
    return folder


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_manifest_says_what_the_checkpoint_is(checkpoint: Path, tmp_path: Path) -> None:
    """Name, sizes, labels, calibration, data with licences, measured quality: nothing is typed twice."""
    manifest = export_bundle(checkpoint, tmp_path / "out", version="2")
    config, module, _ = load_checkpoint(checkpoint)
    trunk = config.architecture.trunk

    assert load_manifest(tmp_path / "out") == manifest
    assert (manifest.id, manifest.task, manifest.language, manifest.cell) == ("mine@2", "sentiment", "en", "gru")
    assert (manifest.vocab_size, manifest.hidden_size, manifest.state_size) == (trunk.vocab_size, 5, 5 + 5 + 5)
    assert (manifest.labels, manifest.temperature) == (["negative", "positive"], 1.5)
    assert manifest.parameters == sum(p.numel() for p in module.parameters())
    assert [(use.name, use.licence, use.rows) for use in manifest.training_data] == [("films", "CC0", 7)]
    assert manifest.quality == {"dev_accuracy": 0.75}
    assert manifest.parity.max_error <= manifest.parity.tolerance


def test_every_file_is_there_with_its_hash(checkpoint: Path, tmp_path: Path) -> None:
    """SHA-256 of graph, weights, tokenizer and config, as any tool computes it."""
    out = tmp_path / "out"
    manifest = export_bundle(checkpoint, out)

    assert names_in(out) == BUNDLE
    assert manifest.files == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()
        for name in (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE)
    }
    verify_files(out, manifest)


def test_the_bytes_that_were_trained_are_the_bytes_that_are_served(checkpoint: Path, tmp_path: Path) -> None:
    """One weights file; the graph beside it holds none."""
    out = tmp_path / "out"
    export_bundle(checkpoint, out)

    assert (out / WEIGHTS_FILE).read_bytes() == (checkpoint / WEIGHTS_FILE).read_bytes()
    assert (out / GRAPH_FILE).stat().st_size < 10_000


def test_the_service_opens_what_was_exported(checkpoint: Path, tmp_path: Path) -> None:
    """Hashes, graph and self-test hold, and the engine's logits are torch's."""
    export_bundle(checkpoint, tmp_path / "out")
    engine = Engine.open(tmp_path / "out", threads=1)
    _, module, _ = load_checkpoint(checkpoint)
    ids = np.array([[5, 6, 7]])

    _, logits = engine.run(ids, np.array([3]), engine.zero_state(1), 1)

    with torch.no_grad():
        expected, _ = module(torch.from_numpy(ids), torch.tensor([3]))
    assert np.allclose(logits[0, 0], expected[0, -1].numpy(), atol=1e-5)


def test_a_bundle_can_take_its_checkpoints_place(checkpoint: Path) -> None:
    """Checkpoint and bundle may be one folder; exporting again works too."""
    first = export_bundle(checkpoint, checkpoint)
    again = export_bundle(checkpoint, checkpoint)

    assert names_in(checkpoint) == BUNDLE
    assert first == again
    assert not [path for path in checkpoint.parent.iterdir() if path.name.startswith(".")]


def test_a_bundle_that_moved_still_works(checkpoint: Path, tmp_path: Path) -> None:
    """The graph names its weights file without a folder."""
    export_bundle(checkpoint, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")

    Engine.open(tmp_path / "elsewhere", threads=1)


@pytest.mark.parametrize("before", [True, False])
def test_a_graph_that_differs_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """What was there stays; what was not does not appear, not even half."""
    out = tmp_path / "out"
    if before:
        export_bundle(checkpoint, out)
    kept = {path.name: path.read_bytes() for path in out.glob("*")}
    monkeypatch.setitem(GATES, "gru", (0, 1, 2))

    with pytest.raises(ParityError, match="differ by"):
        export_bundle(checkpoint, out)

    assert {path.name: path.read_bytes() for path in out.glob("*")} == kept
    assert names_in(tmp_path) == ({"checkpoint", "out"} if before else {"checkpoint"})


@pytest.mark.parametrize("at", ["save_graph", "check_parity", "make_self_test", "_write_manifest", "_take_place"])
def test_a_failure_anywhere_leaves_no_half_bundle(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """A full disk, an interrupt: the folder appears whole or not at all, and no rubbish stays beside it."""

    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_module, at, fails)

    with pytest.raises(KeyboardInterrupt):
        export_bundle(checkpoint, tmp_path / "out")

    assert names_in(tmp_path) == {"checkpoint"}


KILLED_EXPORT = """
import os, signal, sys
from pathlib import Path
from export import bundle

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

bundle.make_self_test = killed
bundle.export_bundle(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_export_leaves_no_half_bundle(checkpoint: Path, tmp_path: Path) -> None:
    """What is left is hidden, which no service takes for a bundle; the next export does its work."""
    out = tmp_path / "bundles" / "mine"
    command = [sys.executable, "-c", KILLED_EXPORT, str(checkpoint), str(out)]

    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9

    assert not out.exists()
    assert all(path.name.startswith(".") for path in out.parent.iterdir())
    export_bundle(checkpoint, out)
    Engine.open(out, threads=1)


def test_other_peoples_files_are_not_deleted(checkpoint: Path, tmp_path: Path) -> None:
    """``--out ~`` must not take the place of a home."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")

    with pytest.raises(OutputError, match=r"home holds thesis\.tex, which is no part of a bundle"):
        export_bundle(checkpoint, home)
    with pytest.raises(OutputError, match=r"thesis\.tex is no folder"):
        export_bundle(checkpoint, home / "thesis.tex")

    assert names_in(home) == {"thesis.tex"}


def test_a_model_card_survives_another_export(checkpoint: Path) -> None:
    """It belongs to the bundle, and somebody may have written it."""
    export_bundle(checkpoint, checkpoint)
    (checkpoint / CARD_FILE).write_text("# mine")
    export_bundle(checkpoint, checkpoint)

    assert (checkpoint / CARD_FILE).read_text() == "# mine"


def test_the_card_of_other_weights_is_left_behind(checkpoint: Path, tmp_path: Path) -> None:
    """It would tell of a model that is no longer there."""
    out = tmp_path / "bundle"
    export_bundle(checkpoint, out)
    (out / CARD_FILE).write_text("# of other weights")
    config, module, tokenizer = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(module.parameters()).add_(0.25)
    save_checkpoint(checkpoint, config, module, tokenizer)

    export_bundle(checkpoint, out)

    assert not (out / CARD_FILE).exists()


def test_what_a_killed_training_left_is_no_hindrance(checkpoint: Path) -> None:
    """Its files are ours."""
    for name in (RESUME_FILE, ANSWERS_FILE):
        (checkpoint / name).write_bytes(b"")

    export_bundle(checkpoint, checkpoint)


def test_a_corrupt_checkpoint_is_refused_with_the_files_name(checkpoint: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    (checkpoint / WEIGHTS_FILE).write_bytes(b"rubbish")

    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        export_bundle(checkpoint, tmp_path / "out")
    assert names_in(tmp_path) == {"checkpoint"}


def test_a_benchmarks_model_is_refused(tmp_path: Path) -> None:
    """Its vocabulary has no piece to start a text with: the service would take a word for it."""
    tokenizer = word_tokenizer(["the cat sat <unk> <eos>"])
    trunk = TrunkConfig(cell="lstm", vocab_size=tokenizer.get_vocab_size(), embedding_dim=4, hidden_size=5)
    model = LanguageModelConfig(trunk=trunk)
    config = CheckpointConfig(name="ptb", task="language-model", language="en", language_model=model)
    save_checkpoint(tmp_path / "checkpoint", config, config.build(), tokenizer)

    with pytest.raises(CheckpointError, match="a benchmark's model"):
        export_bundle(tmp_path / "checkpoint", tmp_path / "out")
    assert names_in(tmp_path) == {"checkpoint"}


def test_weights_that_are_no_numbers_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    """NaN equals nothing, torch's least of all."""
    weights = load_file(checkpoint / WEIGHTS_FILE)
    weights["out.bias"][0] = float("nan")
    save_file(weights, checkpoint / WEIGHTS_FILE)

    with pytest.raises(ParityError):
        export_bundle(checkpoint, tmp_path / "out")


def test_a_tolerance_of_nothing_refuses_rounding(checkpoint: Path, tmp_path: Path) -> None:
    """Zero means zero, not the default."""
    with pytest.raises(ParityError, match=r"tolerance 0\)"):
        export_bundle(checkpoint, tmp_path / "out", tolerance=0.0)


def test_quality_goes_to_the_metrics_and_the_manifest(checkpoint: Path, tmp_path: Path) -> None:
    """New numbers join the old ones, and the hashes still hold."""
    out = tmp_path / "out"
    export_bundle(checkpoint, out)

    write_quality(out, {"test_accuracy": 0.5})

    expected = {"dev_accuracy": 0.75, "test_accuracy": 0.5}
    assert json.loads((out / METRICS_FILE).read_text())["quality"] == expected
    assert load_manifest(out).quality == expected
    verify_files(out, load_manifest(out))


def test_the_graph_runs_alone_in_onnx_runtime(checkpoint: Path, tmp_path: Path) -> None:
    """Nothing of ours is needed to use a bundle: any ONNX Runtime reads it."""
    export_bundle(checkpoint, tmp_path / "out")
    state, logits = open_graph(tmp_path / "out" / GRAPH_FILE)(
        np.array([[3, 4]]), np.array([2]), np.zeros((1, 15), np.float32), 2
    )

    assert state.shape == (1, 15)
    assert logits.shape == (1, 2, 2)
