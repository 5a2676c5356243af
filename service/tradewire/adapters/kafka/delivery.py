"""The bus between nodes: a topic with a place for each node, which reads nothing else.

Order and speed count here, not durability: a record that could not be sent in time is dropped. That
is noticed by its number, and made up for from the store.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from tradewire.adapters.kafka.connection import REQUEST_S, client_arguments, unavailable
from tradewire.adapters.kafka.options import Options
from tradewire.adapters.kafka.producer import abandon
from tradewire.adapters.kafka.topics import DELIVERY
from tradewire.domain.errors import Unavailable
from tradewire.ports import BUS_RECORD_BYTES
from tradewire.telemetry.tasks import Tasks

OPEN_S = 10.0
CLOSE_S = 2.0
READ_S = 1.0
RETRY_S = 1.0
WAITING_BYTES = 16 << 20
BATCH_BYTES = 900_000
"""Below what a broker accepts by default."""

assert BUS_RECORD_BYTES < BATCH_BYTES

_log = structlog.get_logger(__name__)


class KafkaBus:
    """See ports.Bus.

    The partitions of the topic are the places of nodes; two nodes may share one.
    """

    def __init__(self, options: Options, tasks: Tasks) -> None:
        self._arguments = client_arguments(options)
        self._topic = options.topic(DELIVERY.name)
        self._tasks = tasks
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._reading: asyncio.Task[None] | None = None
        self._places = 0
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()

    async def listen(self, node: int, heard: Callable[[bytes], None]) -> None:
        try:
            async with asyncio.timeout(OPEN_S):
                await self._open_producer()
                await self._close_consumer()
                await self._open_consumer(node, heard)
        except (KafkaError, OSError, TimeoutError) as error:
            raise unavailable(error) from error

    def send(self, node: int, record: bytes) -> None:
        if self._producer is None or self._bytes + len(record) > WAITING_BYTES:
            return
        self._waiting.append((node, record))
        self._bytes += len(record)
        self._wake.set()

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._close_consumer()
                if producer is not None:
                    await self._send_waiting(producer)
                    await producer.flush()
        except (KafkaError, TimeoutError) as error:
            _log.warning("records to other nodes were given up", reason=str(error))
        finally:
            if producer is not None:
                await abandon(producer)

    async def _open_producer(self) -> None:
        if self._producer is not None:
            return
        producer = AIOKafkaProducer(**self._arguments, acks=1, max_batch_size=BATCH_BYTES)
        try:
            await producer.start()
            self._places = await _partitions(producer, self._topic)
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        self._tasks.start("records to other nodes", self._write(producer), forever=True)

    async def _open_consumer(self, node: int, heard: Callable[[bytes], None]) -> None:
        place = TopicPartition(self._topic, node % self._places)
        consumer = self._consumer = AIOKafkaConsumer(
            **self._arguments, enable_auto_commit=False, auto_offset_reset="latest"
        )
        await consumer.start()
        consumer.assign([place])
        await consumer.seek_to_end(place)
        await consumer.position(place)
        self._reading = self._tasks.start("records from other nodes", self._read(consumer, heard))

    async def _close_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if consumer is not None:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, heard: Callable[[bytes], None]) -> None:
        while True:
            try:
                found = await consumer.getmany(timeout_ms=int(READ_S * 1000))
            except KafkaError as error:
                _log.warning("records from other nodes cannot be read", reason=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            for records in found.values():
                for record in records:
                    heard(record.value)

    async def _write(self, producer: AIOKafkaProducer) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_waiting(producer)

    async def _send_waiting(self, producer: AIOKafkaProducer) -> None:
        while self._waiting:
            node, record = self._waiting.popleft()
            self._bytes -= len(record)
            try:
                async with asyncio.timeout(REQUEST_S):
                    sent = await producer.send(self._topic, record, partition=node % self._places)
            except (KafkaError, TimeoutError) as error:
                _log.debug("a record to another node is dropped", reason=str(error))
            else:
                sent.add_done_callback(_note_loss)


async def _partitions(producer: AIOKafkaProducer, topic: str) -> int:
    """How many the topic has. Raises Unavailable when it is not there yet."""
    # To ask for the topic by its name may make it, with the settings of the broker.
    known = await producer.client.fetch_all_metadata()
    partitions = known.partitions_for_topic(topic)
    if not partitions:
        raise Unavailable(f"Kafka has no topic {topic} yet.")
    return len(partitions)


def _note_loss(sent: "asyncio.Future[Any]") -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        _log.debug("a record to another node is lost", reason=str(error))
