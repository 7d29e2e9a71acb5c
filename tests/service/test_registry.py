"""Which model answers: the one that is named, else the one for the script of the text."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.bundle import Language, Task, bundle_folders
from service.errors import BundleError, UnknownModelError
from service.metrics import Metrics, ModelMetrics
from service.registry import ModelRegistry, language_of, load_models
from service.settings import BatchingSettings
from tests.conftest import write_bundle


def load(folder: Path) -> ModelRegistry:
    """All bundles of a folder, loaded."""
    metrics = Metrics()
    return load_models(folder, 1, BatchingSettings(), lambda name: ModelMetrics(metrics, name))


@pytest.fixture(scope="module")
def registry(bundles: Path) -> Iterator[ModelRegistry]:
    """The four tiny models."""
    loaded = load(bundles)
    yield loaded
    loaded.close()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("This movie", "en"),
        ("这部电影", "zh"),
        ("OK 好", "zh"),
        ("𠮷", "zh"),
        ("〇", "zh"),
        ("кино", "en"),
        ("영화", "en"),
        ("😀", "en"),
        ("", "en"),
        ("，。！", "en"),
    ],
)
def test_the_script_decides_the_language(text: str, language: Language) -> None:
    """Any Han character makes a text Chinese; punctuation alone does not."""
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("model", "task", "text", "found"),
    [
        (None, "sentiment", "good", "sentiment-en@1"),
        (None, "sentiment", "好", "sentiment-zh@1"),
        (None, "language-model", "好", "lm-zh@1"),
        ("sentiment-en", "sentiment", "好", "sentiment-en@1"),
        ("sentiment-en@1", "sentiment", "好", "sentiment-en@1"),
    ],
)
def test_a_name_comes_before_the_script(
    registry: ModelRegistry, model: str | None, task: Task, text: str, found: str
) -> None:
    """With or without a version."""
    assert registry.resolve(model, task, text).id == found


@pytest.mark.parametrize("model", ["none", "sentiment-en@7", "lm-en"])
def test_what_can_t_answer_is_unknown(registry: ModelRegistry, model: str) -> None:
    """And those that can are listed."""
    with pytest.raises(UnknownModelError, match="Available: sentiment-en@1, sentiment-zh@1"):
        registry.resolve(model, "sentiment", "good")


def test_a_model_of_another_task_is_named_as_it_is_spelled(registry: ModelRegistry) -> None:
    """Whoever copies the name from the message has the right one."""
    with pytest.raises(
        UnknownModelError, match=r"^The model lm-en@1 is a language-model model, not a sentiment model\."
    ):
        registry.resolve("lm-en", "sentiment", "good")


def test_the_newest_version_answers_for_the_name(bundles: Path, tmp_path: Path) -> None:
    """10 is newer than 9."""
    for version in ("9", "10"):
        write_bundle(tmp_path / f"mine-{version}", "sentiment", "en", "gru", name="mine", version=version)
    registry = load(tmp_path)
    assert registry.get("mine").id == "mine@10"
    assert registry.get("mine@9").id == "mine@9"
    assert registry.resolve(None, "sentiment", "good").id == "mine@10"
    with pytest.raises(UnknownModelError, match="No sentiment model for zh"):
        registry.resolve(None, "sentiment", "好")
    registry.close()


def test_shipped_models_stay_the_default_beside_one_s_own(bundles: Path, tmp_path: Path) -> None:
    """Adding a model does not change who answers unnamed requests."""
    shutil.copytree(bundles / "sentiment-en", tmp_path / "sentiment-en")
    write_bundle(tmp_path / "aaa", "sentiment", "en", "gru")
    registry = load(tmp_path)
    assert registry.resolve(None, "sentiment", "good").id == "sentiment-en@1"
    registry.close()


def test_two_bundles_of_one_name_and_version_stop_the_start(bundles: Path, tmp_path: Path) -> None:
    """Else the folder's order would decide."""
    for name in ("a", "b"):
        shutil.copytree(bundles / "sentiment-en", tmp_path / name)
    with pytest.raises(BundleError, match="raise its version"):
        load(tmp_path)


def test_a_bundle_may_be_given_itself_and_hidden_folders_are_none(bundles: Path, tmp_path: Path) -> None:
    """An export in progress is hidden until it is whole."""
    assert bundle_folders(bundles / "lm-en") == [bundles / "lm-en"]
    (tmp_path / ".lm-en.half").mkdir()
    with pytest.raises(BundleError, match="holds no bundle"):
        bundle_folders(tmp_path)
