"""What Prometheus reads. Counting happens on the event loop alone and costs a dictionary entry; labels are bounded.

``prometheus_client`` renders the numbers at a scrape; its own instruments take a lock and some microseconds at each event.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from service.batching import RunRecord
from service.errors import ServiceError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
RATIOS = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 3.0, 5.0)

Labels = tuple[str, ...]
Sample = list[Any]  # label values, then numbers
Snapshot = dict[str, list[Sample]]  # by instrument


class Counter:
    """A number for each combination of labels that only grows.

    Args:
        name: without prefix and without ``_total``.
        documentation: one sentence.
        labels: their names.
    """

    def __init__(self, name: str, documentation: str, labels: Labels = ()) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = labels
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels = (), amount: float = 1.0) -> None:
        """Count ``amount`` more."""
        self.values[labels] = self.values.get(labels, 0.0) + amount

    def snapshot(self) -> list[Sample]:
        """The numbers, for JSON."""
        return [[list(labels), value] for labels, value in self.values.items()]

    def absorb(self, samples: list[Sample]) -> None:
        """Add what another process counted."""
        for labels, value in samples:
            self.add(tuple(labels), value)

    def collect(self, prefix: str) -> Metric:
        """As ``prometheus_client`` wants it."""
        family = CounterMetricFamily(prefix + self.name, self.documentation, labels=self.labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Histogram:
    """How often values fell below each bound, for each combination of labels.

    Args:
        name: without prefix.
        documentation: one sentence.
        bounds: upper bounds, ascending, without infinity.
        labels: their names.
    """

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self.name = name
        self.documentation = documentation
        self.bounds = tuple(bounds)
        self.labels = labels
        self.counts: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count one value."""
        counts = self.counts.get(labels)
        if counts is None:
            counts = self.counts[labels] = [0] * (len(self.bounds) + 1)
            self.sums[labels] = 0.0
        counts[bisect_left(self.bounds, value)] += 1
        self.sums[labels] += value

    def snapshot(self) -> list[Sample]:
        """The numbers, for JSON."""
        return [[list(labels), counts, self.sums[labels]] for labels, counts in self.counts.items()]

    def absorb(self, samples: list[Sample]) -> None:
        """Add what another process counted."""
        for names, counts, total in samples:
            labels = tuple(names)
            known = self.counts.get(labels, [0] * len(counts))
            self.counts[labels] = [one + other for one, other in zip(known, counts, strict=True)]
            self.sums[labels] = self.sums.get(labels, 0.0) + total

    def collect(self, prefix: str) -> Metric:
        """As ``prometheus_client`` wants it."""
        family = HistogramMetricFamily(prefix + self.name, self.documentation, labels=self.labels)
        for labels, counts in self.counts.items():
            buckets: list[tuple[str, float]] = []
            below = 0
            for bound, count in zip((*map(str, self.bounds), "+Inf"), counts, strict=True):
                below += count
                buckets.append((bound, float(below)))
            family.add_metric(labels, buckets, self.sums[labels])
        return family


