"""Checkpoints: safetensors, JSON and a tokenizer in one folder; never pickle. The exported bundle adds a graph beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from models.classifier import Classifier, ClassifierConfig
from models.language_model import LanguageModel, LanguageModelConfig

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
METRICS_FILE = "metrics.json"


class CheckpointError(Exception):
    """A checkpoint cannot be read; the message names the file and the reason."""


class DataUse(BaseModel, extra="forbid", frozen=True):
    """A corpus a model was trained on, with its licence as its source states it."""

    name: str
    licence: str
    source: str
    citation: str = ""
    rows: int


class CheckpointConfig(BaseModel, extra="forbid", frozen=True):
    """``config.json``: what was trained, enough to rebuild the module."""

    name: str
    task: Literal["sentiment", "language-model"]
    language: Literal["en", "zh"]
    classifier: ClassifierConfig | None = None
    language_model: LanguageModelConfig | None = None
    training_data: tuple[DataUse, ...] = ()
    temperature: float = 1.0
    backward: bool = False  # reads texts from their end: a teacher, not to be served

    @property
    def architecture(self) -> ClassifierConfig | LanguageModelConfig:
        """The task's own.

        Raises:
            ValueError: it is not given.
        """
        architecture = self.classifier if self.task == "sentiment" else self.language_model
        if architecture is None:
            raise ValueError(f"a {self.task} checkpoint needs its architecture in {CONFIG_FILE}")
        return architecture

    def build(self) -> Classifier | LanguageModel:
        """A fresh module of this architecture, random weights."""
        architecture = self.architecture
        return Classifier(architecture) if isinstance(architecture, ClassifierConfig) else LanguageModel(architecture)


def save_checkpoint(folder: Path, config: CheckpointConfig, module: torch.nn.Module, tokenizer: Tokenizer) -> None:
    """Write weights as float16, the config and the tokenizer; each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().to("cpu", torch.float16).contiguous() for name, value in module.state_dict().items()
    }
    _replace(folder / WEIGHTS_FILE, lambda path: save_file(weights, path))
    _replace(folder / TOKENIZER_FILE, lambda path: tokenizer.save(str(path)))
    write_json(folder / CONFIG_FILE, config.model_dump(mode="json", exclude_none=True))


def load_checkpoint(folder: Path) -> tuple[CheckpointConfig, Classifier | LanguageModel, Tokenizer]:
    """Rebuild config, module (float32, eval mode) and tokenizer.

    Raises:
        CheckpointError: a file is missing, damaged, or does not fit the others.
    """
    path = folder / CONFIG_FILE
    try:
        config = CheckpointConfig.model_validate_json(path.read_bytes())
        module = config.build()
        path = folder / WEIGHTS_FILE
        module.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        path = folder / TOKENIZER_FILE
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except Exception as error:  # each file's reader has exceptions of its own; tokenizers raises the bare class
        raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from error
    pieces, rows = tokenizer.get_vocab_size(), config.architecture.trunk.vocab_size
    if pieces > rows:
        raise CheckpointError(f"{path} has {pieces} pieces, the model's vocabulary {rows}: they do not belong together")
    return config, module.eval(), tokenizer


def write_json(path: Path, document: object) -> None:
    """Write JSON atomically, readable by people."""
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(path.name + ".partial")
    write(temporary)
    temporary.replace(path)
