"""``create_app(settings)``: wires everything; its lifespan loads the models and drains them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.completion import Completer
from service.cpu import available_cpus
from service.error_handlers import register_error_handlers
from service.errors import BundleError
from service.language_model import LanguageModel
from service.metrics import Metrics, ModelMetrics
from service.middleware import Phase, Readiness, RequestLayer
from service.next_word import NextWordPredictor
from service.overload import Breather
from service.registry import LoadedModel, ModelRegistry, load_models
from service.routes import completions, health, live, models, next_word, sentiment
from service.routes.json_route import JsonRoute
from service.running_text import StateTokens
from service.sentiment import SentimentClassifier
from service.settings import Settings, load_settings
from service.state_cache import StateCache
from service.state_token import StateSealer, generate_key, parse_keys
from service.worker_metrics import WorkerMetrics

log = logging.getLogger("rnnserve")

ROUTERS = (sentiment.router, live.router, next_word.router, completions.router, models.router, health.router)
DESCRIPTION = "Sentiment and next-word prediction with recurrent models, in English and Chinese."


def engine_threads(settings: Settings) -> int:
    """Threads of one model run: as set, else this process's share of the CPU quota."""
    return settings.engine.threads or max(1, available_cpus() // settings.workers)


def state_sealer(settings: Settings) -> StateSealer:
    """The operator's keys, or a random one that lives as long as this process.

    Raises:
        ValueError: a key is wrong; names which, never the key.
    """
    keys = settings.state_token.keys.get_secret_value() or generate_key()
    return StateSealer(parse_keys(keys), time.time, settings.state_token.lifetime_s)


def direct_routes() -> dict[str, ASGIApp]:
    """The routes that take their requests straight from the outermost layer, by path."""
    return {
        route.path: route.app
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, JsonRoute) and "{" not in route.path
    }


@contextmanager
def drain_on_sigterm(readiness: Readiness, delay_s: float) -> Iterator[None]:
    """On SIGTERM say "not ready" at once and let the server stop ``delay_s`` later, when no load balancer sends any more.

    Does nothing outside the main thread, where no signal arrives.
    """
    loop = asyncio.get_running_loop()
    try:
        server_handler = signal.getsignal(signal.SIGTERM)
        stop: Callable[[int, FrameType | None], Any] | None = server_handler if callable(server_handler) else None
        if stop is None:
            yield
            return

        def drain(number: int, frame: FrameType | None) -> None:
            readiness.phase = Phase.DRAINING
            if delay_s > 0:
                loop.call_soon_threadsafe(loop.call_later, delay_s, stop, number, frame)
            else:
                stop(number, frame)

        signal.signal(signal.SIGTERM, drain)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server_handler)


def queue_depth(model: LoadedModel) -> float:
    """Rows waiting for the model."""
    return model.batcher.queue_state.rows


def open_language_models(registry: ModelRegistry, cache_bytes: int, metrics: Metrics) -> dict[str, LanguageModel]:
    """The language models by id, each with a cache of its own that the metrics watch."""
    models: dict[str, LanguageModel] = {}
    for model in registry:
        if model.manifest.task == "language-model":
            cache = StateCache(cache_bytes)
            models[model.id] = LanguageModel(model, cache)
            for gauge, field in (
                (metrics.state_cache_hits, "hits"),
                (metrics.state_cache_misses, "misses"),
                (metrics.state_cache_evictions, "evictions"),
                (metrics.state_cache_bytes, "bytes"),
            ):
                gauge.read_from(partial(getattr, cache, field), (model.id,))
    return models


class Service(FastAPI):
    """FastAPI with ``RequestLayer`` around all its own layers, so that direct routes pass none of them."""

    request_layer: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """All layers, outermost first."""
        return self.request_layer(super().build_middleware_stack())

    def refusal(self, scope: Scope, body: bytes | bytearray) -> Response | None:
        """See ``RequestLayer.refusal``; ``HttpProtocol`` asks."""
        layer = self.middleware_stack
        return layer.refusal(scope, body) if isinstance(layer, RequestLayer) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection."""
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)


def spare_the_garbage_collector() -> None:
    """Keep what was loaded at the start out of every later collection, and collect less often.

    Requests leave few cycles behind, but with the default thresholds a collection through all modules and models comes
    every few hundred requests and takes a seventh of the server's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def share_memory_arenas() -> None:
    """Let all threads allocate from two arenas: with one for each, 30 MB more lie about. GNU C library only.

    To be called before threads are started.
    """
    m_arena_max = -8  # malloc.h
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(m_arena_max, 2)


def return_freed_memory() -> None:
    """Give back what loading the models has left: 16 MB for the four shipped ones. Only the GNU C library keeps it."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def create_app(settings: Settings, *, own_process: bool = False) -> FastAPI:
    """The service as an ASGI application; models load when its lifespan starts.

    Args:
        settings: what the operator set.
        own_process: nothing else of weight runs in this process, so its garbage collector may be set for serving.

    Raises (from the lifespan):
        BundleError: a bundle can't be served; names the file and the remedy.
    """
    metrics = Metrics()
    readiness = Readiness()
    worker_metrics = WorkerMetrics(metrics, settings.metrics_folder)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with drain_on_sigterm(readiness, settings.drain_delay_s):
            try:
                registry = await asyncio.to_thread(
                    load_models,
                    settings.bundles,
                    engine_threads(settings),
                    settings.batching,
                    lambda model_id: ModelMetrics(metrics, model_id),
                    split=settings.workers >= available_cpus(),
                )
            except BundleError as error:
                raise error from None  # its message says all; the chain below it would bury that
            for model in registry:
                manifest = model.manifest
                metrics.model_info.read_from(lambda: 1.0, (model.id, manifest.task, manifest.language, manifest.cell))
                metrics.queue_depth.read_from(partial(queue_depth, model), (model.id,))
            app.state.registry = registry
            app.state.breather = Breather([model.batcher for model in registry])
            app.state.state_tokens = StateTokens(registry, state_sealer(settings))
            app.state.classifier = SentimentClassifier(registry, settings.limits, metrics)
            language_models = open_language_models(registry, settings.state_cache.max_bytes, metrics)
            app.state.completer = Completer(registry, language_models, settings.limits, metrics, app.state.state_tokens)
            app.state.next_word = NextWordPredictor(registry, language_models, settings.limits, metrics)
            if own_process:
                spare_the_garbage_collector()
                return_freed_memory()
            leaving_numbers = asyncio.create_task(worker_metrics.leave_numbers())
            readiness.phase = Phase.READY
            try:
                yield
            finally:
                readiness.phase = Phase.DRAINING
                leaving_numbers.cancel()
                await asyncio.wait([leaving_numbers])
                await asyncio.to_thread(registry.close)

    app = Service(title="rnnserve", version="0.1.0", description=DESCRIPTION, lifespan=lifespan)
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.worker_metrics = worker_metrics
    app.state.readiness = readiness
    for router in ROUTERS:
        app.router.routes.extend(router.routes)  # not include_router: it would wrap JsonRoute in FastAPI's own handler
    register_error_handlers(app)
    app.request_layer = partial(
        RequestLayer,
        direct=direct_routes(),
        refusals={"/v1/sentiment": partial(sentiment.refusal, app.state)},
        readiness=readiness,
        metrics=metrics,
    )
    return app


def create_app_from_environment() -> FastAPI:
    """What ``serve`` names to its worker processes."""
    share_memory_arenas()
    return create_app(load_settings(), own_process=True)
