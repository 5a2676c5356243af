"""What the node counts, each metric named once.

Hot paths add to plain numbers (0.1 µs; a counter of prometheus_client locks and takes ten times
that); the exposition format is made from them when somebody asks. A metric is written by one thread
only.
"""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Counter:
    """A number that only grows; with `labels`, one for each combination of their values."""

    __slots__ = ("_help", "_labels", "_name", "_values")

    def __init__(self, name: str, help_: str, labels: Sequence[str] = ()) -> None:
        self._name = name
        self._help = help_
        self._labels = labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}

    def add(self, amount: float = 1, labels: tuple[str, ...] = ()) -> None:
        """Grow by `amount`; label values in the order of the labels."""
        self._values[labels] = self._values.get(labels, 0) + amount

    def value(self, *labels: str) -> float:
        """What was counted so far."""
        return self._values.get(labels, 0)

    def collect(self) -> Metric:
        """The metric as it is exposed."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in list(self._values.items()):
            family.add_metric(labels, value)
        return family


class Gauge:
    """A number as it is now: set `value`."""

    __slots__ = ("_help", "_name", "value")

    def __init__(self, name: str, help_: str) -> None:
        self._name = name
        self._help = help_
        self.value: float = 0

    def collect(self) -> Metric:
        """The metric as it is exposed."""
        return GaugeMetricFamily(self._name, self._help, value=self.value)


class Histogram:
    """How many observations fell up to each bound, their number and sum; labels as in Counter."""

    __slots__ = ("_bounds", "_help", "_labels", "_name", "_series")

    def __init__(
        self, name: str, help_: str, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._help = help_
        self._bounds = bounds
        self._labels = labels
        # The observations in each bucket, those above the last bound, and their sum.
        self._series: dict[tuple[str, ...], list[float]] = defaultdict(self._fresh)
        if not labels:
            self._series[()] = self._fresh()

    def observe(self, value: float, labels: tuple[str, ...] = ()) -> None:
        """Count one observation."""
        series = self._series[labels]
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    def collect(self) -> Metric:
        """The metric as it is exposed."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for labels, (*counts, total) in list(self._series.items()):
            family.add_metric(labels, list(self._buckets(counts)), total)
        return family

    def _fresh(self) -> list[float]:
        return [0] * (len(self._bounds) + 2)

    def _buckets(self, counts: Sequence[float]) -> Iterator[tuple[str, float]]:
        below = 0.0
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            below += count
            yield "+Inf" if bound == float("inf") else str(float(bound)), below


class Metrics(Collector):
    """Every metric of a node, in a registry of its own."""

    def __init__(self) -> None:
        self.connections = Gauge("tradewire_connections", "Sockets open now.")
        self.connections_opened = Counter("tradewire_connections_opened", "Sockets accepted.")
        self.connections_closed = Counter(
            "tradewire_connections_closed", "Sockets closed, by close code.", ("code",)
        )
        self.slow_consumers_closed = Counter(
            "tradewire_slow_consumers_closed", "Sockets closed because their send queue overran."
        )
        self.events_delivered = Counter(
            "tradewire_events_delivered", "Events put into the send queue of a socket."
        )
        self.events_dropped = Counter(
            "tradewire_events_dropped", "Typing, presence and receipts dropped from full queues."
        )
        self.send_queue_bytes = Gauge(
            "tradewire_send_queue_bytes", "Bytes waiting in the send queues of all sockets."
        )
        self.commands = Counter("tradewire_commands", "Commands handled, by name.", ("command",))
        self.rejected = Counter(
            "tradewire_rejected", "Commands answered with an error, by code.", ("code",)
        )
        self.messages_sent = Counter("tradewire_messages_sent", "Messages made durable.")
        self.duplicate_sends = Counter(
            "tradewire_duplicate_sends", "Sends answered with the message of an earlier one."
        )
        self.send_seconds = Histogram(
            "tradewire_send_seconds", "From a send being decoded to its being durable.", SECONDS
        )
        self.commit_seconds = Histogram(
            "tradewire_commit_seconds", "How long a commit group took to become durable.", SECONDS
        )
        self.commit_group_size = Histogram(
            "tradewire_commit_group_size", "Units in a commit group.", SIZES
        )
        self.commit_queue_depth = Gauge(
            "tradewire_commit_queue_depth", "Units waiting for the next commit group."
        )
        self.outbox_last_sequence = Gauge(
            "tradewire_outbox_last_sequence", "Greatest id that was committed and told."
        )
        self.domain_events_handled = Counter(
            "tradewire_domain_events_handled", "Events taken in, by type.", ("type",)
        )
        self.node_gaps = Counter(
            "tradewire_node_gaps", "Times that records from another node were missing."
        )
        self.connections_resumed = Counter(
            "tradewire_connections_resumed",
            "Connections resumed from the store because records or a node were missing.",
        )
        self.outbox_pending = Gauge(
            "tradewire_outbox_pending", "Events that wait to be published, counted up to 1,000."
        )
        self.outbox_oldest_seconds = Gauge(
            "tradewire_outbox_oldest_seconds", "Age of the oldest event that is not published."
        )
        self.events_published = Counter("tradewire_events_published", "Events durable on Kafka.")
        self.publish_errors = Counter(
            "tradewire_publish_errors", "Times that events could not be published."
        )
        self.publish_seconds = Histogram(
            "tradewire_publish_seconds", "From the id of an event to its being on Kafka.", SECONDS
        )
        self.records_consumed = Counter(
            "tradewire_records_consumed", "Records taken from Kafka, by topic.", ("topic",)
        )
        self.dead_letters = Counter(
            "tradewire_dead_letters", "Records that could not be handled, by topic.", ("topic",)
        )
        self.consume_retries = Counter(
            "tradewire_consume_retries", "Times that a record was to be tried again."
        )
        self.consumer_lag = Gauge(
            "tradewire_consumer_lag", "Records in the partitions of this node that are not done."
        )
        self.refusal_seconds = Histogram(
            "tradewire_refusal_seconds",
            "From a block on the platform or a revocation to the closing of its sockets here.",
            SECONDS,
        )
        self.http_requests = Counter(
            "tradewire_http_requests", "Requests answered.", ("method", "route", "status")
        )
        self.http_seconds = Histogram(
            "tradewire_http_seconds", "Time to answer a request.", SECONDS, ("method", "route")
        )
        self.loop_lag_seconds = Gauge(
            "tradewire_loop_lag_seconds", "How late the event loop was at the last look."
        )
        self.task_failures = Counter(
            "tradewire_task_failures", "Background tasks that failed.", ("task",)
        )
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are exposed."""
        for metric in vars(self).values():
            if isinstance(metric, Counter | Gauge | Histogram):
                yield metric.collect()

    def render(self) -> bytes:
        """The page that Prometheus reads, of CONTENT_TYPE."""
        return generate_latest(self.registry)


async def watch_loop_lag(lag: Gauge, every_s: float = 1.0) -> None:
    """Note for ever how much later than asked the loop comes back, in seconds."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_s
        await asyncio.sleep(every_s)
        lag.value = loop.time() - due
