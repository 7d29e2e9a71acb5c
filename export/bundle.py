"""Writes a bundle: graph, parity certificate and manifest beside the checkpoint's files, whole or not at all."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from export.graph import build_graph, save_graph
from export.parity import TOLERANCE, check_parity, make_self_test
from models.checkpoint import (
    CONFIG_FILE,
    METRICS_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    CheckpointError,
    load_checkpoint,
    write_json,
)
from models.loop import ANSWERS_FILE, RESUME_FILE
from models.tokenizer import SPECIAL_TOKENS
from service.bundle import (
    CARD_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    SCHEMA_VERSION,
    DataSource,
    Manifest,
    Precision,
    load_manifest,
    sha256_of,
)
from service.errors import BundleError

OUR_FILES = frozenset(
    {
        WEIGHTS_FILE,
        CONFIG_FILE,
        TOKENIZER_FILE,
        METRICS_FILE,
        GRAPH_FILE,
        MANIFEST_FILE,
        CARD_FILE,
        RESUME_FILE,
        ANSWERS_FILE,
    }
)


class OutputError(Exception):
    """The folder to write to holds something that is no part of a bundle; the message names it."""


def export_bundle(
    checkpoint: Path, out: Path, version: str = "1", tolerance: float | None = None, precision: Precision = "float32"
) -> Manifest:
    """Turn a checkpoint into a bundle at ``out``; the two may be the same folder.

    ``precision`` is that of the recurrent layers' arithmetic; ``tolerance``, against torch, has a default for each.

    Everything is made in a temporary folder that takes the place of ``out`` only when it is complete and correct.

    Raises:
        CheckpointError: the checkpoint cannot be read, reads texts from their end, or is of a benchmark.
        ParityError: the graph differs from torch beyond the tolerance, or its rows depend on each other.
        ValueError: int8 is asked for a cell other than LSTM.
        OutputError: ``out`` holds files that would be lost.
    """
    out = out.resolve()
    _refuse_to_lose_files(out)
    config, module, tokenizer = load_checkpoint(checkpoint)
    if config.backward:
        raise CheckpointError(
            f"{checkpoint} reads texts from their end: a teacher, which no service can stream through"
        )
    if config.task == "language-model" and [tokenizer.id_to_token(i) for i in range(3)] != SPECIAL_TOKENS:
        raise CheckpointError(
            f"{checkpoint} has no {', '.join(SPECIAL_TOKENS)} as its first pieces: a benchmark's model, which no service can start"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for name in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE, METRICS_FILE):
            if (checkpoint / name).is_file():
                shutil.copyfile(checkpoint / name, work / name)
        save_graph(build_graph(config, work / WEIGHTS_FILE, precision), work / GRAPH_FILE)
        trunk = module.config.trunk
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            name=config.name,
            version=version,
            task=config.task,
            language=config.language,
            cell=trunk.cell,
            num_layers=trunk.num_layers,
            hidden_size=trunk.hidden_size,
            embedding_dim=trunk.embedding_dim,
            vocab_size=trunk.vocab_size,
            parameters=sum(p.numel() for p in module.parameters()),
            precision=precision,
            state_size=module.config.state_size,
            labels=list(config.classifier.labels) if config.classifier else [],
            temperature=config.temperature,
            files={name: sha256_of(work / name) for name in (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE)},
            parity=check_parity(module, work / GRAPH_FILE, TOLERANCE[precision] if tolerance is None else tolerance),
            self_test=make_self_test(work / GRAPH_FILE, trunk.vocab_size, module.config.state_size),
            training_data=[DataSource(**use.model_dump()) for use in config.training_data],
            quality=_measured(work),
            created=dt.datetime.now(dt.UTC).date().isoformat(),
            tool_versions={
                "torch": torch.__version__,
                "onnx": onnx.__version__,
                "onnxruntime": onnxruntime.__version__,
            },
        )
        _write_manifest(work, manifest)
        if (out / CARD_FILE).is_file() and _files_of(out) == manifest.files:  # a card tells of this very model
            shutil.copyfile(out / CARD_FILE, work / CARD_FILE)
        _take_place(work, out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return manifest


def write_quality(folder: Path, quality: dict[str, float]) -> None:
    """Note what was measured through the bundle, in ``metrics.json`` and in the manifest."""
    path = folder / METRICS_FILE
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    metrics["quality"] = metrics.get("quality", {}) | quality
    write_json(path, metrics)
    _write_manifest(folder, load_manifest(folder).model_copy(update={"quality": metrics["quality"]}))


def _files_of(folder: Path) -> dict[str, str]:
    try:
        return load_manifest(folder).files
    except BundleError:
        return {}


def _measured(folder: Path) -> dict[str, float]:
    path = folder / METRICS_FILE
    if not path.is_file():
        return {}
    quality: dict[str, float] = json.loads(path.read_text(encoding="utf-8")).get("quality", {})
    return quality


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST_FILE, manifest.model_dump(mode="json"))


def _refuse_to_lose_files(out: Path) -> None:
    """``out`` is replaced as a whole, so it may only hold what a bundle or a checkpoint holds."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is no folder: give another --out")
    if out.is_dir():
        foreign = sorted(path.name for path in out.iterdir() if path.name not in OUR_FILES)
        if foreign:
            raise OutputError(f"{out} holds {foreign[0]}, which is no part of a bundle: give another --out")


def _take_place(work: Path, out: Path) -> None:
    """Put ``work`` where ``out`` is. A crash in between leaves the old folder beside, under a name that says so."""
    work.chmod(0o755)
    if out.exists():
        old = out.with_name(f".{out.name}.replaced")
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
        work.rename(out)
        shutil.rmtree(old)
    else:
        work.rename(out)
