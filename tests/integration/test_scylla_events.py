"""The events that a node wrote itself: kept to be published, and what is kept is what is stored."""

import asyncio
from collections import Counter

import pytest

from tests.integration.test_scylla_nodes import Node, Start, eventually, finished
from tests.integration.test_scylla_races import SOON_S, send_again_elsewhere
from tradewire.adapters.scylla import outbox
from tradewire.domain.errors import Unavailable
from tradewire.domain.outbox import DomainEvent


def reads_of(node: Node) -> Counter[str]:
    """The statements that a node runs from now on, counted."""
    counted: Counter[str] = Counter()

    def count(name: str) -> None:
        counted[name] += 1

    node.store.engine.on_statement = count
    return counted


async def as_stored(start: Start, node: Node) -> list[DomainEvent]:
    """All events of the log as another node reads them."""
    other, events = await start(), list[DomainEvent]()

    async def told() -> bool:
        events[:] = await other.log()
        return bool(events) and events[-1].id == node.store.journal.last_batch

    await eventually(told, "the node has told how far the log is complete")
    return events


async def happen(node: Node) -> None:
    """Have some of everything happen, in groups of their own."""
    room = await node.shop.group("alice", "bob")
    for number in range(10):
        message = await node.shop.send(room, text=str(number))
        await node.shop.edit(message, text=f"{number}, rather")
    await node.shop.add(room, "carol")
    await node.shop.write(node.shop.marker(room, "bob"))


async def test_what_a_node_wrote_is_not_read_again(start: Start) -> None:
    node = await start()
    await happen(node)
    counted = reads_of(node)
    kept = await node.log()
    assert "BATCHES" not in counted
    assert len(kept) == 23
    assert kept == await as_stored(start, node)


@pytest.mark.parametrize("kept_bytes", [0, 2_000])
async def test_what_is_no_longer_kept_is_read(
    start: Start, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    monkeypatch.setattr(outbox, "KEPT_BYTES", kept_bytes)
    node = await start()
    await happen(node)
    counted = reads_of(node)
    read = await node.log(limit=7)
    assert counted["BATCHES"] > 0
    assert read == await as_stored(start, node)


async def test_of_what_was_sent_again_elsewhere_the_dropped_try_is_not_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await start(), await start()
    _, message = await send_again_elsewhere(slow, other, monkeypatch)

    async def told() -> bool:
        return message.id in {event.id for event in await slow.log()}

    await eventually(told, "the other node has told how far the log is complete")
    sent = [event.id for event in await slow.log() if event.type == "MessageSent"]
    assert sent == [message.id]


async def test_what_another_node_has_finished_is_told_as_that_left_it(start: Start) -> None:
    dying, heir = await start(), await start()
    room = await dying.shop.direct()
    before = await dying.shop.send(room, "bob", "before")
    dying.stop_at("BATCH")
    sending = dying.shop.append(dying.shop.message(room, text="once", key="k"))
    await asyncio.sleep(SOON_S)
    await dying.die()
    again = await heir.shop.send(room, text="once", key="k")
    await eventually(lambda: finished(heir), "the run is finished")
    assert isinstance(await sending, Unavailable)
    dying.store.engine.on_statement = None

    async def told() -> bool:
        return again.id in {event.id for event in await dying.log()}

    await eventually(told, "the heir has told how far the log is complete")
    sent = [event.id for event in await dying.log() if event.type == "MessageSent"]
    assert sent == [before.id, again.id]
