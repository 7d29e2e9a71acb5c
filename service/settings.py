"""What operators set, read once from ``RNNSERVE_...`` variables into one frozen object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RNNSERVE_"
DELIMITER = "__"
DEFAULT_BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


class Section(BaseModel, extra="forbid", frozen=True):
    """Base of the groups of settings: an unknown name stops the start."""


class BatchingSettings(Section):
    """How requests are gathered into one model run, and how much may wait."""

    max_batch_size: int = Field(default=32, ge=1, description="Most rows in one model run.")
    max_padded_tokens: int = Field(default=2048, ge=1, description="Rows times longest row, padding included.")
    chunk_tokens: int = Field(default=256, ge=1, description="A longer row runs in parts of this size, others between.")
    max_queued_rows: int = Field(default=2048, ge=1, description="Rows waiting for one model; more are refused.")
    max_queued_tokens: int = Field(
        default=1_000_000, ge=1, description="Tokens waiting for one model; more are refused."
    )
    max_wait_s: float = Field(
        default=0.2, gt=0, description="A row whose predicted wait is longer is refused at once, not served late."
    )
    deadline_s: float = Field(default=30.0, gt=0, description="Longest time one row may take, waiting included.")
    inline_run_s: float = Field(
        default=0.001, ge=0, description="A run predicted to be this short happens on the event loop: no hand-over."
    )


class LimitSettings(Section):
    """What one request may ask for."""

    max_body_bytes: int = Field(default=2_000_000, ge=1, description="Bytes of a request body.")
    max_texts: int = Field(default=256, ge=1, description="Texts in one request.")
    max_chars: int = Field(default=200_000, ge=1, description="Unicode code points in one text.")
    max_trace_tokens: int = Field(default=10_000, ge=1, description="Tokens of one text whose trace is asked for.")
    live_idle_s: float = Field(default=60.0, gt=0, description="A WebSocket that sends nothing for so long is closed.")
    max_top_k: int = Field(default=50, ge=1, description="Candidates of one next-word request.")
    max_completion_tokens: int = Field(default=4096, ge=0, description="Tokens that one completion may generate.")
    max_choices: int = Field(default=128, ge=1, description="Texts that one completions request may generate.")


class StateCacheSettings(Section):
    """The states that language models keep between requests."""

    max_bytes: int = Field(default=8_000_000, ge=0, description="Of each language model's cache; 0 turns it off.")


class StateTokenSettings(Section):
    """The states that clients carry away."""

    keys: SecretStr = Field(
        default=SecretStr(""),
        description="Base64 keys of 32 bytes, separated by commas; the first seals, all open. "
        "Replicas that share them can go on with each other's texts. Empty: a random key for this start.",
    )
    lifetime_s: float = Field(default=86_400.0, gt=0, description="How long a state may be sent back.")


class EngineSettings(Section):
    """How model runs use the machine."""

    threads: int = Field(default=0, ge=0, description="Threads of one model run; 0 takes the CPU quota over workers.")


class Settings(BaseSettings):
    """All settings of one service process. Nested names join with ``__``: ``RNNSERVE_BATCHING__MAX_BATCH_SIZE``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    bundles: Path = Field(default=DEFAULT_BUNDLES, description="Folder whose subfolders are bundles.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, description="Server processes that share the port.")
    drain_delay_s: float = Field(
        default=0.0, ge=0, description="From SIGTERM, how long to report not ready before the port closes."
    )
    grace_s: float = Field(default=30.0, gt=0, description="How long running work may take after SIGTERM.")
    access_log: bool = Field(default=False, description="One line per request (path and status, never a text).")
    metrics_folder: Path | None = Field(
        default=None,
        description="Where workers leave their metrics for each other; `serve` sets it for several workers.",
    )
    engine: EngineSettings = EngineSettings()
    batching: BatchingSettings = BatchingSettings()
    limits: LimitSettings = LimitSettings()
    state_cache: StateCacheSettings = StateCacheSettings()
    state_token: StateTokenSettings = StateTokenSettings()


def setting_names(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> set[str]:
    """Every environment variable that sets something, sections included."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        names.add(variable)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= setting_names(field.annotation, variable + DELIMITER)
    return names


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """Variables that carry our prefix and set nothing, in alphabetical order."""
    known = setting_names()
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ValueError: a variable is misspelt or holds a wrong value; the message names it.
    """
    unknown = misspelt(os.environ)
    if unknown:
        raise ValueError(f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(setting_names()))}")
    return Settings()
