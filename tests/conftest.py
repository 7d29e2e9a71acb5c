"""Tiny real models, exported as users export theirs: random weights, true tokenizers, all files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.bundle import Language

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ENGLISH = [
    "This movie is not good, and I don't like the plot.",
    "This movie is good! The cast was wonderful and the music, too.",
    "I will see you tomorrow, or the day after tomorrow if it rains.",
    "It cost 25 dollars; we didn't expect that, but it's a good film.",
] * 4
CHINESE = [
    "这部电影不好看，情节没有意思。",
    "这部电影好看，音乐很好听，演员也不错。",
    "我明天去看电影，你去不去？",
    "房间不大，但是很干净，服务员特别热情。",
] * 4


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own RNNSERVE_ variables must not decide a test."""
    for name in list(os.environ):
        if name.upper().startswith("RNNSERVE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sentiment-en (LSTM), sentiment-zh (GRU), lm-en (LSTM) and lm-zh (GRU), all tiny. Never write to it."""
    folder = tmp_path_factory.mktemp("bundles")
    cells: dict[Language, str] = {"en": "lstm", "zh": "gru"}
    for language, cell in cells.items():
        write_bundle(folder / f"sentiment-{language}", "sentiment", language, cell)
        write_bundle(folder / f"lm-{language}", "language-model", language, cell)
    return folder


def write_bundle(
    out: Path, task: str, language: Language, cell: str, name: str | None = None, version: str = "1"
) -> None:
    """Export a tiny model with random weights, the same ones at every call."""
    import torch

    from export.bundle import export_bundle
    from models.checkpoint import CheckpointConfig, save_checkpoint
    from models.classifier import ClassifierConfig
    from models.language_model import LanguageModelConfig
    from models.tokenizer import train_tokenizer
    from models.trunk import TrunkConfig

    sentiment = task == "sentiment"
    texts = ENGLISH if language == "en" else CHINESE
    tokenizer = train_tokenizer(language, texts, 420, lowercase=sentiment, specials=not sentiment)
    trunk = TrunkConfig.model_validate(
        {"cell": cell, "vocab_size": tokenizer.get_vocab_size(), "embedding_dim": 8, "hidden_size": 16}
    )
    config = CheckpointConfig.model_validate(
        {
            "name": name or out.name,
            "task": task,
            "language": language,
            "classifier": ClassifierConfig(trunk=trunk) if sentiment else None,
            "language_model": None if sentiment else LanguageModelConfig(trunk=trunk),
            "temperature": 1.3,
        }
    )
    torch.manual_seed(5)
    module = config.build()
    with torch.no_grad():
        for parameter in module.parameters():  # large enough that predictions differ from text to text
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    checkpoint = out.parent / f".{out.name}.checkpoint"
    save_checkpoint(checkpoint, config, module, tokenizer)
    export_bundle(checkpoint, out, version)
