"""What a store owes its writers: order, atomicity, durability, the log of events."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tradewire.domain import limits, writes
from tradewire.domain.errors import KeyReused, NotFound, Overloaded, TradewireError
from tradewire.domain.ids import MAX_ID
from tradewire.domain.outbox import MessageData
from tradewire.ports import Store
from tradewire.testing.store_contract.shop import DEADLINE_S, Shop


class JournalContract:
    """Contract of ports.Journal."""

    async def test_units_are_done_in_the_order_of_appending(self, shop: Shop) -> None:
        first, second = await shop.direct("alice", "bob"), await shop.direct("alice", "carol")
        done: list[int] = []
        last = asyncio.get_running_loop().create_future()
        for number in range(50):
            unit = writes.Unit((shop.message((first, second)[number % 2], text=str(number)),))

            def note(outcome: Sequence[Any] | TradewireError, number: int = number) -> None:
                assert not isinstance(outcome, TradewireError)
                done.append(number)
                if number == 49:
                    last.set_result(None)

            shop.store.journal.append(unit, note)
        await asyncio.wait_for(last, DEADLINE_S)
        assert done == list(range(50))
        assert await shop.texts(first) == [str(number) for number in range(0, 50, 2)]

    async def test_a_unit_without_writes_is_done_when_all_before_it_are(self, shop: Shop) -> None:
        conversation = await shop.direct()
        before = [shop.append(shop.message(conversation, text=str(n))) for n in range(20)]
        nothing = shop.append()
        assert list(shop.taken(await asyncio.wait_for(nothing, DEADLINE_S))) == []
        assert all(each.done() for each in before)

    async def test_a_read_sees_what_was_done(self, shop: Shop) -> None:
        conversation = await shop.direct()
        for number in range(20):
            await shop.send(conversation, text=str(number))
            assert (await shop.texts(conversation))[-1] == str(number)

    async def test_a_callback_that_raises_harms_no_other(self, shop: Shop) -> None:
        conversation = await shop.direct()

        def broken(_: object) -> None:
            raise RuntimeError("broken on purpose")

        shop.store.journal.append(writes.Unit((shop.message(conversation),)), broken)
        after = shop.append(shop.message(conversation, text="after"))
        await asyncio.wait_for(after, DEADLINE_S)
        assert await shop.texts(conversation) == ["hello", "after"]

    async def test_a_unit_takes_effect_whole(self, shop: Shop) -> None:
        conversation = await shop.direct()
        results = await shop.write(
            shop.message(conversation, text="a"), shop.message(conversation, text="b")
        )
        assert [stored.message.text for stored in results] == ["a", "b"]
        assert await shop.texts(conversation) == ["a", "b"]

    async def test_a_unit_that_is_refused_leaves_nothing(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.send(conversation, text="first", key="k")
        newest = await shop.store.journal.newest_id()
        with pytest.raises(KeyReused):
            await shop.write(
                shop.direct_write("alice", "dave"),
                shop.message(conversation, text="lost"),
                shop.message(conversation, text="other", key="k"),
            )
        assert await shop.texts(conversation) == ["first"]
        assert await shop.inbox("dave") == []
        assert await shop.store.journal.events(newest, 10) == []
        assert (await shop.missed("bob", newest)).changes == []

    async def test_a_refused_unit_leaves_its_neighbours(self, shop: Shop) -> None:
        conversation = await shop.direct()
        outcomes = [
            shop.append(shop.message(conversation, text="before")),
            shop.append(shop.message("00000000-0000-4000-8000-000000000000")),
            shop.append(shop.message(conversation, text="x"), shop.message("no-such")),
            shop.append(shop.message(conversation, text="after")),
        ]
        before, missing, mixed, after = await asyncio.gather(*outcomes)
        assert isinstance(missing, NotFound)
        assert isinstance(mixed, NotFound)
        assert not isinstance(before, TradewireError)
        assert not isinstance(after, TradewireError)
        assert await shop.texts(conversation) == ["before", "after"]

    async def test_an_event_is_handled_once(self, shop: Shop) -> None:
        conversation = await shop.direct()
        mark = (shop.tenant, "ce-1")
        assert len(await shop.write(shop.message(conversation, text="once"), handles=mark)) == 1
        assert not await shop.write(shop.message(conversation, text="twice"), handles=mark)
        assert (
            len(await shop.write(shop.message(conversation), handles=(shop.elsewhere, "ce-1"))) == 1
        )
        assert await shop.texts(conversation) == ["once", "hello"]

    async def test_a_refused_event_is_not_handled(self, shop: Shop) -> None:
        conversation = await shop.direct()
        mark = (shop.tenant, "ce-1")
        with pytest.raises(NotFound):
            await shop.write(shop.message("no-such"), handles=mark)
        assert len(await shop.write(shop.message(conversation), handles=mark)) == 1

    async def test_the_log_has_each_event_once_in_the_order_of_ids(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation, text="one", key="k")
        await shop.send(conversation, text="one", key="k")
        await shop.edit(message, text="two")
        await shop.read(conversation, "bob")
        await shop.read(conversation, "bob")
        await shop.receive(conversation, "bob")
        await shop.delete(message)
        await shop.delete(message)
        events = await shop.store.journal.events(0, 100)
        assert [event.type for event in events] == [
            "ConversationCreated",
            "MessageSent",
            "MessageEdited",
            "MessageRead",
            "MessageDeleted",
        ]
        ids = [event.id for event in events]
        assert ids == sorted(set(ids))
        assert {event.subject for event in events} == {conversation}
        assert isinstance(events[1].data, MessageData)
        assert events[1].data.message == message

    async def test_the_log_is_read_in_pages(self, shop: Shop) -> None:
        conversation = await shop.direct()
        waiting = [shop.append(shop.message(conversation, text=str(n))) for n in range(25)]
        await asyncio.gather(*waiting)
        events = await shop.store.journal.events(0, 100)
        read: list[int] = []
        while page := await shop.store.journal.events(read[-1] if read else 0, 7):
            assert len(page) <= 7
            read += [event.id for event in page]
        assert read == [event.id for event in events]
        assert len(read) == 26

    async def test_events_of_all_tenants_are_in_one_log(self, shop: Shop) -> None:
        other = shop.of(shop.elsewhere)
        await shop.direct()
        await other.direct()
        assert [event.tenant for event in await shop.store.journal.events(0, 10)] == [
            shop.tenant,
            shop.elsewhere,
        ]

    async def test_presence_and_members_are_in_the_log(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob")
        await shop.add(group, "carol")
        await shop.remove(group, "carol")
        await shop.write(
            writes.SetLastSeen(
                tenant=shop.tenant,
                event_id=shop.ids.next_id(),
                user_id="alice",
                online=False,
                last_seen=shop.time(),
            )
        )
        events = await shop.store.journal.events(0, 10)
        assert [event.type for event in events] == [
            "ConversationCreated",
            "MemberAdded",
            "MemberRemoved",
            "UserOffline",
        ]

    async def test_the_newest_id_covers_all_that_was_written(self, shop: Shop) -> None:
        assert await shop.store.journal.newest_id() == 0
        conversation = await shop.direct()
        message = await shop.send(conversation)
        assert await shop.store.journal.newest_id() == message.id
        await shop.settings(conversation, "alice", pinned=True)
        assert message.id < await shop.store.journal.newest_id() < shop.ids.next_id()

    async def test_too_many_units_in_flight_are_refused(self, shop: Shop) -> None:
        conversation = await shop.direct()
        taken: list[asyncio.Future[Sequence[Any] | TradewireError]] = []

        def append_for_ever() -> None:
            while True:
                taken.append(shop.append(shop.message(conversation, text="x")))

        with pytest.raises(Overloaded):
            append_for_ever()
        outcomes = await asyncio.wait_for(asyncio.gather(*taken), 60)
        assert not any(isinstance(outcome, TradewireError) for outcome in outcomes)
        assert (await shop.send(conversation, text="goes on")).text == "goes on"

    async def test_many_of_the_largest_messages_at_once(self, shop: Shop) -> None:
        conversation = await shop.direct()
        largest = "\U0001f4e6" * limits.TEXT_CHARACTERS
        metadata = {"note": "x" * (limits.METADATA_BYTES - 20)}
        sent = [
            shop.message(
                conversation,
                text=largest,
                metadata=metadata,
                key=f"{number:0128}",
                content_hash=bytes(32),
                fresh=True,
            )
            for number in range(200)
        ]
        outcomes = await asyncio.wait_for(asyncio.gather(*map(shop.append, sent)), 60)
        assert not any(isinstance(outcome, TradewireError) for outcome in outcomes)
        newest = await shop.store.messages.before(shop.tenant, conversation, MAX_ID, 1)
        assert [(each.text, each.metadata) for each in newest] == [(largest, metadata)]

    async def test_the_store_answers(self, store: Store) -> None:
        await store.check()
        assert await store.journal.newest_id() == 0
