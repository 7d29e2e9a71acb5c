"""The mean of several classifiers' weights: of runs that began with one model, it is often better than each and costs no more to serve.

Source: Wortsman et al. 2022 (arXiv:2203.05482).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from models.calibration import uncalibrated
from models.checkpoint import (
    METRICS_FILE,
    CheckpointConfig,
    DataUse,
    load_checkpoint,
    save_checkpoint,
    write_json,
)
from models.classifier import Classifier
from models.loop import TrainingError
from models.train import MEASURED

OF_A_RUN = ("seed", "minutes", "device", "teachers")  # what the metrics keep of each


def write_average(checkpoints: Sequence[Path], shares: Sequence[float], out: Path, name: str | None = None) -> None:
    """Write the mean of classifiers' weights as a checkpoint, to be calibrated.

    Args:
        checkpoints: of classifiers with one architecture and one tokenizer; of one beginning, too, or their mean is worth nothing.
        shares: how much of each; any positive numbers, brought to a sum of one. Alike if there are none.
        out: folder to write to.
        name: of the result; by default that of the first.

    Raises:
        CheckpointError: a checkpoint cannot be read.
        TrainingError: there are fewer than two, they differ in more than their weights, the shares do not fit them, or ``out`` is a file.
    """
    if len(checkpoints) < 2:
        raise TrainingError("a mean is of two checkpoints or more")
    if shares and len(shares) != len(checkpoints):
        raise TrainingError(f"give a share for each checkpoint, or none: {len(shares)} for {len(checkpoints)}")
    if any(share <= 0 for share in shares):
        raise TrainingError("shares are greater than 0")
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file; --out is the folder to write to")
    total = sum(shares) if shares else float(len(checkpoints))
    parts = [share / total for share in (shares or [1.0] * len(checkpoints))]
    loaded = [_classifier(folder) for folder in checkpoints]
    config, first, tokenizer = loaded[0]
    for folder, (other_config, other, other_tokenizer) in zip(checkpoints[1:], loaded[1:], strict=True):
        if (other.config, other_config.language, other_config.backward, other_tokenizer.to_str()) != (
            first.config,
            config.language,
            config.backward,
            tokenizer.to_str(),
        ):
            raise TrainingError(
                f"{folder} is no other run of {checkpoints[0]}: architecture, language or tokenizer differ"
            )
    states = [module.state_dict() for _, module, _ in loaded]
    mean = Classifier(first.config)
    mean.load_state_dict(
        {key: torch.stack([part * s[key] for part, s in zip(parts, states, strict=True)]).sum(0) for key in states[0]}
    )
    temperature = sum(part * c.temperature for part, (c, _, _) in zip(parts, loaded, strict=True))
    update = {
        "name": name or config.name,
        "classifier": first.config,
        "training_data": _data_of([c for c, _, _ in loaded]),
        "temperature": temperature,
    }
    save_checkpoint(out, config.model_copy(update=update), mean, tokenizer)
    metrics = [_metrics(folder) for folder in checkpoints]
    averaged = [
        {"name": c.name, "share": round(part, 4)} | {key: of[key] for key in OF_A_RUN if key in of}
        for part, (c, _, _), of in zip(parts, loaded, metrics, strict=True)
    ]
    kept = {key: value for key, value in metrics[0].items() if key not in MEASURED | {"calibration"}}
    write_json(out / METRICS_FILE, kept | {"averaged": averaged})


def _classifier(folder: Path) -> tuple[CheckpointConfig, Classifier, Tokenizer]:
    config, module, tokenizer = load_checkpoint(folder)
    if not isinstance(module, Classifier):
        raise TrainingError(f"{folder} holds a language model: only classifiers are averaged")
    return config, uncalibrated(module).eval(), tokenizer


def _data_of(configs: Sequence[CheckpointConfig]) -> tuple[DataUse, ...]:
    """What any of them was trained on, each corpus once, with the most rows."""
    most: dict[str, DataUse] = {}
    for use in (use for config in configs for use in config.training_data):
        if use.name not in most or most[use.name].rows < use.rows:
            most[use.name] = use
    return tuple(most.values())


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / METRICS_FILE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
