"""Tests of ``rnnserve train`` and ``rnnserve data pack`` as their users meet them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from models.checkpoint import load_checkpoint
from rnnserve import build

ROOT = Path(__file__).resolve().parents[2]
runner = CliRunner()

RECIPE = """
name = "tiny"
task = "sentiment"
language = "en"
[tokenizer]
vocab_size = 400
[model]
cell = "rnn"
embedding_dim = 4
hidden_size = 5
[data]
sentiment = ["sst2"]
[classifier]
epochs = 1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def rnnserve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command line; threads are left to the test."""
    return lambda *arguments: runner.invoke(build(), [str(argument) for argument in arguments])


def message(result: Result) -> str:
    return " ".join(result.output.split())


def test_train_writes_a_checkpoint_of_the_given_name(
    rnnserve: Callable[..., Result], recipe: Path, corpora: Path, tmp_path: Path
) -> None:
    """One command from recipe to checkpoint."""
    result = rnnserve(
        "train", recipe, "--data", corpora, "--out", tmp_path / "out", "--name", "mine", "--max-minutes", 1
    )

    assert result.exit_code == 0
    assert "dev sst2:" in message(result)
    assert load_checkpoint(tmp_path / "out")[0].name == "mine"


def test_train_reads_a_pack(rnnserve: Callable[..., Result], recipe: Path, corpora: Path, tmp_path: Path) -> None:
    """Pack here, train there."""
    packed = rnnserve("data", "pack", recipe, "--data", corpora, "--out", tmp_path / "tiny.tar.bz2")
    trained = rnnserve("train", recipe, "--data", tmp_path / "tiny.tar.bz2", "--out", tmp_path / "out")

    assert packed.exit_code == 0
    assert "tiny.tar.bz2: 0.0 MB" in message(packed)
    assert trained.exit_code == 0
    load_checkpoint(tmp_path / "out")


def test_train_reads_a_users_own_texts(rnnserve: Callable[..., Result], recipe: Path, tmp_path: Path) -> None:
    """No corpora needed."""
    lines = [
        {"text": f"text {n} is {('bad', 'good')[n % 2]}", "label": ("negative", "positive")[n % 2]} for n in range(30)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    result = rnnserve("train", recipe, "--texts", tmp_path / "own.jsonl", "--out", tmp_path / "out")

    assert result.exit_code == 0
    assert load_checkpoint(tmp_path / "out")[0].training_data[0].licence == "the owner's"


def test_calibrate_fits_a_trained_classifier_again(
    rnnserve: Callable[..., Result], recipe: Path, corpora: Path, tmp_path: Path
) -> None:
    """What it knows and how it was trained stay; what was measured with the old temperatures does not."""
    rnnserve("train", recipe, "--data", corpora, "--out", tmp_path / "out")
    path = tmp_path / "out/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quality": {"sst2_test_ece": 0.1}, "behaviour": {}}))

    done = rnnserve("calibrate", tmp_path / "out", recipe, "--data", corpora, "--out", tmp_path / "again")

    assert done.exit_code == 0
    assert "dev sst2:" in message(done)
    first, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("out", "again"))
    assert again == {key: value for key, value in first.items() if key not in ("quality", "behaviour")}
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()


def test_calibrate_refuses_a_language_model(
    rnnserve: Callable[..., Result], recipe: Path, corpora: Path, bundles: Path, tmp_path: Path
) -> None:
    """Its probabilities are no verdicts."""
    result = rnnserve("calibrate", bundles / "lm-en", recipe, "--data", corpora, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "holds a language model: only classifiers are calibrated" in message(result)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({'"en"': '"zh"', '"sst2"': '"waimai"'}, "the recipe tiny is for zh with negative, positive"),
        ({'"en"': '"en"\nlabels = ["no", "yes"]', '"sst2"': ""}, "the recipe tiny is for en with no, yes"),
    ],
)
def test_calibrate_refuses_a_recipe_of_another_language_or_other_labels(
    rnnserve: Callable[..., Result],
    recipe: Path,
    corpora: Path,
    tmp_path: Path,
    changes: dict[str, str],
    expected: str,
) -> None:
    """Temperatures fitted on texts that a model can't read would be nonsense in silence."""
    rnnserve("train", recipe, "--data", corpora, "--out", tmp_path / "out")
    text = RECIPE
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "other.toml").write_text(text)

    result = rnnserve(
        "calibrate", tmp_path / "out", tmp_path / "other.toml", "--data", corpora, "--out", tmp_path / "b"
    )

    assert result.exit_code == 2
    assert expected in message(result)
    assert not (tmp_path / "b").exists()


def test_calibrate_says_where_no_folder_can_be_made(
    rnnserve: Callable[..., Result], recipe: Path, corpora: Path, tmp_path: Path
) -> None:
    """As training does."""
    rnnserve("train", recipe, "--data", corpora, "--out", tmp_path / "out")

    result = rnnserve("calibrate", tmp_path / "out", recipe, "--data", corpora, "--out", recipe / "x")

    assert result.exit_code == 2
    assert "no folder can be made there" in message(result)


def test_waiting_threads_leave_the_cores_to_others() -> None:
    """OpenMP's policy is set before PyTorch is first imported, and a user's own choice is kept."""
    probe = "import models, os, sys; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
        output = subprocess.check_output([sys.executable, "-c", probe], env=environment, cwd=ROOT, text=True)
        assert output == f"False {expected}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no-such-recipe"], "no-such-recipe: No such file"),
        (["{recipe}"], "the recipe tiny needs the corpora: give --data DIR"),
        (["{recipe}", "--data", "{tmp}/absent"], "absent is no folder"),
        (["{recipe}", "--data", "{recipe}"], "tiny.toml: no data pack"),
        (["{recipe}", "--texts", "{tmp}/absent.csv"], "absent.csv: No such file"),
        (["{recipe}", "--name", "Not A Name"], "name: String should match pattern"),
    ],
)
def test_a_wrong_command_ends_with_2_and_says_what_to_do(
    rnnserve: Callable[..., Result], recipe: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    """No traceback, no half checkpoint."""
    filled = [argument.format(recipe=recipe, tmp=tmp_path) for argument in arguments]
    result = rnnserve("train", *filled, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert expected in message(result)
    assert not (tmp_path / "out" / "config.json").exists()
