"""Commit groups, takeovers and readers in the order that is hardest for them, each time."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from tests.integration.test_scylla_nodes import (
    LEASE_S,
    Node,
    Start,
    eventually,
    finished,
    told_late,
)
from tradewire.adapters.scylla import journal, runs
from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.layout import bucket_of
from tradewire.adapters.scylla.rooms import AGE_S
from tradewire.domain.errors import Unavailable
from tradewire.domain.types import Message
from tradewire.domain.writes import EditMessage

SOON_S = 0.2
"""Longer than anything takes that is not held back."""

Matches = Callable[[tuple[Any, ...]], bool]


class Gate:
    """Holds single requests of a node, before they go out or until they have come back."""

    def __init__(self, engine: Engine) -> None:
        self._rows, self._write = engine.rows, engine.write
        self._held: dict[str, list[tuple[asyncio.Event, bool]]] = {}
        engine.rows = self._gated_rows  # type: ignore[method-assign]
        engine.write = self._gated_write  # type: ignore[method-assign]

    def hold(self, name: str, *, answer: bool = False) -> asyncio.Event:
        """Hold the next statement of this name, or its answer, until the event is set. All rows
        that are written together count as BATCH.
        """
        event = asyncio.Event()
        self._held.setdefault(name, []).append((event, answer))
        return event

    async def _gated_rows(self, name: str, *values: Any) -> Any:
        return await self._pass(name, lambda: self._rows(name, *values))

    async def _gated_write(self, mutations: Any) -> None:
        await self._pass("BATCH", lambda: self._write(mutations))

    async def _pass(self, name: str, request: Callable[[], Awaitable[Any]]) -> Any:
        held = self._held.get(name)
        if not held:
            return await request()
        event, answer = held.pop(0)
        if answer:
            result = await request()
            await event.wait()
            return result
        await event.wait()
        return await request()


async def texts_of(node: Node, after: int, limit: int) -> list[str]:
    """The texts that the log tells of above an id."""
    events = await node.log(after, limit)
    return [event.data.message.text for event in events if event.type == "MessageSent"]


async def test_who_reads_the_log_is_told_of_no_group_before_an_older_one(start: Start) -> None:
    node = await start()
    room = await node.shop.direct()
    first = await node.shop.send(room, text="first")
    gate = Gate(node.store.engine)
    known = gate.hold("RUNS", answer=True)
    reading = asyncio.create_task(node.store.journal.events(first.id, 100))
    await asyncio.sleep(SOON_S)
    slow = gate.hold("ADD_BATCH")
    sending = [node.shop.append(node.shop.message(room, text="slow", key="s", fresh=True))]
    await asyncio.sleep(SOON_S)
    sending.append(node.shop.append(node.shop.message(room, text="quick", key="q", fresh=True)))
    await asyncio.sleep(SOON_S)
    known.set()
    told = await reading
    slow.set()
    await asyncio.gather(*sending)
    texts = [event.data.message.text for event in told]
    texts += await texts_of(node, told[-1].id if told else first.id, 100)
    assert texts == ["slow", "quick"]


async def test_groups_that_begin_a_slice_at_once_are_all_in_the_log(start: Start) -> None:
    node = await start()
    room = await node.shop.direct()
    gate = Gate(node.store.engine)
    node.store.journal._outbox._slice = 0
    slow = gate.hold("ADD_SLICE", answer=True)
    sending = []
    for text in ("1", "2"):
        message = node.shop.message(room, text=text, key=text, fresh=True)
        sending.append(node.shop.append(message))
        await asyncio.sleep(SOON_S)
    slow.set()
    await asyncio.gather(*sending)
    await node.shop.send(room, text="3", key="3", fresh=True)
    assert await texts_of(node, 0, 1) == ["1", "2", "3"]


async def test_a_group_of_a_former_run_is_not_written_in_the_next(start: Start) -> None:
    node = await start()
    room = await node.shop.direct()
    await node.shop.send(room, text="before")
    run = node.store._run
    assert run is not None
    gate = Gate(node.store.engine)
    slow = gate.hold("KEY", answer=True)
    sending = node.shop.append(node.shop.message(room, text="old", key="k"))
    await asyncio.sleep(SOON_S)
    await node.store.engine.decide("DROP_LEASE", run._lease.name, run._lease._holder)

    async def lives_anew() -> bool:
        return node.store._run not in {None, run}

    await eventually(lives_anew, "another run")
    slow.set()
    assert isinstance(await sending, Unavailable)
    await node.shop.send(room, text="after")
    assert await node.shop.texts(room) == ["before", "after"]


def die_after_writing(node: Node, message_id: int) -> None:
    """Once a message is written, nothing more reaches the cluster."""
    engine = node.store.engine
    write = engine.write

    def refuse(_: str) -> None:
        raise Unavailable

    async def written(mutations: Any) -> None:
        await write(mutations)
        if any(name == "ADD_MESSAGE" and message_id in values for name, values in mutations):
            engine.on_statement = refuse

    engine.write = written  # type: ignore[method-assign]


async def test_what_an_heir_made_visible_before_it_died_is_announced(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "TAKEOVER_S", 3)
    dying, heir, other = [await start() for _ in range(3)]
    other.stop_at("TAKE_LEASE")
    room = await dying.shop.direct()
    await dying.shop.send(room, text="before")
    dying.stop_at("BATCH")
    late = dying.shop.message(room, text="late", key="k")
    sending = dying.shop.append(late)
    await asyncio.sleep(SOON_S)
    die_after_writing(heir, late.message.id)
    await dying.die()

    async def visible() -> bool:
        return await other.shop.texts(room) == ["before", "late"]

    await eventually(visible, "made visible")
    await heir.die()
    after = await other.shop.send(room, "bob", "after")
    other.store.engine.on_statement = None
    await eventually(lambda: finished(other), "all runs finished")
    assert isinstance(await sending, Unavailable)
    missed = await other.shop.missed("bob", after.id - (1 << 22))
    assert [message.text for message in missed.messages] == ["after"]
    assert late.message.message_id in await told_late(other, after.id)


async def test_a_conversation_is_not_forgotten_between_a_look_and_a_decision(start: Start) -> None:
    node = await start()
    room = await node.shop.direct()
    ticks = count(step=AGE_S * 0.55)
    node.store.journal._memory.rooms._now = lambda: next(ticks)
    for number in range(4):
        await node.shop.send(room, text="fresh", key=str(number), fresh=True)
        await node.shop.send(room, text="looked up", key=f"{number} again")


async def check_once(node: Node, room: str, message: Message) -> None:
    """A message is there once for all who ask: history, a repetition, a resume, the log."""
    assert [each.id for each in await node.store.messages.after(node.shop.tenant, room, 0, 10)] == [
        message.id
    ]
    again = (await node.shop.write(node.shop.message(room, text="once", key="k")))[0]
    assert (again.duplicate, again.message.id) == (True, message.id)
    missed = await node.shop.missed("bob", 0)
    assert [each.id for each in missed.messages] == [message.id]

    async def is_told() -> bool:
        events = await node.store.journal.events(0, 100)
        sent = [event.id for event in events if event.type == "MessageSent"]
        assert set(sent) <= {message.id}
        return bool(sent)

    await eventually(is_told, "the log has got as far")


async def test_a_message_sent_again_while_its_first_try_is_being_finished_is_there_once(
    start: Start,
) -> None:
    dying, heir, other = [await start() for _ in range(3)]
    other.stop_at("TAKE_LEASE")
    room = await dying.shop.direct()
    dying.stop_at("BATCH")
    first = dying.shop.message(room, text="once", key="k")
    sending = dying.shop.append(first)
    await asyncio.sleep(SOON_S)
    claiming = Gate(heir.store.engine).hold("BATCH")
    await dying.die()
    assert isinstance(await sending, Unavailable)
    await asyncio.sleep(LEASE_S)
    writing = Gate(other.store.engine).hold("BATCH")
    again = other.shop.append(other.shop.message(room, text="once", key="k"))
    await asyncio.sleep(SOON_S)
    claiming.set()
    claimed = (dying.shop.tenant, room, bucket_of("direct", first.message.id), "alice", "k")

    async def is_claimed() -> bool:
        return bool(await heir.store.engine.rows("KEY", *claimed))

    await eventually(is_claimed, "the first try is being finished")
    writing.set()
    [stored] = other.shop.taken(await again)
    assert not stored.duplicate
    other.store.engine.on_statement = None
    await eventually(lambda: finished_but(2, heir), "the run is finished")
    assert await told_late(heir, 0) == []
    await check_once(other, room, stored.message)


async def test_what_was_looked_for_too_long_ago_is_not_acknowledged(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LATE_S", SOON_S / 2)
    node = await start()
    room = await node.shop.direct()
    gate = Gate(node.store.engine)
    slow = gate.hold("ADD_BATCH")
    sending = node.shop.append(node.shop.message(room, text="once", key="k"))
    await asyncio.sleep(SOON_S)
    slow.set()
    assert isinstance(await sending, Unavailable)
    monkeypatch.undo()
    [stored] = await node.shop.write(node.shop.message(room, text="once", key="k"))
    assert stored.duplicate
    await check_once(node, room, stored.message)


async def hold_up(
    node: Node, room: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[asyncio.Event, Awaitable[Any]]:
    """A send whose rows are held back until the event is set, and which is late already."""
    monkeypatch.setattr(journal, "LATE_S", SOON_S / 2)
    held = Gate(node.store.engine).hold("BATCH")
    sending = node.shop.append(node.shop.message(room, text="once", key="k"))
    await asyncio.sleep(SOON_S)
    return held, sending


async def send_again_elsewhere(
    slow: Node, other: Node, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Message]:
    """A send that one node holds up until another has stored its repetition, in a conversation of
    theirs; the first node has settled it.
    """
    room = await slow.shop.direct()
    held, sending = await hold_up(slow, room, monkeypatch)
    message = await other.shop.send(room, text="once", key="k")
    held.set()
    assert isinstance(await sending, Unavailable)
    await slow.store.journal.drained()
    return room, message


async def test_what_was_held_up_and_sent_again_elsewhere_meanwhile_is_there_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await start(), await start()
    room, message = await send_again_elsewhere(slow, other, monkeypatch)
    assert slow.late == []
    await check_once(other, room, message)


async def test_what_was_sent_again_is_dropped_although_the_cluster_fails_in_between(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await start(), await start()
    room = await slow.shop.direct()
    held, sending = await hold_up(slow, room, monkeypatch)
    message = await other.shop.send(room, text="once", key="k")
    failures = iter([Unavailable()])

    def fail_once(name: str) -> None:
        if name == "ADD_BATCH" and (failure := next(failures, None)) is not None:
            raise failure

    slow.store.engine.on_statement = fail_once
    held.set()
    assert isinstance(await sending, Unavailable)
    await slow.store.journal.drained()
    assert next(failures, None) is None
    assert slow.late == []
    await check_once(other, room, message)


async def test_what_a_dead_node_had_on_its_way_is_void_once_it_was_sent_again(start: Start) -> None:
    dying, heir = await start(), await start()
    room = await dying.shop.direct()
    engine = dying.store.engine
    write, on_their_way = engine.write, list[Any]()

    async def sent(mutations: Any) -> None:
        on_their_way.extend(mutations)
        raise Unavailable

    engine.write = sent  # type: ignore[method-assign]
    sending = dying.shop.append(dying.shop.message(room, text="once", key="k"))
    await asyncio.sleep(SOON_S)
    await dying.die()
    message = await heir.shop.send(room, text="once", key="k")
    await eventually(lambda: finished(heir), "the run is finished")
    assert isinstance(await sending, Unavailable)
    await write(on_their_way)
    await check_once(heir, room, message)


async def finished_but(living: int, node: Node) -> bool:
    """Whether all runs but those of so many nodes are over."""
    rows = await node.store.engine.rows("RUNS", node.cell)
    return sum(row[4] is None for row in rows) == living


async def text_of(node: Node, message: Message) -> str | None:
    place = (message.conversation_id, message.id)
    [stored] = await node.store.messages.by_id(node.shop.tenant, [place])
    return stored.text


async def test_of_edits_on_two_nodes_at_once_the_younger_stays(start: Start) -> None:
    one, two = await start(), await start()
    message = await one.shop.send(await one.shop.direct(), text="first")
    gate = Gate(one.store.engine)
    go_on = gate.hold("BATCH")
    older = asyncio.create_task(one.shop.edit(message, text="older"))

    async def is_held() -> bool:
        return not gate._held["BATCH"]

    await eventually(is_held, "the older edit is about to be written")
    two.clock.observe(one.clock.next_id())
    await two.shop.edit(message, text="younger")
    go_on.set()
    await older
    assert await text_of(two, message) == "younger"


async def test_an_edit_that_finds_a_younger_one_is_refused_and_may_be_tried_again(
    start: Start,
) -> None:
    one, two = await start(), await start()
    message = await one.shop.send(await one.shop.direct(), text="first")
    older = EditMessage(
        tenant=one.shop.tenant,
        conversation_id=message.conversation_id,
        message_id=message.id,
        change_id=one.clock.next_id(),
        text="older",
    )
    await asyncio.sleep(0.002)
    await two.shop.edit(message, text="younger")
    with pytest.raises(Unavailable):
        await one.shop.write(older)
    assert await text_of(one, message) == "younger"
    await one.shop.edit(message, text="youngest")
    assert await text_of(two, message) == "youngest"
