"""Kafka as the other services of the marketplace have it: plain clients, and topics of a test."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord

from tests.e2e.marketplace import Json, cloud_event

DEADLINE_S = 30.0
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=utf-8")


class Bus:
    """The topics of one test.

    Attributes:
        environ: the settings of a node that uses them.
        tenant: whose events are told.
    """

    def __init__(self, brokers: str, producer: AIOKafkaProducer) -> None:
        self.brokers = brokers
        self.prefix = f"test-{uuid4().hex[:12]}."
        self.environ = {
            "KAFKA_BROKERS": brokers,
            "KAFKA_TOPIC_PREFIX": self.prefix,
            "KAFKA_REPLICATION_FACTOR": "1",
            "KAFKA_PARTITIONS": "3",
        }
        self.tenant = "default"
        self._producer = producer

    async def put(
        self, topic: str, key: str, value: bytes | None, *headers: tuple[str, bytes]
    ) -> None:
        """Send a record as it is."""
        await self._producer.send_and_wait(
            self.prefix + topic, value, key.encode(), headers=list(headers)
        )

    async def tell(self, topic: str, key: str, event: Json) -> None:
        """Send an event in structured mode."""
        value = json.dumps({**event, "tenant": self.tenant}).encode()
        await self.put(topic, key, value, STRUCTURED)

    async def tell_binary(self, topic: str, key: str, event: Json) -> None:
        """Send an event in binary mode."""
        names = ("id", "type", "source", "specversion")
        attributes = {f"ce_{name}": event[name] for name in names} | {"ce_tenant": self.tenant}
        headers = [(name, value.encode()) for name, value in attributes.items()]
        data = json.dumps(event["data"]).encode()
        await self.put(topic, key, data, *headers, ("content-type", b"application/json"))

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """All records of a topic so far, those of a partition in order."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.brokers)
        await consumer.start()
        try:
            await consumer._client.add_topic(self.prefix + topic)
            numbers = consumer.partitions_for_topic(self.prefix + topic) or set()
            partitions = [TopicPartition(self.prefix + topic, number) for number in numbers]
            return await _read(consumer, partitions) if partitions else []
        finally:
            await consumer.stop()

    async def committed(self, group: str, topic: str) -> int:
        """How many records of a topic a group is done with."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return sum(
            max(each.offset, 0)
            for partition, each in offsets.items()
            if partition.topic == self.prefix + topic
        )

    async def published(self) -> list[ConsumerRecord]:
        """The events that nodes published, without those of presence."""
        records = await self.records("chat.events.v1")
        return [record for record in records if not type_of(record).startswith("User")]


async def _read(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> list[ConsumerRecord]:
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(DEADLINE_S):
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += records
    return found


@asynccontextmanager
async def bus_on(brokers: str) -> AsyncIterator[Bus]:
    """Topics of their own on a broker, deleted at the end."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all")
    await producer.start()
    bus = Bus(brokers, producer)
    try:
        yield bus
    finally:
        await producer.stop()
        admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
        await admin.start()
        topics = [topic for topic in await admin.list_topics() if topic.startswith(bus.prefix)]
        await admin.delete_topics(topics)
        await admin.close()


def headers_of(record: ConsumerRecord) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def type_of(record: ConsumerRecord) -> str:
    return headers_of(record)["ce_type"]


def message_ids(records: Sequence[ConsumerRecord]) -> list[str]:
    """The messages that were told of, in this order."""
    sent = [json.loads(each.value) for each in records if type_of(each) == "MessageSent"]
    return [data["message"]["message_id"] for data in sent]


async def eventually(condition: Callable[[], Awaitable[Any]], what: str) -> None:
    """Wait until a condition holds."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_S} s: {what}") from None


__all__ = [
    "Bus",
    "bus_on",
    "cloud_event",
    "eventually",
    "headers_of",
    "message_ids",
    "type_of",
]
