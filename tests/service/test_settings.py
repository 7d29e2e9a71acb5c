"""A misspelt or wrong setting stops the start and is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from service.settings import Settings, load_settings, misspelt, setting_names


def test_defaults_need_no_environment() -> None:
    """The service starts without a configuration file."""
    settings = Settings()
    assert settings.port == 8000
    assert settings.limits.max_chars == 200_000


def test_nested_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable sets one value and leaves its section's others alone."""
    monkeypatch.setenv("RNNSERVE_BUNDLES", "/somewhere")
    monkeypatch.setenv("RNNSERVE_BATCHING__MAX_BATCH_SIZE", "8")

    settings = load_settings()

    assert settings.bundles == Path("/somewhere")
    assert settings.batching.max_batch_size == 8
    assert settings.batching.max_padded_tokens == Settings().batching.max_padded_tokens


@pytest.mark.parametrize(
    "name", ["RNNSERVE_PROT", "RNNSERVE_BATCHING__MAX_BATCHSIZE", "RNNSERVE_BATCHING_MAX_BATCH_SIZE"]
)
def test_a_misspelt_setting_stops_the_start_and_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is silently ignored is worse than none."""
    monkeypatch.setenv(name, "1")

    with pytest.raises(ValueError, match=name):
        load_settings()


def test_other_programs_variables_are_not_ours() -> None:
    """Only our prefix is checked."""
    assert misspelt({"RNN_SERVE_PORT": "1", "PATH": "/bin"}) == []


@pytest.mark.parametrize(
    ("name", "value"), [("RNNSERVE_PORT", "many"), ("RNNSERVE_LIMITS__MAX_TEXTS", "0"), ("RNNSERVE_WORKERS", "-1")]
)
def test_a_wrong_value_stops_the_start_and_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is told which variable to correct."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=name.removeprefix("RNNSERVE_").lower().replace("__", ".")):
        load_settings()


def test_settings_can_t_change_after_the_start() -> None:
    """Read once, then frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_has_a_description() -> None:
    """The list in the source is the documentation."""
    settings = Settings()
    sections: dict[str, type[BaseModel]] = {
        name: type(value) for name, value in settings if isinstance(value, BaseModel)
    }
    models: list[type[BaseModel]] = [Settings, *sections.values()]
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description or name in sections, name
    assert "RNNSERVE_BATCHING__MAX_BATCH_SIZE" in setting_names()
