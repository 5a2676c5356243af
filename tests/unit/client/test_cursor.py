"""No event is lost and none comes twice, wherever connections break."""

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.peer import (
    DEADLINE_S,
    Json,
    read,
    received,
    snowflake,
    sync_completed,
    typing,
)
from tradewire.client.cursor import Cursor, SeenIds
from tradewire.client.feed import Feed


def test_without_since_the_cursor_begins_at_the_welcome_and_follows_events_and_pings() -> None:
    cursor = Cursor(None)
    cursor.opened(10)
    assert cursor.since == 10
    cursor.handed_over(12)
    cursor.handed_over(11)
    assert cursor.since == 12
    cursor.told(20)
    assert cursor.since == 20


def test_a_resume_moves_the_cursor_only_when_it_is_complete() -> None:
    cursor = Cursor(5)
    cursor.opened(100)
    cursor.handed_over(50)
    cursor.told(90)
    assert cursor.since == 5
    cursor.completed(40)
    assert cursor.since == 50
    cursor.told(95)
    assert cursor.since == 95


def test_a_resume_cut_short_begins_again_where_it_began() -> None:
    cursor = Cursor(0)
    cursor.opened(100)
    cursor.handed_over(50)
    cursor.opened(110)
    assert cursor.since == 0
    cursor.completed(40)
    assert cursor.since == 40


def test_after_an_event_was_withheld_only_a_new_resume_moves_the_cursor() -> None:
    cursor = Cursor(None)
    cursor.opened(10)
    cursor.withhold()
    cursor.handed_over(30)
    cursor.told(40)
    cursor.completed(50)
    assert cursor.since == 10
    cursor.opened(60)
    cursor.completed(55)
    assert cursor.since == 55


def test_ids_that_a_resume_may_repeat_are_remembered_and_no_others() -> None:
    seen = SeenIds()
    late, early = snowflake(1_000_000), snowflake(399_999)
    for event_id in (late, early, snowflake(400_000)):
        seen.add(event_id)
    seen.forget_before(late)
    assert late in seen
    assert snowflake(400_000) in seen
    assert early not in seen


def test_memory_of_ids_is_bounded_and_keeps_the_newest() -> None:
    seen = SeenIds(capacity=10)
    for event_id in range(1000):
        seen.add(event_id)
    assert len(seen) <= 10
    assert 999 in seen


def opened(since: int | None, capacity: int = 100, cursor: int = 0) -> Feed:
    feed = Feed(since, capacity)
    feed.opened({"cursor": str(cursor)})
    return feed


async def take(feed: Feed, count: int) -> list[str]:
    return [(await anext(feed.queue))["type"] for _ in range(count)]


async def test_ids_far_before_the_cursor_are_forgotten() -> None:
    feed = opened(None)
    old, new = snowflake(50_000), snowflake(5_000_000)
    feed.accept(received(old))
    feed.accept(received(new))
    feed.accept(received(old))
    feed.forget()
    feed.accept(received(old))
    feed.accept(received(new))
    assert await take(feed, 3) == ["MessageReceived"] * 3
    assert feed.taken == new
    assert feed.queue.put({"type": "last"}, None)
    assert await take(feed, 1) == ["last"]


async def test_the_cursor_for_a_later_client_covers_only_what_was_taken() -> None:
    feed = opened(None, cursor=5)
    feed.accept(received(6))
    feed.accept(received(7))
    assert (feed.taken, feed.since) == (5, 7)
    await take(feed, 1)
    assert feed.taken == 6
    await take(feed, 1)
    assert feed.taken == 7


def test_a_full_queue_withholds_what_a_resume_brings_again_and_drops_what_does_not_matter() -> None:
    feed = opened(None, capacity=2)
    assert feed.accept(received(1))
    assert feed.accept(typing())
    assert not feed.accept(typing())
    before = feed.settled
    assert not feed.accept(received(2))
    assert not feed.accept(read(3))
    assert not feed.accept(sync_completed(4))
    assert (before, feed.settled, feed.since) == (True, False, 1)


async def test_a_completed_resume_that_finds_no_room_is_not_complete() -> None:
    feed = opened(0, capacity=1)
    assert feed.accept(received(1))
    assert not feed.accept(sync_completed(5))
    assert feed.since == 0
    await take(feed, 1)
    async with asyncio.timeout(DEADLINE_S):
        await feed.caught_up()


async def test_what_follows_a_withheld_event_does_not_overtake_it() -> None:
    feed = opened(None, capacity=1)
    feed.accept(received(1))
    feed.accept(received(2))
    await take(feed, 1)
    assert not feed.accept(received(3))
    assert feed.accept(typing())


class ServerModel:
    """A log of events whose ids may be late by less than the 10 s of overlap, and one consumer."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._ticks = itertools.count(100_000, 3_000)
        self._script: list[Json] = []
        self.feed = Feed(0, data.draw(st.integers(2, 6), "capacity"))
        self.log: list[int] = []
        self.heard: list[int] = []

    def happen(self) -> int:
        lateness_ms = self._data.draw(st.integers(0, 9_000), "lateness")
        self.log.append(snowflake(next(self._ticks) - lateness_ms, len(self.log)))
        return self.log[-1]

    def connect(self) -> None:
        """Begin a resume that brings what was missed in any order."""
        since = (self.feed.since or 0) - (10_000 << 22)
        missed = [event_id for event_id in self.log if event_id > since]
        self._script = [received(i) for i in self._data.draw(st.permutations(missed), "missed")]
        self._script.append(sync_completed(self.cursor))
        self.feed.opened({"cursor": str(self.cursor)})

    @property
    def cursor(self) -> int:
        return max(self.log, default=0)

    async def step(self) -> None:
        match self._data.draw(st.sampled_from(["resume", "live", "ping", "consume"]), "step"):
            case "resume" if self._script:
                self.feed.accept(self._script.pop(0))
            case "live":
                self.feed.accept(received(self.happen()))
            case "ping":
                self.feed.told(self.cursor)
            case _:
                await self.consume()

    async def consume(self) -> None:
        while len(self.feed.queue):
            event = await anext(self.feed.queue)
            if event["type"] == "MessageReceived":
                self.heard.append(int(event["message"]["message_id"]))

    async def finish_resume(self) -> None:
        while self._script:
            await self.consume()
            assert self.feed.accept(self._script.pop(0))
        await self.consume()


@given(st.data())
@settings(max_examples=200, deadline=None)
async def test_whatever_breaks_nothing_is_lost_and_nothing_comes_twice(data: st.DataObject) -> None:
    server = ServerModel(data)
    for steps in data.draw(st.lists(st.integers(0, 12), max_size=8), "connections"):
        server.connect()
        for _ in range(steps):
            await server.step()
        for _ in range(data.draw(st.integers(0, 2), "while disconnected")):
            server.happen()
        server.feed.forget()
    server.connect()
    await server.finish_resume()
    assert sorted(server.heard) == sorted(server.log)
