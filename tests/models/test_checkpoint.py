"""Tests of models/checkpoint.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    CheckpointConfig,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
    write_json,
)
from models.classifier import Classifier, ClassifierConfig
from models.language_model import LanguageModel, LanguageModelConfig
from models.tokenizer import train_tokenizer
from models.trunk import TrunkConfig

TRUNK = TrunkConfig(cell="lstm", vocab_size=400, embedding_dim=4, hidden_size=5)


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.Tokenizer:
    return train_tokenizer("en", ["a tiny text"] * 3, 400, lowercase=True, specials=False)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: tokenizers.Tokenizer) -> Path:
    """A good checkpoint of a classifier."""
    config = CheckpointConfig(name="tiny", task="sentiment", language="en", classifier=ClassifierConfig(trunk=TRUNK))
    save_checkpoint(tmp_path, config, config.build(), tokenizer)
    return tmp_path


@pytest.mark.parametrize("task", ["sentiment", "language-model"])
def test_a_checkpoint_gives_back_what_was_saved(tmp_path: Path, tokenizer: tokenizers.Tokenizer, task: str) -> None:
    """Weights to half precision, the architecture, the tokenizer; ready to predict."""
    config = CheckpointConfig.model_validate(
        {
            "name": "tiny",
            "task": task,
            "language": "zh",
            "classifier": ClassifierConfig(trunk=TRUNK) if task == "sentiment" else None,
            "language_model": LanguageModelConfig(trunk=TRUNK) if task != "sentiment" else None,
            "temperature": 1.25,
        }
    )
    module = config.build()
    save_checkpoint(tmp_path, config, module, tokenizer)

    loaded_config, loaded, loaded_tokenizer = load_checkpoint(tmp_path)

    assert isinstance(loaded, Classifier if task == "sentiment" else LanguageModel)
    assert loaded_config == config
    assert loaded_tokenizer.to_str() == tokenizer.to_str()
    assert not loaded.training
    for name, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())


def test_weights_lie_on_disk_as_half_precision(folder: Path) -> None:
    """Two bytes a weight: the shipped models have to fit a repository."""
    assert {value.dtype for value in load_file(folder / WEIGHTS_FILE).values()} == {torch.float16}


def test_saving_leaves_nothing_half_written(folder: Path) -> None:
    """Each file is written beside and renamed."""
    assert {path.name for path in folder.iterdir()} == {WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE}


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    """What cannot be written does not destroy what was there."""
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"new": object()})

    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "rubbish"])
def test_a_corrupt_checkpoint_is_refused_with_the_files_name(folder: Path, name: str, damage: str) -> None:
    """Whatever happened to a file, the message leads to it."""
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "rubbish": b"\x00rubbish" * 99}[damage])

    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(folder)

    assert str(raised.value).startswith(str(path))


def test_weights_that_do_not_fit_the_config_are_refused(folder: Path) -> None:
    """Files of two checkpoints mixed up: the weights are named, with the tensor that is wrong."""
    weights = load_file(folder / WEIGHTS_FILE)
    weights["out.bias"] = torch.zeros(7, dtype=torch.float16)
    save_file(weights, folder / WEIGHTS_FILE)

    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*out\.bias"):
        load_checkpoint(folder)


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    """Ids beyond the embedding would be read as somebody else's memory."""
    other = train_tokenizer(
        "en",
        [f"{a}{b}{c} " * 3 for a in "bdfgk" for b in "aeiou" for c in "lmnprst"],
        900,
        lowercase=True,
        specials=False,
    )
    other.save(str(folder / TOKENIZER_FILE))

    with pytest.raises(CheckpointError, match=r"tokenizer\.json has \d+ pieces, the model's vocabulary 400"):
        load_checkpoint(folder)


def test_a_config_from_a_later_version_is_refused(folder: Path) -> None:
    """An unknown field may change what the weights mean."""
    document = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(document | {"attention": True}))

    with pytest.raises(CheckpointError, match=r"config\.json: .*attention"):
        load_checkpoint(folder)


def test_a_config_without_its_tasks_architecture_is_refused(folder: Path) -> None:
    """A sentiment checkpoint must say what its classifier looks like."""
    document = json.loads((folder / CONFIG_FILE).read_text())
    del document["classifier"]
    (folder / CONFIG_FILE).write_text(json.dumps(document))

    with pytest.raises(CheckpointError, match=r"config\.json: a sentiment checkpoint needs its architecture"):
        load_checkpoint(folder)
