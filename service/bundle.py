"""The bundle: a folder with one model, ready to serve. The manifest's only definition; ``export`` imports it to write one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from service.errors import BundleError

MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.json"
CARD_FILE = "MODEL_CARD.md"

SCHEMA_VERSION = 1

Task = Literal["sentiment", "language-model"]
Cell = Literal["rnn", "lstm", "gru"]
Language = Literal["en", "zh"]
Precision = Literal["float32", "int8"]


class Frozen(BaseModel, extra="forbid", frozen=True):
    """Base of every record in the manifest: a field nobody knows is an error, not noise."""


class DataSource(Frozen):
    """A corpus that the model was trained on."""

    name: str
    licence: str
    source: str = ""
    citation: str = ""
    rows: int | None = Field(default=None, ge=0, description="Texts or lines taken from it.")


class ParityCase(Frozen):
    """One point of the parity grid: the same input through torch and through ONNX Runtime."""

    batch: int
    length: int
    chunk: int = Field(description="Tokens per run; the length itself when the text went in whole.")
    zero_state: bool
    max_error: float = Field(description="Against torch: absolute, or relative where the number is above 1.")
    invariance_error: float = Field(description="Against the same rows alone and whole.")


class ParityCertificate(Frozen):
    """How far ONNX Runtime's numbers are from torch's, over a grid of shapes, chunkings and states."""

    tolerance: float
    max_error: float = Field(description="Absolute, or relative where the number is above 1.")
    invariance_tolerance: float = Field(
        description="For a row alone and whole, against the same row among others and in parts."
    )
    max_invariance_error: float
    cases: list[ParityCase]
    torch: str
    onnxruntime: str


class SelfTest(Frozen):
    """A short input with its answer, run when the bundle is opened."""

    input_ids: list[list[int]]
    logits: list[list[float]] = Field(description="(B, first few of N) the final logits of each row.")
    tolerance: float = 1e-3


class Manifest(Frozen):
    """What a bundle says about itself."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")
    task: Task
    language: Language
    cell: Cell
    num_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    embedding_dim: int = Field(ge=1)
    vocab_size: int = Field(ge=2)
    parameters: int = Field(ge=1, description="Weights, the embedding included.")
    precision: Precision = Field(default="float32", description="Of the recurrent layers' arithmetic.")
    state_size: int = Field(ge=1, description="S: float32 numbers that hold a text's whole past.")
    labels: list[str] = Field(default=[], description="Sentiment: class names in logit order.")
    temperature: float = Field(
        default=1.0, gt=0, description="Calibration: probabilities are softmax(logits / temperature)."
    )
    max_tokens: int = Field(default=100_000, ge=1, description="Longest text, in tokens.")
    files: dict[str, str] = Field(description="SHA-256 of each file, by name.")
    parity: ParityCertificate
    self_test: SelfTest
    training_data: list[DataSource] = []
    quality: dict[str, float] = Field(default={}, description="Measured through this bundle, by metric name.")
    created: str = Field(description="ISO 8601 date.")
    tool_versions: dict[str, str] = {}

    @property
    def id(self) -> str:
        """The model's name on the wire, for instance ``sentiment-zh@1``."""
        return f"{self.name}@{self.version}"


def bundle_folders(folder: Path) -> list[Path]:
    """The bundles under ``folder``, or ``folder`` itself if it is one. Hidden folders are being written; they don't count.

    Raises:
        BundleError: there is none.
    """
    if (folder / MANIFEST_FILE).is_file():
        return [folder]
    if not folder.is_dir():
        raise BundleError(folder, "is not a folder", "set RNNSERVE_BUNDLES, or --bundles, to the folder of the bundles")
    found = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not found:
        raise BundleError(folder, "holds no bundle", "write one there with: rnnserve export")
    return found


def sha256_of(path: Path) -> str:
    """The file's SHA-256 as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_manifest(folder: Path) -> Manifest:
    """Read and check ``manifest.json``.

    Raises:
        BundleError: the file is missing, is not JSON, has a newer schema version, or a wrong field; the message names it.
    """
    path = folder / MANIFEST_FILE
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BundleError(path, "is missing", "export the checkpoint again: rnnserve export") from error
    except ValueError as error:
        raise BundleError(path, "is not valid JSON", "it was damaged or half written: export again") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            path,
            f"has schema version {version}, newer than {SCHEMA_VERSION}",
            "update rnnserve, or export with this version",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise BundleError(path, f"is wrong at {field}: {first['msg']}", "export the checkpoint again") from error


def load_card(folder: Path) -> str:
    """The model card as Markdown; empty where none was written."""
    path = folder / CARD_FILE
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file with the hash in the manifest.

    Raises:
        BundleError: a file is missing, not listed although it is served, or altered.
    """
    for name in (GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        if name not in manifest.files:
            raise BundleError(folder / MANIFEST_FILE, f"has no hash for {name}", "export the checkpoint again")
    for name, expected in manifest.files.items():
        path = folder / name
        if path.parent != folder:
            raise BundleError(
                folder / MANIFEST_FILE, f"lists {name}, outside the bundle", "export the checkpoint again"
            )
        if not path.is_file():
            raise BundleError(path, "is missing", "copy the whole folder, or export again")
        if sha256_of(path) != expected:
            raise BundleError(
                path,
                "does not match its SHA-256 in the manifest",
                "it was altered or half copied: copy or export it again",
            )
