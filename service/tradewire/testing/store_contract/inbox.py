"""Inboxes: order, filters, cursors, own settings."""

import pytest

from tradewire.domain import writes
from tradewire.domain.errors import InvalidField, NotFound
from tradewire.domain.ids import timestamp
from tradewire.ports import InboxQuery
from tradewire.testing.store_contract.shop import Shop

SLOT_MS = 1 << 14
DAY_MS = 86_400_000


class InboxContract:
    """Contract of ports.Conversations.inbox and view, and of own settings."""

    async def test_the_newest_activity_comes_first(self, shop: Shop) -> None:
        rooms = [await shop.direct("alice", f"u{n}") for n in range(4)]
        assert await shop.inbox("alice") == rooms[::-1]
        await shop.send(rooms[1], "u1")
        await shop.send(rooms[0], "alice")
        assert await shop.inbox("alice") == [rooms[0], rooms[1], rooms[3], rooms[2]]
        await shop.send(rooms[1], "alice")
        await shop.send(rooms[2], "alice")
        await shop.send(rooms[0], "u0")
        assert await shop.inbox("alice") == [rooms[0], rooms[2], rooms[1], rooms[3]]
        assert await shop.inbox("u1") == [rooms[1]]

    @pytest.mark.parametrize("sort", ["last_activity", "created_at"])
    @pytest.mark.parametrize("descending", [True, False])
    @pytest.mark.parametrize("limit", [1, 3, 50])
    async def test_pages_tell_the_whole_order(
        self, shop: Shop, sort: str, descending: bool, limit: int
    ) -> None:
        rooms, newest = [], dict[str, int]()
        for number in range(24):
            room = await shop.direct("alice", f"u{number}")
            rooms.append(room)
            newest[room] = 2 * number
            if number % 5 == 4:
                shop.time.advance(SLOT_MS // 3)
        for step in range(60):
            room = rooms[(step * step) % 24]
            await shop.send(room, "alice")
            newest[room] = 1_000 + step
            if step % 7 == 6:
                shop.time.advance(SLOT_MS // 2)
        by_activity = sorted(rooms, key=newest.__getitem__)
        expected = by_activity if sort == "last_activity" else rooms
        found = await shop.whole_inbox("alice", limit=limit, sort=sort, descending=descending)
        assert found == (expected[::-1] if descending else expected)

    async def test_a_cursor_goes_with_its_query(self, shop: Shop) -> None:
        for number in range(3):
            await shop.direct("alice", f"u{number}")
        query = InboxQuery(limit=1, now=shop.time())
        page = await shop.store.conversations.inbox(shop.tenant, "alice", query)
        assert page.cursor is not None
        bad = (
            InboxQuery(limit=1, now=shop.time(), cursor="nonsense"),
            InboxQuery(limit=1, now=shop.time(), cursor=""),
            InboxQuery(limit=1, now=shop.time(), cursor=page.cursor, sort="created_at"),
            InboxQuery(limit=1, now=shop.time(), cursor=page.cursor, listing_id="l1"),
        )
        for query in bad:
            with pytest.raises(InvalidField) as refused:
                await shop.store.conversations.inbox(shop.tenant, "alice", query)
            assert refused.value.field == "cursor"

    async def test_an_exact_page_is_the_end(self, shop: Shop) -> None:
        rooms = [await shop.direct("alice", f"u{number}") for number in range(2)]
        query = InboxQuery(limit=2, now=shop.time())
        page = await shop.store.conversations.inbox(shop.tenant, "alice", query)
        assert page.cursor is None
        assert len(page.conversations) == len(rooms)
        empty = await shop.store.conversations.inbox(shop.tenant, "nobody", query)
        assert (empty.conversations, empty.cursor) == ([], None)

    async def test_filters(self, shop: Shop) -> None:
        plain = await shop.direct("alice", "bob")
        listed = await shop.direct("alice", "bob", listing_id="l1")
        closed = await shop.direct("alice", "bob", listing_id="l2")
        archived = await shop.direct("alice", "bob", product_id="p1")
        await shop.write(
            writes.ReviseConversation(
                tenant=shop.tenant,
                conversation_id=closed,
                change_id=shop.ids.next_id(),
                status="closed",
            )
        )
        await shop.settings(archived, "alice", archived=True)
        await shop.settings(plain, "alice", muted_until=shop.time() + DAY_MS)
        await shop.send(listed, "bob")
        assert await shop.inbox("alice") == [listed, closed, plain]
        assert await shop.inbox("alice", archived=None) == [listed, archived, closed, plain]
        assert await shop.inbox("alice", archived=True) == [archived]
        assert await shop.inbox("alice", muted=True) == [plain]
        assert await shop.inbox("alice", muted=False) == [listed, closed]
        assert await shop.inbox("alice", status="closed") == [closed]
        assert await shop.inbox("alice", status="open", muted=False) == [listed]
        assert await shop.inbox("alice", listing_id="l2") == [closed]
        assert await shop.inbox("alice", listing_id="l2", sort="created_at") == [closed]
        assert await shop.inbox("alice", listing_id="none") == []
        assert await shop.inbox("alice", unread=True) == [listed]
        assert await shop.inbox("alice", unread=True, sort="created_at") == [listed]
        assert await shop.inbox("alice", unread=False) == [closed, plain]
        assert await shop.inbox("bob", archived=None) == [listed, archived, closed, plain]
        shop.time.advance(DAY_MS)
        assert await shop.inbox("alice", muted=True) == []

    async def test_filtered_pages_have_cursors_too(self, shop: Shop) -> None:
        rooms = [await shop.direct("alice", f"u{number}") for number in range(9)]
        for room in rooms[::2]:
            await shop.settings(room, "alice", muted_until=shop.time() + DAY_MS)
        assert await shop.whole_inbox("alice", limit=2, muted=True) == rooms[::-1][::2]
        both = await shop.whole_inbox("alice", limit=2, archived=None)
        assert both == rooms[::-1]

    async def test_a_view_has_the_readers_own_settings(self, shop: Shop) -> None:
        conversation = await shop.direct(product_id="p1")
        until = shop.time() + DAY_MS
        await shop.settings(conversation, "alice", archived=True, pinned=True, muted_until=until)
        await shop.settings(conversation, "alice", archived=False)
        message = await shop.send(conversation, "bob")
        view = await shop.view("alice", conversation)
        assert (view.archived, view.pinned, view.unread_count) == (False, True, 1)
        assert view.muted_until == timestamp(until)
        assert view.last_message == message
        assert view.product_id == "p1"
        assert view.member_count == 2
        assert [member.user_id for member in view.members or ()] == ["alice", "bob"]
        other = await shop.view("bob", conversation)
        assert (other.archived, other.pinned, other.muted_until) == (False, False, None)
        await shop.settings(conversation, "alice", muted_until=None)
        assert (await shop.view("alice", conversation)).muted_until is None

    async def test_a_stranger_has_no_settings(self, shop: Shop) -> None:
        conversation = await shop.direct()
        view = await shop.view("mallory", conversation)
        assert not view.archived
        assert not isinstance(view.unread_count, int)
        assert await shop.store.conversations.view(shop.tenant, "bob", "no-such", 0) is None
        with pytest.raises(NotFound):
            await shop.settings(conversation, "mallory", pinned=True)

    async def test_hidden_until_the_next_message(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.send(conversation, "bob")
        await shop.settings(conversation, "alice", hidden=True)
        assert await shop.inbox("alice") == []
        assert await shop.unread("alice") == {}
        assert await shop.inbox("bob") == [conversation]
        await shop.send(conversation, "bob")
        assert await shop.inbox("alice") == [conversation]
        await shop.settings(conversation, "alice", hidden=True)
        shop.time.advance(SLOT_MS)
        await shop.send(conversation, "alice")
        assert await shop.inbox("alice") == [conversation]

    async def test_making_it_again_shows_a_hidden_one(self, shop: Shop) -> None:
        conversation = await shop.direct()
        for user in ("alice", "bob"):
            await shop.settings(conversation, user, hidden=True)
        since = await shop.store.journal.newest_id()
        assert (await shop.write(shop.direct_write("alice", "bob")))[0] == "shown"
        assert (await shop.write(shop.direct_write("alice", "bob")))[0] == "known"
        [change] = (await shop.missed("alice", since)).changes
        assert change.kind == "ConversationCreated"
        assert (await shop.missed("bob", since)).changes == []
        assert await shop.inbox("alice") == [conversation]
        assert await shop.inbox("bob") == []
