"""Benchmarks with a closed vocabulary (PTB, WikiText-2) as their training runs measured them, beside published figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from export.evaluate import EvaluationError
from export.markdown import markdown_table
from models.checkpoint import CONFIG_FILE, CheckpointConfig
from models.stages import LANGUAGE_MODEL
from service.bundle import METRICS_FILE

TITLES = {"ptb": "Penn Treebank", "wikitext2": "WikiText-2"}

MEASURES = """By the field's conventions, not comparable with the open vocabularies above: the words of the training part, rare ones
written `<unk>`; every token counts, `<unk>` and the end of each line included; the text is one stream whose state is never reset. These
models are measured by their training run and do not ship.
"""


class ClosedVocabularyResult(BaseModel, frozen=True):
    """Perplexity of one model on a benchmark's valid and test part; weights in units, minutes on ``device``."""

    benchmark: str
    name: str
    parameters: int
    valid: float
    test: float
    note: str = ""


PUBLISHED = (
    ClosedVocabularyResult(
        benchmark="ptb", name="LSTM 2 × 650, medium (published)", parameters=20_000_000, valid=86.2, test=82.7,
        note="Zaremba et al. 2014, arXiv:1409.2329",
    ),
    ClosedVocabularyResult(
        benchmark="ptb", name="AWD-LSTM (published)", parameters=24_000_000, valid=60.0, test=57.3,
        note="Merity et al. 2017, arXiv:1708.02182",
    ),
    ClosedVocabularyResult(
        benchmark="wikitext2", name="AWD-LSTM (published)", parameters=33_000_000, valid=68.6, test=65.8,
        note="Merity et al. 2017, arXiv:1708.02182",
    ),
)  # fmt: skip


def read_closed_vocabulary(folder: Path) -> ClosedVocabularyResult:
    """What a training run on a benchmark measured.

    Args:
        folder: a checkpoint of a recipe with ``data.closed``; its weights need not be there.

    Raises:
        EvaluationError: it is no such run's.
    """
    try:
        module = CheckpointConfig.model_validate_json((folder / CONFIG_FILE).read_bytes()).build()
    except (OSError, ValidationError) as error:
        raise EvaluationError(f"{folder / CONFIG_FILE}: {error}") from error
    path = folder / METRICS_FILE
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    try:
        perplexity, recipe = metrics["stages"][LANGUAGE_MODEL]["perplexity"], metrics["recipe"]
        benchmark, model = recipe["data"]["closed"], recipe["model"]
        note = f"{metrics['minutes']:.0f} minutes on {metrics['device']}, seed {metrics['seed']}"
        name = f"{model['cell'].upper()} {model['num_layers']} × {model['hidden_size']}"
        valid, test = perplexity["valid"], perplexity["test"]
    except KeyError as error:
        raise EvaluationError(
            f"{path} holds no {error.args[0]!r}: it is no run of a closed-vocabulary benchmark"
        ) from error
    parameters = sum(p.numel() for p in module.parameters())
    return ClosedVocabularyResult(
        benchmark=benchmark, name=name, parameters=parameters, valid=valid, test=test, note=note
    )


def closed_vocabulary_section(results: Sequence[ClosedVocabularyResult]) -> list[str]:
    """One table for each benchmark, published figures below ours; nothing without results."""
    if not results:
        return []
    parts = ["## Closed-vocabulary benchmarks\n", MEASURES]
    for benchmark in dict.fromkeys(r.benchmark for r in results):
        rows = [
            [r.name, f"{r.parameters / 1e6:.1f} M", f"{r.valid:.1f}", f"{r.test:.1f}", r.note]
            for r in (*results, *PUBLISHED)
            if r.benchmark == benchmark
        ]
        title = TITLES.get(benchmark, benchmark)
        parts.append(f"**{title}**\n\n{markdown_table(['model', 'weights', 'valid', 'test', ''], rows)}")
    return parts