class Gauge:
    """A number read at the scrape.

    Args:
        name: without prefix.
        documentation: one sentence.
        labels: their names.
        additive: the processes of one service have the sum of their values; else they all have the same.
    """

    def __init__(self, name: str, documentation: str, labels: Labels = (), *, additive: bool = True) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = labels
        self.additive = additive
        self.sources: dict[Labels, Callable[[], float]] = {}
        self.values: dict[Labels, float] = {}  # of other processes

    def read_from(self, source: Callable[[], float], labels: Labels = ()) -> None:
        """Take the value for these labels from ``source``, called at every scrape."""
        self.sources[labels] = source

    def snapshot(self) -> list[Sample]:
        """The numbers of now, for JSON."""
        return [[list(labels), source()] for labels, source in self.sources.items()]

    def absorb(self, samples: list[Sample]) -> None:
        """Add what another process has."""
        for names, value in samples:
            labels = tuple(names)
            self.values[labels] = value + (self.values.get(labels, 0.0) if self.additive else 0.0)

    def collect(self, prefix: str) -> Metric:
        """As ``prometheus_client`` wants it."""
        family = GaugeMetricFamily(prefix + self.name, self.documentation, labels=self.labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Metrics:
    """All instruments of one service process."""

    prefix = "rnnserve_"

    def __init__(self) -> None:
        model = ("model",)
        self.requests = Counter("requests", "Requests answered.", ("route", "code"))
        self.request_seconds = Histogram(
            "request_duration_seconds",
            "From the request's first byte in the application to its answer.",
            SECONDS,
            ("route",),
        )
        self.queue_seconds = Histogram(
            "queue_duration_seconds", "How long rows waited for their first model run.", SECONDS, model
        )
        self.inference_seconds = Histogram("inference_duration_seconds", "Model runs.", SECONDS, model)
        self.tokenization_seconds = Histogram(
            "tokenization_duration_seconds", "Turning one request's texts into token ids.", SECONDS, model
        )
        self.batch_size = Histogram("batch_size", "Rows of one model run.", SIZES, model)
        self.padding_ratio = Histogram("padding_ratio", "Padded tokens over real tokens of one run.", RATIOS, model)
        self.runs = Counter("model_runs", "Model runs, on the event loop or on the model's thread.", ("model", "where"))
        self.tokens = Counter("model_tokens", "Tokens that went through the model.", model)
        self.queue_depth = Gauge("queue_depth", "Rows waiting for a model run.", model)
        self.rejected = Counter("rejected", "Work refused, by reason.", ("reason",))
        self.cancelled = Counter("cancelled", "Rows dropped because their client had gone, by stage.", ("stage",))
        self.failed_rows = Counter(
            "failed_rows",
            "Rows on which a model run failed, by error code (non_finite_output, ...).",
            ("model", "code"),
        )
        self.generated_tokens = Counter("generated_tokens", "Tokens generated.", model)
        self.first_token_seconds = Histogram(
            "time_to_first_token_seconds", "From a completion's request to its first token.", SECONDS, model
        )
        self.state_cache_hits = Gauge("state_cache_hits", "Lookups that found a cached prefix.", model)
        self.state_cache_misses = Gauge("state_cache_misses", "Lookups that found none.", model)
        self.state_cache_evictions = Gauge("state_cache_evictions", "States dropped for the byte budget.", model)
        self.state_cache_bytes = Gauge("state_cache_bytes", "Bytes held by cached states.", model)
        self.model_info = Gauge(
            "model_info", "Loaded models; always 1.", ("model", "task", "language", "cell"), additive=False
        )

    @property
    def _instruments(self) -> Iterator[Counter | Histogram | Gauge]:
        return (value for value in vars(self).values() if isinstance(value, Counter | Histogram | Gauge))

    def snapshot(self) -> Snapshot:
        """All numbers of this process, for JSON."""
        return {instrument.name: instrument.snapshot() for instrument in self._instruments}

    def collect(self) -> Iterator[Metric]:
        """Every instrument, for ``prometheus_client``'s registry."""
        return (instrument.collect(self.prefix) for instrument in self._instruments)

    def absorb(self, snapshot: Snapshot, *, alive: bool = True) -> None:
        """Add another process's numbers; of one that has ended only what counts up."""
        for instrument in self._instruments:
            if alive or not isinstance(instrument, Gauge):
                instrument.absorb(snapshot.get(instrument.name, []))


def render(snapshots: Iterable[tuple[Snapshot, bool]]) -> bytes:
    """The text that ``/metrics`` answers, for all processes together.

    Args:
        snapshots: of each process, and whether it is alive.
    """
    total = Metrics()
    for snapshot, alive in snapshots:
        total.absorb(snapshot, alive=alive)
    registry = CollectorRegistry()
    registry.register(total)
    return generate_latest(registry)


class ModelMetrics:
    """What one model's batcher counts: a ``BatchObserver``.

    Args:
        metrics: where it is counted.
        model_id: the label.
    """

    def __init__(self, metrics: Metrics, model_id: str) -> None:
        self._metrics = metrics
        self._labels = (model_id,)
        self._where = {True: (model_id, "event_loop"), False: (model_id, "thread")}

    def observe_run(self, record: RunRecord) -> None:
        """Count a finished run."""
        metrics, labels = self._metrics, self._labels
        metrics.inference_seconds.observe(labels, record.run_s)
        metrics.batch_size.observe(labels, record.rows)
        metrics.padding_ratio.observe(labels, record.padded_tokens / record.tokens)
        metrics.tokens.add(labels, record.tokens)
        metrics.runs.add(self._where[record.inline])
        for wait_s in record.waits_s:
            metrics.queue_seconds.observe(labels, wait_s)

    def observe_cancelled(self, stage: str) -> None:
        """Count a dropped row."""
        self._metrics.cancelled.add((stage,))

    def observe_rejected(self, reason: str) -> None:
        """Count a refused row."""
        self._metrics.rejected.add((reason,))

    def observe_failed(self, error: Exception) -> None:
        """Count a row that the model failed on."""
        code = error.code if isinstance(error, ServiceError) else "internal"
        self._metrics.failed_rows.add((*self._labels, code))
