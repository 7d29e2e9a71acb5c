"""The benchmark's own model: an LSTM 256 with random weights, in every other way a bundle like the shipped ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.servers import ServerFailedError
from benchmarks.texts import english_texts, vocabulary
from service.bundle import MANIFEST_FILE, load_manifest, verify_files
from service.errors import BundleError

FOLDER = Path(__file__).resolve().parent / ".models"
NAME = "bench-lstm256"
HIDDEN_SIZE, EMBEDDING_DIM, VOCAB_SIZE = 256, 128, 12_000
TOKENIZER_TEXTS, TOKENIZER_WORDS = 20_000, 30_000


def bench_bundle() -> Path:
    """The model's folder; made first if it is missing or no longer fits this version.

    Raises:
        ServerFailedError: it has to be made and PyTorch is not installed.
    """
    folder = FOLDER / NAME
    if (folder / MANIFEST_FILE).exists():
        try:
            verify_files(folder, load_manifest(folder))
        except BundleError:
            pass
        else:
            return folder
    try:
        _make(folder)
    except ModuleNotFoundError as error:
        raise ServerFailedError("making the benchmark's model needs PyTorch: make train-tools") from error
    return folder


def _make(folder: Path) -> None:
    import torch

    from export.bundle import export_bundle
    from models.checkpoint import CheckpointConfig, save_checkpoint
    from models.classifier import Classifier, ClassifierConfig
    from models.tokenizer import train_tokenizer
    from models.trunk import TrunkConfig

    corpus = [*english_texts(TOKENIZER_TEXTS, seed=99, vocabulary_size=TOKENIZER_WORDS), *vocabulary(TOKENIZER_WORDS)]
    tokenizer = train_tokenizer("en", corpus, VOCAB_SIZE, lowercase=True, specials=False)
    trunk = TrunkConfig(
        cell="lstm", vocab_size=tokenizer.get_vocab_size(), embedding_dim=EMBEDDING_DIM, hidden_size=HIDDEN_SIZE
    )
    classifier = ClassifierConfig(trunk=trunk)
    torch.manual_seed(0)
    module = Classifier(classifier)
    with torch.no_grad():
        module.out.weight.mul_(10)  # else every text gets nearly the same answer, and comparing answers shows little
    config = CheckpointConfig(name=NAME, task="sentiment", language="en", classifier=classifier)
    with tempfile.TemporaryDirectory() as checkpoint:
        save_checkpoint(Path(checkpoint), config, module, tokenizer)
        export_bundle(Path(checkpoint), folder, precision="int8")
