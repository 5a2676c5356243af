"""Publishes domain events as CloudEvents in binary mode."""

from collections.abc import Sequence

from tradewire.adapters.kafka.options import Options
from tradewire.adapters.kafka.producer import Outgoing, Producer
from tradewire.adapters.kafka.topics import EVENTS
from tradewire.domain.outbox import DomainEvent
from tradewire.protocol import cloudevents


class KafkaPublisher:
    """See ports.Publisher; events of one subject are in one partition.

    Args:
        source: the `ce_source` of what is published.
    """

    def __init__(self, options: Options, source: str) -> None:
        self._topic = options.topic(EVENTS.name)
        self._source = source
        self._producer = Producer(options, batch_bytes=options.batch_bytes)

    async def publish(self, events: Sequence[DomainEvent]) -> None:
        await self._producer.send([self._record(event) for event in events])

    async def close(self) -> None:
        """Disconnect."""
        await self._producer.close()

    def _record(self, event: DomainEvent) -> Outgoing:
        headers, value = cloudevents.binary(event, self._source)
        return Outgoing(self._topic, event.subject.encode(), value, headers)
