"""Sends records and waits until all of them are durable."""

import asyncio
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from msgspec import Struct

from tradewire.adapters.kafka.connection import client_arguments, unavailable
from tradewire.adapters.kafka.options import BATCH_BYTES, Options

DEADLINE_S = 10.0
ABANDON_S = 1.0
HASHES_REMEMBERED, KEY_BYTES = 65_536, 128
"""Of so many keys up to this length it is remembered where they belong."""

Headers = Sequence[tuple[str, bytes | None]]


class Outgoing(Struct, frozen=True):
    """A record to send; `topic` is the full name, `partition` None for that of the key, or any."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None


class Producer:
    """An idempotent producer that waits for all replicas; connected when first used.

    After a failure it is thrown away: it would go on trying for ever, and after an error of
    sequence numbers in vain.

    Args:
        batch_bytes: records of one partition in one request at most.
    """

    def __init__(self, options: Options, *, batch_bytes: int = BATCH_BYTES) -> None:
        self._options = options
        self._batch_bytes = batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Send in this order; all are durable when it returns.

        Raises:
            Unavailable: some may not be there; those may still arrive.
        """
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                producer = await self._started()
                await _send(producer, records)
        except (KafkaError, OSError, TimeoutError) as error:
            # Another one that failed may have thrown it away before.
            if producer is self._producer:
                await self.close()
            raise unavailable(error) from error

    async def close(self) -> None:
        """End it; what is not delivered by now is given up."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await abandon(producer)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_arguments(self._options),
                    enable_idempotence=True,
                    acks="all",
                    max_batch_size=self._batch_bytes,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer


async def _send(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> None:
    """Send them in batches that are made here: the client's own way makes a future a record."""
    sending = Sending(producer)
    try:
        for each in records:
            await sending.add(each)
        await sending.end()
    finally:
        for future in sending.sent:
            # Each may fail, and one is told.
            future.add_done_callback(_heard)


class Sending:
    """Records on their way, gathered into batches of a partition each.

    Attributes:
        sent: what becomes of the batches that were handed to the client.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.sent: list[asyncio.Future[object]] = []
        self._producer = producer
        self._batches: dict[tuple[str, int], Any] = {}
        self._partitions: dict[str, int] = {}

    async def add(self, record: Outgoing) -> None:
        """Gather a record; a batch that it no longer fits in is sent."""
        place = record.topic, await self._partition(record)
        batch = self._batches.get(place)
        if batch is None or not _appended(batch, record):
            if batch is not None:
                await self._hand_over(place)
            batch = self._batches[place] = self._producer.create_batch()
            _appended(batch, record)

    async def end(self) -> None:
        """Send what is gathered and wait for everything."""
        for place in list(self._batches):
            await self._hand_over(place)
        # Not by `gather`, which would cancel what then fails with nobody to hear of it.
        if self.sent:
            done, _ = await asyncio.wait(self.sent, return_when=asyncio.FIRST_EXCEPTION)
            for future in done:
                future.result()

    async def _hand_over(self, place: tuple[str, int]) -> None:
        topic, partition = place
        batch = self._batches.pop(place)
        # It waits while another batch of the partition is to be sent, which bounds their number.
        self.sent.append(await self._producer.send_batch(batch, topic, partition=partition))

    async def _partition(self, record: Outgoing) -> int:
        if record.partition is not None:
            return record.partition
        count = self._partitions.get(record.topic)
        if count is None:
            partitions = await self._producer.partitions_for(record.topic)
            count = self._partitions[record.topic] = len(partitions)
        if record.key is None:
            return random.randrange(count)
        return (
            _known_hash(record.key) if len(record.key) <= KEY_BYTES else _hash(record.key)
        ) % count


def _appended(batch: Any, record: Outgoing) -> bool:
    """Whether the batch had room for the record; the first one always fits."""
    # Neither key nor value is what the client refuses.
    value = b"" if record.key is record.value is None else record.value
    added = batch.append(timestamp=None, key=record.key, value=value, headers=list(record.headers))
    return added is not None


def _hash(key: bytes) -> int:
    """What all clients of Kafka choose the partition of a key by."""
    hashed: int = murmur2(key) & 0x7FFFFFFF
    return hashed


_known_hash = lru_cache(HASHES_REMEMBERED)(_hash)


def _heard(future: "asyncio.Future[object]") -> None:
    if not future.cancelled():
        future.exception()


async def abandon(producer: AIOKafkaProducer) -> None:
    """End without waiting for what is not delivered, as `stop` of the client would do for ever."""
    sender = producer._sender.sender_task  # noqa: SLF001  # there is no other way to end it
    sender.cancel()
    # Requests under way end with their connections, and the sender waits for them.
    await producer.client.close()
    await asyncio.wait({sender}, timeout=ABANDON_S)
    sender.cancel()
    producer._closed = True  # noqa: SLF001  # or it complains that nobody stopped it
