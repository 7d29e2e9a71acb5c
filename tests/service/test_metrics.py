"""What a scrape shows is what happened, under bounded labels."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.batching import RunRecord
from service.errors import NonFiniteOutputError
from service.metrics import Metrics, ModelMetrics, render


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of a scrape by name and label values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(render([(metrics.snapshot(), True)]).decode())
        for sample in family.samples
    }


def test_counters_and_histograms_survive_prometheus_own_parser() -> None:
    """The text is in the format that Prometheus reads."""
    metrics = Metrics()
    metrics.requests.add(("/v1/sentiment", "200"))
    metrics.requests.add(("/v1/sentiment", "200"))
    metrics.request_seconds.observe(("/v1/sentiment",), 0.0005)
    metrics.request_seconds.observe(("/v1/sentiment",), 99.0)

    found = samples(metrics)

    assert found["rnnserve_requests_total", ("200", "/v1/sentiment")] == 2
    assert found["rnnserve_request_duration_seconds_bucket", ("0.00025", "/v1/sentiment")] == 0
    assert found["rnnserve_request_duration_seconds_bucket", ("0.0005", "/v1/sentiment")] == 1
    assert found["rnnserve_request_duration_seconds_bucket", ("30.0", "/v1/sentiment")] == 1
    assert found["rnnserve_request_duration_seconds_bucket", ("+Inf", "/v1/sentiment")] == 2
    assert found["rnnserve_request_duration_seconds_sum", ("/v1/sentiment",)] == pytest.approx(99.0005)


def test_gauges_are_read_at_the_scrape() -> None:
    """A queue's depth is that of now."""
    metrics = Metrics()
    depth = 3.0
    metrics.queue_depth.read_from(lambda: depth, ("m@1",))
    assert samples(metrics)["rnnserve_queue_depth", ("m@1",)] == 3
    depth = 4.0
    assert samples(metrics)["rnnserve_queue_depth", ("m@1",)] == 4


def test_a_batcher_s_reports_become_metrics_of_its_model() -> None:
    """Batch size, padding, waits and failures are counted under the model's id."""
    metrics = Metrics()
    observer = ModelMetrics(metrics, "m@1")
    observer.observe_run(RunRecord(rows=4, tokens=20, padded_tokens=32, run_s=0.002, waits_s=[0.001] * 4, inline=True))
    observer.observe_failed(NonFiniteOutputError("NaN"))
    observer.observe_failed(RuntimeError("surprise"))
    observer.observe_cancelled("queued")
    observer.observe_rejected("overloaded")

    found = samples(metrics)

    assert found["rnnserve_batch_size_sum", ("m@1",)] == 4
    assert found["rnnserve_padding_ratio_sum", ("m@1",)] == pytest.approx(1.6)
    assert found["rnnserve_queue_duration_seconds_count", ("m@1",)] == 4
    assert found["rnnserve_model_tokens_total", ("m@1",)] == 20
    assert found["rnnserve_model_runs_total", ("m@1", "event_loop")] == 1
    assert found["rnnserve_failed_rows_total", ("non_finite_output", "m@1")] == 1
    assert found["rnnserve_failed_rows_total", ("internal", "m@1")] == 1
    assert found["rnnserve_cancelled_total", ("queued",)] == 1
    assert found["rnnserve_rejected_total", ("overloaded",)] == 1


def test_several_processes_are_one_to_prometheus() -> None:
    """Counts add up, also those of a worker that has ended; what it held when it ended is gone."""
    snapshots = []
    for alive in (True, True, False):
        metrics = Metrics()
        metrics.requests.add(("/v1/sentiment", "200"), 5)
        metrics.request_seconds.observe(("/v1/sentiment",), 0.001)
        metrics.queue_depth.read_from(lambda: 2.0, ("m@1",))
        metrics.model_info.read_from(lambda: 1.0, ("m@1", "sentiment", "en", "gru"))
        snapshots.append((json.loads(json.dumps(metrics.snapshot())), alive))

    text = render(snapshots).decode()

    assert 'rnnserve_requests_total{code="200",route="/v1/sentiment"} 15.0' in text
    assert 'rnnserve_request_duration_seconds_count{route="/v1/sentiment"} 3.0' in text
    assert 'rnnserve_queue_depth{model="m@1"} 4.0' in text
    assert 'rnnserve_model_info{cell="gru",language="en",model="m@1",task="sentiment"} 1.0' in text
