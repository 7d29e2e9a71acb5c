"""What routes ask for, found on the application's state."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from service.completion import Completer
from service.metrics import Metrics
from service.middleware import Readiness
from service.next_word import NextWordPredictor
from service.registry import ModelRegistry
from service.running_text import StateTokens
from service.sentiment import SentimentClassifier
from service.settings import Settings
from service.worker_metrics import WorkerMetrics


def get_classifier(connection: HTTPConnection) -> SentimentClassifier:
    """The sentiment use case."""
    return cast(SentimentClassifier, connection.app.state.classifier)


def get_completer(connection: HTTPConnection) -> Completer:
    """The completion use case."""
    return cast(Completer, connection.app.state.completer)


def get_next_word(connection: HTTPConnection) -> NextWordPredictor:
    """The next-word use case."""
    return cast(NextWordPredictor, connection.app.state.next_word)


def get_registry(connection: HTTPConnection) -> ModelRegistry:
    """The loaded models."""
    return cast(ModelRegistry, connection.app.state.registry)


def get_metrics(connection: HTTPConnection) -> Metrics:
    """The process's instruments."""
    return cast(Metrics, connection.app.state.metrics)


def get_worker_metrics(connection: HTTPConnection) -> WorkerMetrics:
    """The instruments of all worker processes."""
    return cast(WorkerMetrics, connection.app.state.worker_metrics)


def get_readiness(connection: HTTPConnection) -> Readiness:
    """Whether the process is loading, ready or draining."""
    return cast(Readiness, connection.app.state.readiness)


def get_settings(connection: HTTPConnection) -> Settings:
    """What the operator has set."""
    return cast(Settings, connection.app.state.settings)


def get_state_tokens(connection: HTTPConnection) -> StateTokens:
    """What seals and opens the states that clients carry."""
    return cast(StateTokens, connection.app.state.state_tokens)


ClassifierDep = Annotated[SentimentClassifier, Depends(get_classifier)]
CompleterDep = Annotated[Completer, Depends(get_completer)]
NextWordDep = Annotated[NextWordPredictor, Depends(get_next_word)]
RegistryDep = Annotated[ModelRegistry, Depends(get_registry)]
MetricsDep = Annotated[Metrics, Depends(get_metrics)]
WorkerMetricsDep = Annotated[WorkerMetrics, Depends(get_worker_metrics)]
ReadinessDep = Annotated[Readiness, Depends(get_readiness)]
SettingsDep = Annotated[Settings, Depends(get_settings)]
StateTokensDep = Annotated[StateTokens, Depends(get_state_tokens)]
