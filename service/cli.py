"""``rnnserve serve``, ``predict`` and ``models``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from service.bundle import Manifest, bundle_folders, load_manifest, verify_files
from service.errors import BundleError, ServiceError
from service.settings import DELIMITER, PREFIX, Settings, load_settings
from service.state_token import generate_key, parse_keys

if TYPE_CHECKING:
    from service.next_word import NextWordPredictor
    from service.schemas import SentimentResult
    from service.sentiment import SentimentClassifier

app = typer.Typer(no_args_is_help=True, add_completion=False)

STATE_KEYS = f"{PREFIX}STATE_TOKEN{DELIMITER}KEYS"
METRICS_FOLDER = f"{PREFIX}METRICS_FOLDER"
USAGE_ERROR = 2  # the caller's mistake: a wrong setting, text or model
START_ERROR = 1  # the bundles can't be served

Bundles = Annotated[Path | None, typer.Option("--bundles", help="Folder of the bundles, instead of RNNSERVE_BUNDLES.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON instead of a table.")]


def fail(message: str, exit_code: int) -> typer.Exit:
    """Say on stderr what is wrong; raise the result."""
    Console(stderr=True, soft_wrap=True).print(f"[red]error:[/red] {escape(message)}")
    return typer.Exit(exit_code)


def settings_with(**options: object) -> Settings:
    """The environment's settings, with those options on top that were given.

    They go through the environment, because worker processes read it too.
    """
    for name, value in options.items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)
    try:
        return load_settings()
    except ValueError as error:
        raise fail(str(error), USAGE_ERROR) from None


def check_bundles(folder: Path) -> list[Manifest]:
    """Every bundle's manifest, its files verified; the process ends with the file's name where one is wrong."""
    try:
        manifests = []
        for path in bundle_folders(folder):
            manifest = load_manifest(path)
            verify_files(path, manifest)
            manifests.append(manifest)
    except BundleError as error:
        raise fail(str(error), START_ERROR) from None
    return manifests


def share_state_keys(settings: Settings) -> None:
    """Check the keys of state tokens; without any, draw one for all workers: a text may go on at any of them."""
    keys = settings.state_token.keys.get_secret_value()
    if not keys:
        os.environ[STATE_KEYS] = generate_key()
        return
    try:
        parse_keys(keys)
    except ValueError as error:
        raise fail(f"{STATE_KEYS}: {error}", USAGE_ERROR) from None


@contextmanager
def metrics_folder(settings: Settings) -> Iterator[None]:
    """For several workers, a folder where they leave their metrics for each other."""
    if settings.workers == 1 or settings.metrics_folder is not None:
        yield
        return
    with TemporaryDirectory(prefix="rnnserve-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        yield


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: 8000.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes that share the port. Default: 1.")] = None,
    bundles: Bundles = None,
) -> None:
    """Serve the bundles over HTTP. Options come before RNNSERVE_... variables."""
    settings = settings_with(host=host, port=port, workers=workers, bundles=bundles)
    manifests = check_bundles(settings.bundles)
    share_state_keys(settings)
    Console(stderr=True, soft_wrap=True).print(
        f"serving {', '.join(manifest.id for manifest in manifests)} on http://{settings.host}:{settings.port}"
    )
    import uvicorn

    from service.shared_port import run_workers

    options: dict[str, Any] = {
        "app": "service.app:create_app_from_environment",
        "factory": True,
        "host": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "http": "service.http_protocol:HttpProtocol",  # an import path
        "proxy_headers": False,  # no route asks who the client is
        "access_log": settings.access_log,
        "log_level": "info" if settings.access_log else "warning",
        "server_header": False,
        "ws_max_size": settings.limits.max_body_bytes,
        "timeout_graceful_shutdown": max(1, round(settings.grace_s)),
    }
    with metrics_folder(settings):
        if settings.workers > 1 and sys.platform == "linux":  # elsewhere a shared port is no even one
            run_workers(uvicorn.Config(**options))
        else:
            uvicorn.run(**options)


@app.command()
def predict(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts. Without any, each line of stdin is one.")] = None,
    model: Annotated[str | None, typer.Option(help="name or name@version, instead of each text's language.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show the prediction after every token.")] = False,
    next_word: Annotated[
        bool, typer.Option("--next-word", help="Instead: the words that complete it or follow.")
    ] = False,
    as_json: AsJson = False,
    bundles: Bundles = None,
) -> None:
    """Predict the sentiment of texts, or their next word, without a server."""
    # Imported here: `models`, and the parent of several workers, need not hold them (60 MB, half a second).
    from service.app import engine_threads, open_language_models
    from service.metrics import Metrics, ModelMetrics
    from service.next_word import NextWordPredictor
    from service.registry import load_models
    from service.sentiment import SentimentClassifier

    settings = settings_with(bundles=bundles)
    lines: Iterable[str] = texts or (line.rstrip("\r\n") for line in sys.stdin)
    metrics = Metrics()
    try:
        registry = load_models(
            settings.bundles, engine_threads(settings), settings.batching, lambda name: ModelMetrics(metrics, name)
        )
    except BundleError as error:
        raise fail(str(error), START_ERROR) from None
    try:
        if next_word:
            language_models = open_language_models(registry, settings.state_cache.max_bytes, metrics)
            predictor = NextWordPredictor(registry, language_models, settings.limits, metrics)
            asyncio.run(_next_words(predictor, lines, model, as_json))
        else:
            classifier = SentimentClassifier(registry, settings.limits, metrics)
            show = _print_json if as_json else _print_trace if trace else _print_table
            asyncio.run(_predict(classifier, lines, settings.limits.max_texts, model, trace, show))
    except ServiceError as error:
        raise fail(error.detail, USAGE_ERROR) from None
    finally:
        registry.close()


Show = Callable[["list[tuple[str, SentimentResult]]"], None]


async def _predict(
    classifier: SentimentClassifier, lines: Iterable[str], size: int, model: str | None, trace: bool, show: Show
) -> None:
    """Classify texts by the group, so that a long stdin is answered as it comes in."""
    first = 1
    for group in _groups(lines, size):
        pointers = [f"text {number}" for number in range(first, first + len(group))]
        results = await classifier.classify(group, model=model, trace=trace, pointers=pointers)
        show(list(zip(group, results, strict=True)))
        first += len(group)


async def _next_words(predictor: NextWordPredictor, lines: Iterable[str], model: str | None, as_json: bool) -> None:
    """Print what may come next, one text after another."""
    for line in lines:
        words = await predictor.predict(line, model=model)
        if as_json:
            typer.echo(json.dumps(asdict(words), ensure_ascii=False))
            continue
        table = Table("next word", "probability", title=Text(_shortened(line)), caption=words.model)
        for candidate in words.candidates:
            table.add_row(Text(candidate.word), f"{candidate.probability:.1%}")
        Console().print(table)


def _groups(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _print_json(rows: list[tuple[str, SentimentResult]]) -> None:
    for _, result in rows:
        typer.echo(result.model_dump_json(exclude_none=True))


def _print_table(rows: list[tuple[str, SentimentResult]]) -> None:
    table = Table("text", "label", "probability", "model")
    for text, result in rows:
        table.add_row(Text(_shortened(text)), _coloured(result.label), f"{result.score:.1%}", result.model)
    Console().print(table)


def _print_trace(rows: list[tuple[str, SentimentResult]]) -> None:
    for text, result in rows:
        labels = list(result.probabilities)
        table = Table(
            "token",
            *labels,
            title=Text(_shortened(text)),
            caption=f"{result.label}, {result.score:.1%}, {result.model}",
        )
        for point in result.trace or []:
            table.add_row(Text(point.token), *(_bar(point.probabilities[label]) for label in labels))
        Console().print(table)


def _shortened(text: str, limit: int = 60) -> str:
    """One line of at most ``limit`` characters; the ellipsis says that the table, not the model, has cut it."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _bar(probability: float, width: int = 12) -> str:
    return f"{probability:6.1%} " + "█" * round(probability * width)


def _coloured(label: str) -> Text:
    return Text(label, style={"positive": "green", "negative": "red"}.get(label, ""))


@app.command()
def models(as_json: AsJson = False, bundles: Bundles = None) -> None:
    """List the bundles that would be served."""
    settings = settings_with(bundles=bundles)
    manifests = check_bundles(settings.bundles)
    if as_json:
        typer.echo(json.dumps([_summary(manifest) for manifest in manifests], ensure_ascii=False))
        return
    table = Table()
    for column in ("model", "task", "cell, weights"):
        table.add_column(column, no_wrap=True)
    table.add_column("quality (--json: all)")
    for manifest in manifests:
        quality = "\n".join(f"{name} {value:g}" for name, value in islice(manifest.quality.items(), 3))
        cell = f"{manifest.cell} {manifest.num_layers}x{manifest.hidden_size}"
        weights = f"{manifest.parameters / 1e6:.2f} M"
        table.add_row(manifest.id, manifest.task, f"{cell}\n{weights}", quality)
    Console().print(table)


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {"id": manifest.id, **manifest.model_dump(exclude={"self_test", "parity", "files"})}
