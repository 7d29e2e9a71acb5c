"""The loaded models, and which of them answers a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from service.batching import AdmissionPolicy, Batcher, BatchObserver, BatchPolicy
from service.bundle import TOKENIZER_FILE, Language, Manifest, Task, bundle_folders, load_card
from service.engine import Engine
from service.errors import BundleError, FieldError, UnknownModelError
from service.settings import BatchingSettings
from service.tokenizer import Tokenizer

HAN = re.compile("[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
SHIPPED_NAMES = {"sentiment": "sentiment", "language-model": "lm"}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One bundle, ready to answer."""

    manifest: Manifest
    engine: Engine
    batcher: Batcher
    tokenizer: Tokenizer
    card: str = ""  # Markdown

    @property
    def id(self) -> str:
        """``name@version``."""
        return self.manifest.id


def language_of(text: str) -> Language:
    """The language by script: any Han character makes a text Chinese."""
    return "zh" if not text.isascii() and HAN.search(text) else "en"


def load_model(
    folder: Path,
    threads: int,
    batching: BatchingSettings,
    observer: Callable[[str], BatchObserver],
    *,
    split: bool = False,
) -> LoadedModel:
    """Open one bundle: engine, tokenizer, batcher (``split`` as it takes it).

    Raises:
        BundleError: see ``Engine.open``; or the tokenizer can't be read.
    """
    engine = Engine.open(folder, threads)
    tokenizer = Tokenizer.open(folder / TOKENIZER_FILE, engine.manifest.language)
    batcher = Batcher(
        engine,
        BatchPolicy(
            max_batch_size=batching.max_batch_size,
            max_padded_tokens=batching.max_padded_tokens,
            chunk_tokens=batching.chunk_tokens,
        ),
        admission=AdmissionPolicy(
            max_queued_rows=batching.max_queued_rows,
            max_queued_tokens=batching.max_queued_tokens,
            max_wait_s=batching.max_wait_s,
        ),
        inline_run_s=batching.inline_run_s,
        split=split,
        deadline_s=batching.deadline_s,
        observer=observer(engine.model_id),
    )
    batcher.calibrate()
    return LoadedModel(engine.manifest, engine, batcher, tokenizer, load_card(folder))


def load_models(
    folder: Path,
    threads: int,
    batching: BatchingSettings,
    observer: Callable[[str], BatchObserver],
    *,
    split: bool = False,
) -> ModelRegistry:
    """Open all bundles under ``folder``, several at once. Blocks for as long as that takes.

    Raises:
        BundleError: one can't be served, or two have the same name and version.
    """
    folders = bundle_folders(folder)
    with ThreadPoolExecutor(max_workers=len(folders)) as pool:
        models = list(pool.map(lambda path: load_model(path, threads, batching, observer, split=split), folders))
    by_id: dict[str, Path] = {}
    for path, model in zip(folders, models, strict=True):
        if model.id in by_id:
            raise BundleError(path, f"is {model.id}, as {by_id[model.id]} is", "remove one or raise its version")
        by_id[model.id] = path
    return ModelRegistry(models)


def _version_key(manifest: Manifest) -> list[tuple[int, str]]:
    """Sorts "10" after "9" and "1.2" after "1.1"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[._-]", manifest.version)]


class ModelRegistry:
    """All loaded models by name.

    Args:
        models: distinct in name and version.
    """

    def __init__(self, models: Iterable[LoadedModel]) -> None:
        self._models = sorted(models, key=lambda model: (model.manifest.name, _version_key(model.manifest)))
        self._by_name = {model.manifest.name: model for model in self._models}  # the newest version of each name
        self._by_name |= {model.id: model for model in self._models}
        self._default: dict[tuple[str, str], LoadedModel] = {}
        for model in reversed(self._models):
            manifest = model.manifest
            self._default[manifest.task, manifest.language] = self._by_name[manifest.name]
        for task, prefix in SHIPPED_NAMES.items():
            for language in ("en", "zh"):
                shipped = self._by_name.get(f"{prefix}-{language}")
                if shipped is not None and shipped.manifest.task == task and shipped.manifest.language == language:
                    self._default[task, language] = shipped

    def __iter__(self) -> Iterator[LoadedModel]:
        return iter(self._models)

    def get(self, model: str) -> LoadedModel:
        """The model called ``name@version``, or the newest called ``name``.

        Raises:
            UnknownModelError: there is none.
        """
        found = self._by_name.get(model)
        if found is None:
            raise self._unknown("no loaded model has this name", list(self._models))
        return found

    def resolve(self, model: str | None, task: Task, text: str) -> LoadedModel:
        """Which model answers: the one that is named, else the one for the script of the text.

        Raises:
            UnknownModelError: no model has this name, it does another task, or none serves the text's language.
        """
        if model is None:
            language = language_of(text)
            default = self._default.get((task, language))
            if default is None:
                raise self._unknown(f"no {task} model for {language} is loaded", self._of(task))
            return default
        found = self._by_name.get(model)
        if found is None:
            raise self._unknown("no loaded model has this name", self._of(task))
        if found.manifest.task != task:
            problem = f"the model {found.id} is a {found.manifest.task} model, not a {task} model"
            raise self._unknown(problem, self._of(task))
        return found

    def close(self) -> None:
        """End the models' threads."""
        for model in self._models:
            model.batcher.close()

    def _of(self, task: Task) -> list[LoadedModel]:
        return [model for model in self._models if model.manifest.task == task]

    @staticmethod
    def _unknown(problem: str, models: list[LoadedModel]) -> UnknownModelError:
        known = ", ".join(model.id for model in models) or "none"
        return UnknownModelError(
            f"{problem[0].upper()}{problem[1:]}. Available: {known}.", [FieldError("/model", "unknown_model", problem)]
        )
