"""What routes ask for, found on the application's state."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from service.metrics import Metrics
from service.middleware import Readiness
from service.registry import ModelRegistry
from service.sentiment import SentimentClassifier


def get_classifier(connection: HTTPConnection) -> SentimentClassifier:
    """The sentiment use case."""
    return cast(SentimentClassifier, connection.app.state.classifier)


def get_registry(connection: HTTPConnection) -> ModelRegistry:
    """The loaded models."""
    return cast(ModelRegistry, connection.app.state.registry)


def get_metrics(connection: HTTPConnection) -> Metrics:
    """The process's instruments."""
    return cast(Metrics, connection.app.state.metrics)


def get_readiness(connection: HTTPConnection) -> Readiness:
    """Whether the process is loading, ready or draining."""
    return cast(Readiness, connection.app.state.readiness)


ClassifierDep = Annotated[SentimentClassifier, Depends(get_classifier)]
RegistryDep = Annotated[ModelRegistry, Depends(get_registry)]
MetricsDep = Annotated[Metrics, Depends(get_metrics)]
ReadinessDep = Annotated[Readiness, Depends(get_readiness)]
