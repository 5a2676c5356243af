"""Sends records and waits until all of them are durable."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct

from tradewire.adapters.kafka.connection import client_arguments, unavailable
from tradewire.adapters.kafka.options import BATCH_BYTES, Options

DEADLINE_S = 10.0
ABANDON_S = 1.0

Headers = Sequence[tuple[str, bytes | None]]


class Outgoing(Struct, frozen=True):
    """A record to send; `topic` is the full name, `partition` None for that of the key."""

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
        linger_ms: how long a request waits for more records.
        batch_bytes: records of one partition in one request at most.
    """

    def __init__(
        self, options: Options, *, linger_ms: int = 0, batch_bytes: int = BATCH_BYTES
    ) -> None:
        self._options = options
        self._linger_ms = linger_ms
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
                    linger_ms=self._linger_ms,
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
    sent: list[asyncio.Future[object]] = []
    try:
        for each in records:
            # It waits when the batch of the partition is full, which bounds what is in memory.
            sent.append(  # noqa: PERF401  # those before the one that fails are waited for
                await producer.send(
                    each.topic,
                    key=each.key,
                    # Neither key nor value is what the client refuses.
                    value=b"" if each.key is each.value is None else each.value,
                    partition=each.partition,
                    headers=list(each.headers),
                )
            )
        await asyncio.gather(*sent)
    finally:
        for future in sent:
            # Each may fail, and one is told.
            future.add_done_callback(_heard)


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
