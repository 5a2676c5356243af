"""What a durable store still knows after it was closed and opened again."""

from collections.abc import Awaitable, Callable

import pytest

from tradewire.domain.errors import KeyReused
from tradewire.ports import Store
from tradewire.testing.store_contract.shop import Shop

Reopen = Callable[[], Awaitable[Store]]


class DurableContract:
    """Contract of stores that outlive their process.

    It needs a fixture `reopen`, which closes the store and opens another on the same data.
    """

    async def test_everything_is_there_again(self, shop: Shop, reopen: Reopen) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation, "alice", "one", key="k")
        await shop.edit(message, text="two")
        await shop.read(conversation, "bob")
        await shop.settings(conversation, "alice", pinned=True)
        events = await shop.store.journal.events(0, 10)
        newest = await shop.store.journal.newest_id()
        await shop.store.relay.move(newest)
        missed = await shop.missed("bob", 0)
        views = [await shop.view(user, conversation) for user in ("alice", "bob")]
        later = shop.on(await reopen())
        assert await later.texts(conversation) == ["two"]
        assert await later.store.journal.events(0, 10) == events
        assert await later.store.journal.newest_id() == newest
        assert await later.store.relay.cursor() == newest
        assert await later.missed("bob", 0) == missed
        assert [await later.view(user, conversation) for user in ("alice", "bob")] == views

    async def test_keys_and_handled_events_are_known_again(
        self, shop: Shop, reopen: Reopen
    ) -> None:
        conversation = await shop.direct()
        await shop.write(shop.message(conversation, key="k"), handles=(shop.tenant, "ce"))
        later = shop.on(await reopen())
        later.ids.observe(await later.store.journal.newest_id())
        assert (await later.write(later.message(conversation, key="k")))[0].duplicate
        assert not await later.write(later.message(conversation), handles=(shop.tenant, "ce"))
        with pytest.raises(KeyReused):
            await later.send(conversation, text="other", key="k")

    async def test_units_in_flight_are_finished_by_closing(
        self, shop: Shop, reopen: Reopen
    ) -> None:
        conversation = await shop.direct()
        waiting = [shop.append(shop.message(conversation, text=str(n))) for n in range(300)]
        later = shop.on(await reopen())
        assert all(outcome.done() for outcome in waiting)
        assert await later.texts(conversation) == [str(n) for n in range(300)]

    async def test_inbox_and_unread_go_on_where_they_were(self, shop: Shop, reopen: Reopen) -> None:
        rooms = [await shop.direct("alice", f"u{n}") for n in range(4)]
        for room in (rooms[2], rooms[0], rooms[2], rooms[0]):
            await shop.send(room, "alice")
        later = shop.on(await reopen())
        later.ids.observe(await later.store.journal.newest_id())
        await later.send(rooms[2], "u2")
        await later.read(rooms[0], "u0")
        assert await later.inbox("alice") == [rooms[2], rooms[0], rooms[3], rooms[1]]
        assert await later.unread("alice") == {rooms[2]: 1}
        assert await later.unread("u0") == {}
        assert await later.unread("u2") == {}
