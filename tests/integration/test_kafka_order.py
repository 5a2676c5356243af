"""What consuming keeps: order within a key, offsets of what is done, partitions that move."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest

from tests.e2e.marketplace import cloud_event, product
from tests.kafka import Bus, eventually
from tradewire.adapters.kafka.consumer import KafkaConsumer
from tradewire.adapters.kafka.dead_letters import KafkaDeadLetters
from tradewire.adapters.kafka.topics import PRODUCTS, USERS, make_topics
from tradewire.config import kafka_options, load_settings
from tradewire.domain.errors import Unavailable
from tradewire.domain.incoming import IncomingEvent, ProductUpdated, UserBlocked
from tradewire.edge.consuming import Consuming
from tradewire.telemetry.metrics import Metrics

Handle = Callable[[list[IncomingEvent]], Awaitable[object]]


@pytest.fixture
async def bus(bus: Bus) -> Bus:
    """With the topics that a node would make."""
    await make_topics(kafka_options(load_settings(bus.environ, {})))
    return bus


@asynccontextmanager
async def consuming(bus: Bus, handle: Handle) -> AsyncIterator[Metrics]:
    """A node that consumes with this handling, and ends in order."""
    options = kafka_options(load_settings(bus.environ, {}))
    dead_letters, metrics = KafkaDeadLetters(options), Metrics()
    consumer = KafkaConsumer(options, "group", [USERS, PRODUCTS])
    task = asyncio.create_task(Consuming(consumer, dead_letters, handle, metrics).run())
    try:
        yield metrics
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await dead_letters.close()


async def block(bus: Bus, user: str, number: int) -> None:
    """An event of a user; the reason numbers it."""
    event = cloud_event("UserBlocked", user_id=user, blocked_by="shop", reason=str(number))
    await bus.tell(USERS.name, user, event)


class Log:
    """What took effect, by user."""

    def __init__(self) -> None:
        self.by_user: dict[str, list[int]] = {}

    def add(self, event: IncomingEvent) -> None:
        assert isinstance(event.data, UserBlocked)
        self.by_user.setdefault(event.data.user_id, []).append(number_of(event))

    def of(self, user: str) -> list[int]:
        return self.by_user.get(user, [])

    async def has(self, expected: dict[str, list[int]]) -> None:
        async def complete() -> bool:
            return self.by_user == expected

        await eventually(complete, f"{expected}, not {self.by_user}")


def number_of(event: IncomingEvent) -> int:
    assert isinstance(event.data, UserBlocked)
    return int(event.data.reason or "")


async def test_a_passing_failure_is_tried_again_in_its_place(bus: Bus) -> None:
    log, tries = Log(), count(1)

    async def handle(events: list[IncomingEvent]) -> None:
        if number_of(events[0]) == 1 and next(tries) < 3:
            raise Unavailable
        log.add(events[0])

    for number in range(3):
        await block(bus, "alice", number)
    async with consuming(bus, handle) as metrics:
        await log.has({"alice": [0, 1, 2]})
        assert metrics.consume_retries.value() == 2
    assert await bus.records("chat.dead-letters.v1") == []


async def test_what_is_not_done_is_taken_again_and_nothing_before_it(bus: Bus) -> None:
    first, second = Log(), Log()

    async def stuck(events: list[IncomingEvent]) -> None:
        if number_of(events[0]) == 2:
            await asyncio.Event().wait()
        first.add(events[0])

    async def handle(events: list[IncomingEvent]) -> None:
        second.add(events[0])

    for number in range(4):
        await block(bus, "alice", number)
    async with consuming(bus, stuck):
        await first.has({"alice": [0, 1]})
    async with consuming(bus, handle):
        await second.has({"alice": [2, 3]})


async def test_of_many_versions_that_wait_the_newest_alone_is_applied(bus: Bus) -> None:
    applied: list[tuple[str, int]] = []

    async def handle(events: list[IncomingEvent]) -> None:
        assert isinstance(events[0].data, ProductUpdated)
        applied.append((events[0].data.product_id, events[0].data.version))

    for version in (2, 5, 4, 1, 3):
        for name in ("p-1", "p-2"):
            event = cloud_event("ProductUpdated", **product(name, version))
            await bus.tell(PRODUCTS.name, name, event)
    async with consuming(bus, handle) as metrics:

        async def all_are_done() -> bool:
            taken = metrics.records_consumed.value(bus.prefix + PRODUCTS.name)
            return taken == 10 and await bus.committed("group", PRODUCTS.name) == 10

        await eventually(all_are_done, "all records are done with")
    assert sorted(applied) == [("p-1", 5), ("p-2", 5)]


async def test_a_storm_is_handled_a_few_at_a_time(bus: Bus) -> None:
    under_way, most, done = 0, 0, 0

    async def handle(_: list[IncomingEvent]) -> None:
        nonlocal under_way, most, done
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        done += 1

    async def all_done() -> bool:
        return done == 300

    for number in range(300):
        event = cloud_event("ProductUpdated", **product(f"p-{number}", 1))
        await bus.tell(PRODUCTS.name, f"p-{number}", event)
    async with consuming(bus, handle):
        await eventually(all_done, "all take effect")
    assert 1 < most <= 16


async def test_one_user_does_not_hold_up_another(bus: Bus) -> None:
    log = Log()

    async def handle(events: list[IncomingEvent]) -> None:
        if events[0].subject is None and getattr(events[0].data, "user_id", "") == "stuck":
            raise Unavailable
        log.add(events[0])

    await block(bus, "stuck", 0)
    users = [f"user-{number}" for number in range(8)]
    for user in users:
        await block(bus, user, 1)
    async with consuming(bus, handle):
        await log.has({user: [1] for user in users})


async def test_a_bug_is_tried_five_times_and_then_a_dead_letter(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewire.edge.consuming.backoff", lambda _: 0.01)
    log = Log()

    async def handle(events: list[IncomingEvent]) -> None:
        if number_of(events[0]) == 0:
            raise RuntimeError("broken on purpose")
        log.add(events[0])

    for number in range(2):
        await block(bus, "alice", number)
    async with consuming(bus, handle):
        await log.has({"alice": [1]})
    [letter] = await bus.records("chat.dead-letters.v1")
    told = dict(letter.headers)
    assert told["dlq_error"] == b"RuntimeError: broken on purpose"
    assert told["dlq_attempts"] == b"5"


async def test_partitions_that_move_lose_nothing_and_keep_the_order(bus: Bus) -> None:
    users = [f"user-{number}" for number in range(12)]
    one, other, numbers = Log(), Log(), count()

    async def tell() -> int:
        number = next(numbers)
        for user in users:
            await block(bus, user, number)
        return number

    async def tell_until_the_other_consumes() -> bool:
        await tell()
        return bool(other.by_user)

    async def all_done() -> bool:
        told = set(range(last + 1))
        return all({*one.of(user), *other.of(user)} == told for user in users)

    await tell()
    async with consuming(bus, slowly(one)):
        await one.has({user: [0] for user in users})
        async with consuming(bus, slowly(other)):
            await eventually(tell_until_the_other_consumes, "the other consumes")
        last = await tell()
        await eventually(all_done, "all is done")
    for numbers_done in (*one.by_user.values(), *other.by_user.values()):
        firsts = list(dict.fromkeys(numbers_done))
        assert firsts == sorted(firsts)


def slowly(log: Log) -> Handle:
    async def handle(events: list[IncomingEvent]) -> None:
        await asyncio.sleep(0.01)
        log.add(events[0])

    return handle
