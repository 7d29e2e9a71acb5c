"""Tests of ``export/closed_vocabulary.py`` on a tiny checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from export.closed_vocabulary import closed_vocabulary_section, read_closed_vocabulary
from export.evaluate import EvaluationError

METRICS: dict[str, Any] = {
    "recipe": {"data": {"closed": "ptb"}, "model": {"cell": "lstm", "num_layers": 2, "hidden_size": 650}},
    "stages": {"language-model": {"perplexity": {"valid": 71.24, "test": 68.06}}},
    "minutes": 3.2,
    "device": "a GPU",
    "seed": 4,
}


@pytest.fixture
def checkpoint(bundles: Path, tmp_path: Path) -> Path:
    """A checkpoint whose run measured a benchmark."""
    folder = Path(shutil.copytree(bundles / "lm-en", tmp_path / "ptb"))
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder


def test_perplexities_come_from_the_training_run(checkpoint: Path) -> None:
    """With its size, time and seed; published figures of the same benchmark stand below."""
    result = read_closed_vocabulary(checkpoint)

    section = "\n".join(closed_vocabulary_section([result]))
    assert (result.benchmark, result.valid, result.test) == ("ptb", 71.24, 68.06)
    assert result.parameters > 0
    assert "| LSTM 2 × 650 | 0.0 M | 71.2 | 68.1 | 3 minutes on a GPU, seed 4 |" in section
    assert "| AWD-LSTM (published) | 24.0 M | 60.0 | 57.3 |" in section
    assert "33.0 M" not in section


@pytest.mark.parametrize("missing", ["stages", "recipe"])
def test_another_checkpoint_is_refused_by_name(checkpoint: Path, missing: str) -> None:
    """What is missing is named."""
    (checkpoint / "metrics.json").write_text(json.dumps({k: v for k, v in METRICS.items() if k != missing}))

    with pytest.raises(EvaluationError, match=missing):
        read_closed_vocabulary(checkpoint)


def test_without_benchmarks_there_is_no_section() -> None:
    """Published figures alone are no measurement."""
    assert closed_vocabulary_section([]) == []
