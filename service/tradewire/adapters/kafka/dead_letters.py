"""Dead letters: records kept byte for byte with why they are there, read, put back and dropped.

What is put back or dropped stays in the topic until its time is over; a record with the header
`dlq_done`, in the same partition, says that it is done with.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from msgspec import Struct

from tradewire.adapters.kafka.connection import client_arguments, unavailable
from tradewire.adapters.kafka.options import Options
from tradewire.adapters.kafka.producer import Headers, Outgoing, Producer
from tradewire.adapters.kafka.topics import DEAD_LETTERS
from tradewire.domain.ids import timestamp
from tradewire.ports import Record

NAMES = tuple(
    f"dlq_{name}" for name in ("topic", "partition", "offset", "error", "attempts", "time")
)
DONE = "dlq_done"
ERROR_CHARACTERS = 1_000
DEADLINE_S = 10.0

Place = tuple[int, int]
"""Partition and offset in the topic of dead letters."""


class KafkaDeadLetters:
    """See ports.DeadLetters."""

    def __init__(self, options: Options) -> None:
        self._topic = options.topic(DEAD_LETTERS.name)
        self._producer = Producer(options)

    async def put(self, record: Record, error: str, attempts: int) -> None:
        topic, partition = record.partition
        now = timestamp(time.time_ns() // 1_000_000)
        texts = (topic, partition, record.offset, error[:ERROR_CHARACTERS], attempts, now)
        told = [(name, str(text).encode()) for name, text in zip(NAMES, texts, strict=True)]
        headers = [*record.headers, *told]
        await self._producer.send([Outgoing(self._topic, record.key, record.value, headers)])

    async def close(self) -> None:
        """Disconnect."""
        await self._producer.close()


class DeadLetter(Struct, frozen=True):
    """A dead letter without its bytes; `type` is "" where it cannot be told."""

    place: Place
    topic: str
    type: str
    error: str
    attempts: str
    time: str


class DeadLetterBox:
    """The dead letters of an installation, for its operators; an async context manager.

    Any call may raise `Unavailable`: Kafka does not answer.
    """

    def __init__(self, options: Options) -> None:
        self._topic = options.topic(DEAD_LETTERS.name)
        self._producer = Producer(options)
        self._consumer = AIOKafkaConsumer(
            self._topic,
            **client_arguments(options),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self._consumer.stop()
            raise unavailable(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.close()
        await self._consumer.stop()

    async def letters(self) -> list[DeadLetter]:
        """Those that are not done with, by place."""
        found: dict[Place, DeadLetter] = {}
        async for record in self._records():
            headers = dict(record.headers)
            if DONE in headers:
                found.pop(_place(headers[DONE]), None)
            else:
                found[record.partition, record.offset] = _letter(record)
        return sorted(found.values(), key=lambda letter: letter.place)

    async def record(self, place: Place) -> ConsumerRecord:
        """A dead letter as it lies there."""
        partition = TopicPartition(self._topic, place[0])
        self._consumer.seek(partition, place[1])
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._consumer.getone(partition)
        except (KafkaError, OSError, TimeoutError) as error:
            raise unavailable(error) from error

    async def replay(self, letter: DeadLetter) -> None:
        """Put the record back where it came from, as it was."""
        record = await self.record(letter.place)
        partition = int(dict(record.headers)["dlq_partition"])
        original = original_headers(record)
        again = Outgoing(letter.topic, record.key, record.value, original, partition)
        await self._producer.send([again])
        await self.drop(letter)

    async def drop(self, letter: DeadLetter) -> None:
        """Have it listed no more."""
        partition, offset = letter.place
        done = [(DONE, f"{partition}:{offset}".encode())]
        await self._producer.send([Outgoing(self._topic, b"", None, done, partition)])

    async def _records(self) -> AsyncIterator[ConsumerRecord]:
        """Everything in the topic up to now, in the order of each partition."""
        consumer = self._consumer
        try:
            partitions = consumer.assignment()
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(each) < ends[each] for each in partitions]):
                async with asyncio.timeout(DEADLINE_S):
                    found = await consumer.getmany(timeout_ms=2 * int(DEADLINE_S * 1000))
                for records in found.values():
                    for record in records:
                        yield record
        except (KafkaError, OSError, TimeoutError) as error:
            raise unavailable(error) from error


def original_headers(record: ConsumerRecord) -> Headers:
    """The headers of a dead letter before it became one."""
    headers: Sequence[tuple[str, bytes | None]] = record.headers
    return headers[: -len(NAMES)]


def _letter(record: ConsumerRecord) -> DeadLetter:
    told = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    topic, _, _, error, attempts, moment = (told.get(name, "") for name in NAMES)
    kind = told.get("ce_type") or _type_within(record.value)
    return DeadLetter((record.partition, record.offset), topic, kind, error, attempts, moment)


class _Typed(Struct):
    type: str


def _type_within(value: bytes | None) -> str:
    """The type of an event in structured mode, if it can be read."""
    try:
        return msgspec.json.decode(value or b"", type=_Typed).type
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _place(text: bytes) -> Place:
    partition, _, offset = text.decode().partition(":")
    return int(partition), int(offset)
