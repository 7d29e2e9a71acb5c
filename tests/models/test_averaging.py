"""Tests of models/averaging.py and of ``rnnserve average``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from typer.testing import CliRunner

from models.averaging import write_average
from models.calibration import uncalibrated
from models.checkpoint import METRICS_FILE, CheckpointConfig, DataUse, load_checkpoint, save_checkpoint, write_json
from models.classifier import Classifier, ClassifierConfig
from models.language_model import LanguageModelConfig
from models.loop import TrainingError
from models.tokenizer import train_tokenizer
from models.trunk import TrunkConfig
from rnnserve import build

TRUNK = TrunkConfig(cell="gru", vocab_size=400, embedding_dim=4, hidden_size=5)


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.Tokenizer:
    return train_tokenizer("en", ["a tiny text"] * 3, 400, lowercase=True, specials=False)


def saved(folder: Path, tokenizer: tokenizers.Tokenizer, seed: int, **changes: Any) -> Path:
    """A classifier with random weights, as the run with this seed might have left it."""
    fields = {"name": "tiny", "task": "sentiment", "language": "en", "classifier": ClassifierConfig(trunk=TRUNK)}
    config = CheckpointConfig.model_validate(fields | {"temperature": float(seed)} | changes)
    torch.manual_seed(seed)
    save_checkpoint(folder, config, config.build(), tokenizer)
    write_json(
        folder / METRICS_FILE,
        {"seed": seed, "minutes": 3.0, "device": "cpu", "quality": {"a": 1.0}, "calibration": {"temperature": 1.0}},
    )
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    _, module, _ = load_checkpoint(folder)
    assert isinstance(module, Classifier)
    return uncalibrated(module).state_dict()


@pytest.mark.parametrize(("shares", "expected"), [((), (0.5, 0.5)), ((3.0, 1.0), (0.75, 0.25))])
def test_the_mean_has_the_given_shares_of_each(
    tmp_path: Path, tokenizer: tokenizers.Tokenizer, shares: tuple[float, ...], expected: tuple[float, float]
) -> None:
    """Alike without shares; numbers that do not add up to one are brought there."""
    runs = [saved(tmp_path / str(seed), tokenizer, seed) for seed in (1, 2)]

    write_average(runs, shares, tmp_path / "mean", "mean")

    first, second = map(weights, runs)
    for key, value in weights(tmp_path / "mean").items():
        torch.testing.assert_close(value, expected[0] * first[key] + expected[1] * second[key], rtol=1e-3, atol=1e-3)
    config, *_ = load_checkpoint(tmp_path / "mean")
    assert config.name == "mean"
    assert config.temperature == pytest.approx(expected[0] + 2 * expected[1])


def test_the_metrics_name_each_run_and_claim_nothing_that_was_measured_of_one(
    tmp_path: Path, tokenizer: tokenizers.Tokenizer
) -> None:
    """The mean answers otherwise than each."""
    runs = [saved(tmp_path / str(seed), tokenizer, seed) for seed in (1, 2)]

    write_average(runs, (), tmp_path / "mean")

    metrics = json.loads((tmp_path / "mean" / METRICS_FILE).read_text(encoding="utf-8"))
    assert [(run["name"], run["share"], run["seed"]) for run in metrics["averaged"]] == [
        ("tiny", 0.5, 1),
        ("tiny", 0.5, 2),
    ]
    assert metrics.keys().isdisjoint({"quality", "calibration"})


def test_what_any_of_them_was_trained_on_is_named_once(tmp_path: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """With the most rows."""
    uses = [
        [DataUse(name=name, licence="CC0", source="ours", rows=rows) for name, rows in some.items()]
        for some in ({"a": 5, "b": 7}, {"a": 9, "c": 1})
    ]
    runs = [
        saved(tmp_path / str(seed), tokenizer, seed, training_data=use) for seed, use in zip((1, 2), uses, strict=True)
    ]

    write_average(runs, (), tmp_path / "mean")

    config, *_ = load_checkpoint(tmp_path / "mean")
    assert {use.name: use.rows for use in config.training_data} == {"a": 9, "b": 7, "c": 1}


def test_a_calibrated_model_joins_without_its_text_temperature(tmp_path: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """It was fitted on one model's answers."""
    calibrated = ClassifierConfig(trunk=TRUNK, text_temperature=True, kinds=2)
    runs = [saved(tmp_path / "1", tokenizer, 1, classifier=calibrated), saved(tmp_path / "2", tokenizer, 2)]

    write_average(runs, (), tmp_path / "mean")

    config, *_ = load_checkpoint(tmp_path / "mean")
    assert config.classifier == ClassifierConfig(trunk=TRUNK)


def test_what_has_no_mean_is_refused(tmp_path: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """One model alone, other sizes, another language, a language model, shares that do not fit: said in one line, nothing written."""
    first, second = (saved(tmp_path / str(seed), tokenizer, seed) for seed in (1, 2))
    larger = ClassifierConfig(trunk=TRUNK.model_copy(update={"hidden_size": 6}))
    large = saved(tmp_path / "large", tokenizer, 3, classifier=larger)
    chinese = saved(tmp_path / "chinese", tokenizer, 3, language="zh")
    language_model = LanguageModelConfig(trunk=TRUNK)
    lm = saved(tmp_path / "lm", tokenizer, 3, task="language-model", classifier=None, language_model=language_model)
    out = tmp_path / "mean"

    for runs, shares, message in (
        ([first], (), "two checkpoints or more"),
        ([first, large], (), "no other run"),
        ([first, chinese], (), "no other run"),
        ([first, lm], (), "holds a language model"),
        ([first, second], (1.0,), "1 for 2"),
        ([first, second], (1.0, 0.0), "greater than 0"),
    ):
        with pytest.raises(TrainingError, match=message):
            write_average(runs, shares, out)
    assert not out.exists()
    out.write_text("taken")
    with pytest.raises(TrainingError, match="is a file"):
        write_average([first, second], (), out)


def test_the_command_averages_and_a_wrong_one_says_why(tmp_path: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """As a user meets it."""
    runs = [str(saved(tmp_path / str(seed), tokenizer, seed)) for seed in (1, 2)]
    call = CliRunner().invoke

    done = call(build(), ["average", *runs, "--share", "0.7", "--share", "0.3", "--out", str(tmp_path / "mean")])
    wrong = call(build(), ["average", runs[0], str(tmp_path / "absent"), "--out", str(tmp_path / "other")])

    assert done.exit_code == 0, done.output
    assert "rnnserve calibrate" in done.output
    assert wrong.exit_code == 2
    assert "absent" in " ".join(wrong.output.split())
