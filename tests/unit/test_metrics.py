import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tradewire.telemetry.metrics import Gauge, Metrics, watch_loop_lag

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: Metrics) -> Samples:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_start_at_zero_and_grow() -> None:
    metrics = Metrics()
    assert samples(metrics)["tradewire_messages_sent_total", ()] == 0
    metrics.messages_sent.add()
    metrics.messages_sent.add(2)
    assert metrics.messages_sent.value() == 3
    assert samples(metrics)["tradewire_messages_sent_total", ()] == 3


def test_a_labelled_counter_counts_each_combination_apart() -> None:
    metrics = Metrics()
    metrics.http_requests.add(labels=("GET", "/v1/unread", "200"))
    metrics.http_requests.add(labels=("GET", "/v1/unread", "200"))
    metrics.http_requests.add(labels=("GET", "/v1/unread", "401"))
    labels = (("method", "GET"), ("route", "/v1/unread"))
    shown = samples(metrics)
    assert shown["tradewire_http_requests_total", (*labels, ("status", "200"))] == 2
    assert shown["tradewire_http_requests_total", (*labels, ("status", "401"))] == 1
    assert metrics.http_requests.value("POST", "/v1/unread", "200") == 0


def test_a_gauge_shows_what_it_was_set_to() -> None:
    metrics = Metrics()
    metrics.connections.value = 7
    metrics.connections.value -= 2
    assert samples(metrics)["tradewire_connections", ()] == 5


def test_a_histogram_counts_up_to_each_bound_that_bound_included() -> None:
    metrics = Metrics()
    for size in (1, 2, 3, 4, 1000):
        metrics.commit_group_size.observe(size)
    shown = samples(metrics)
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in shown.items()
        if name == "tradewire_commit_group_size_bucket"
    }
    assert buckets["1.0"] == 1
    assert buckets["2.0"] == 2
    assert buckets["4.0"] == 4
    assert buckets["512.0"] == 4
    assert buckets["+Inf"] == 5
    assert shown["tradewire_commit_group_size_count", ()] == 5
    assert shown["tradewire_commit_group_size_sum", ()] == 1010


def test_a_labelled_histogram_keeps_its_series_apart() -> None:
    metrics = Metrics()
    metrics.http_seconds.observe(0.5, ("GET", "/healthz"))
    metrics.http_seconds.observe(0.25, ("GET", "/readyz"))
    shown = samples(metrics)
    healthz = (("method", "GET"), ("route", "/healthz"))
    assert shown["tradewire_http_seconds_sum", healthz] == 0.5
    assert shown["tradewire_http_seconds_count", healthz] == 1


def test_two_nodes_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.messages_sent.add()
    assert samples(second)["tradewire_messages_sent_total", ()] == 0


def test_the_process_itself_is_measured() -> None:
    names = {name for name, _ in samples(Metrics())}
    assert "process_resident_memory_bytes" in names


async def test_the_lag_of_a_busy_loop_is_noted() -> None:
    lag = Gauge("lag_seconds", "")
    lag.value = -1
    watch = asyncio.create_task(watch_loop_lag(lag, every_s=0.001))
    async with asyncio.timeout(10):
        while lag.value == -1:
            await asyncio.sleep(0.001)
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
    assert lag.value >= 0
