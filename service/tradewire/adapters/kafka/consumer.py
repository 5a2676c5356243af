"""The records of other services, shared out by Kafka among the nodes of a cell."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import ConsumerRecord

from tradewire.adapters.kafka.connection import client_arguments, unavailable
from tradewire.adapters.kafka.options import Options
from tradewire.adapters.kafka.topics import Topic
from tradewire.domain.errors import Unavailable
from tradewire.ports import Partition, Record

START_S = 10.0
COMMIT_S = 1.5
STOP_S = 1.5
POLL_MS = 200
POLL_RECORDS = 500
REBALANCE_MS = 20_000
"""How long the others wait for this node to end what it has under way."""
METADATA_MS = 30_000
"""How soon partitions that were added are noticed."""

_log = structlog.get_logger(__name__)

OnRevoked = Callable[[], Awaitable[None]]


class KafkaConsumer:
    """See ports.Consumer; `group`: those who share the partitions."""

    def __init__(self, options: Options, group: str, topics: Iterable[Topic]) -> None:
        self._options = options
        self._group = group
        self._topics = [options.topic(topic.name) for topic in topics]
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self, on_revoked: OnRevoked) -> None:
        consumer = self._consumer = AIOKafkaConsumer(
            **client_arguments(self._options),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            rebalance_timeout_ms=REBALANCE_MS,
            metadata_max_age_ms=METADATA_MS,
        )
        with _translated():
            async with asyncio.timeout(START_S):
                await consumer.start()
                known = await consumer.topics()
        # Of topics that were made just now a broker may not know: they would be shared out as none.
        if missing := set(self._topics) - known:
            raise Unavailable(f"Kafka does not know yet: {', '.join(sorted(missing))}")
        consumer.subscribe(self._topics, listener=_Listener(on_revoked))

    async def poll(self, held: Collection[Partition]) -> Sequence[Record]:
        consumer = self._started()
        with _translated():
            _pause(consumer, {TopicPartition(*partition) for partition in held})
            found = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
        return [_record(each) for records in found.values() for each in records]

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        offsets = {TopicPartition(*partition): each for partition, each in positions.items()}
        with _translated():
            async with asyncio.timeout(COMMIT_S):
                await self._started().commit(offsets)

    def lag(self, positions: Mapping[Partition, int]) -> int:
        consumer = self._started()
        assigned = consumer.assignment()
        ends = {
            partition: consumer.highwater(TopicPartition(*partition))
            for partition in positions
            if TopicPartition(*partition) in assigned
        }
        return sum(max(end - positions[each], 0) for each, end in ends.items() if end is not None)

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _stop(consumer)

    def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise unavailable(ConsumerStoppedError())
        return self._consumer


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Passes on that partitions are taken away: all of them, each time they are shared out."""

    def __init__(self, on_revoked: OnRevoked) -> None:
        self._on_revoked = on_revoked

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        if revoked:
            await self._on_revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        _log.info("partitions to consume", partitions=len(assigned))


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Leave the group, and end what the client has under way: it may wait for others to join."""
    stopping = asyncio.create_task(consumer.stop(), name="leaving the group")
    done, _ = await asyncio.wait({stopping}, timeout=STOP_S)
    if not done:
        await consumer._client.close()  # noqa: SLF001  # what waits for an answer ends with it
        done, _ = await asyncio.wait({stopping}, timeout=STOP_S)
    if not done:
        stopping.cancel()
        _log.warning("the group was not left in order")
    elif (error := stopping.exception()) is not None:
        _log.warning("the group was not left in order", reason=str(error))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (KafkaError, ConsumerStoppedError, OSError, TimeoutError) as error:
        raise unavailable(error) from error


def _pause(consumer: AIOKafkaConsumer, held: Collection[TopicPartition]) -> None:
    """Have the client fetch nothing of these partitions, of all others again."""
    paused, assigned = consumer.paused(), consumer.assignment()
    consumer.pause(*(assigned & set(held) - paused))
    consumer.resume(*(paused - set(held)))


def _record(record: ConsumerRecord) -> Record:
    return Record(
        (record.topic, record.partition), record.offset, record.key, record.value, record.headers
    )
