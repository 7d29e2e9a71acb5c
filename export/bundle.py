"""Writes a bundle: graph, parity certificate and manifest beside the checkpoint's files, whole or not at all."""

from __future__ import annotations

import datetime
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
from models.checkpoint import CONFIG_FILE, METRICS_FILE, TOKENIZER_FILE, WEIGHTS_FILE, load_checkpoint, write_json
from service.bundle import GRAPH_FILE, MANIFEST_FILE, SCHEMA_VERSION, DataSource, Manifest, load_manifest, sha256_of


def export_bundle(checkpoint: Path, out: Path, version: str = "1", tolerance: float = TOLERANCE) -> Manifest:
    """Turn a checkpoint into a bundle at ``out``; the two may be the same folder.

    Everything is made in a temporary folder that takes the place of ``out`` only when it is complete and correct.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ParityError: the graph differs from torch beyond the tolerance.
    """
    config, module, _ = load_checkpoint(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for name in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE, METRICS_FILE):
            if (checkpoint / name).is_file():
                shutil.copyfile(checkpoint / name, work / name)
        save_graph(build_graph(config, work / WEIGHTS_FILE), work / GRAPH_FILE)
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
            state_size=module.config.state_size,
            labels=list(config.classifier.labels) if config.classifier else [],
            temperature=config.temperature,
            files={name: sha256_of(work / name) for name in (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE)},
            parity=check_parity(module, work / GRAPH_FILE, tolerance),
            self_test=make_self_test(module),
            training_data=[DataSource(**use.model_dump()) for use in config.training_data],
            quality=_measured(work),
            created=datetime.datetime.now(datetime.UTC).date().isoformat(),
            tool_versions={
                "torch": torch.__version__,
                "onnx": onnx.__version__,
                "onnxruntime": onnxruntime.__version__,
            },
        )
        _write_manifest(work, manifest)
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


def _measured(folder: Path) -> dict[str, float]:
    path = folder / METRICS_FILE
    if not path.is_file():
        return {}
    quality: dict[str, float] = json.loads(path.read_text(encoding="utf-8")).get("quality", {})
    return quality


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST_FILE, manifest.model_dump(mode="json"))


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
