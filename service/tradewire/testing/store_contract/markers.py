"""Read and delivered markers, and what is unread."""

import pytest

from tradewire.domain import limits
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import MAX_ID, id_ms
from tradewire.domain.receipts import Receipt
from tradewire.domain.writes import Moved, Write
from tradewire.testing.store_contract.shop import Shop

MINUTE_MS = 60_000


class MarkersContract:
    """Contract of MoveMarker, of receipts, of ports.Conversations.unread and unread_total."""

    async def test_reading_moves_both_markers(self, shop: Shop) -> None:
        conversation = await shop.direct()
        first = await shop.send(conversation)
        await shop.send(conversation)
        moved = await shop.read(conversation, "bob", first.id)
        assert (moved.up_to, moved.marked, moved.moved) == (first.id, 1, True)
        bob = await shop.member(conversation, "bob")
        assert bob is not None
        assert bob.last_read_id == bob.last_delivered_id == first.message_id

    async def test_a_marker_never_goes_back(self, shop: Shop) -> None:
        conversation = await shop.direct()
        first, second = await shop.send(conversation), await shop.send(conversation)
        await shop.read(conversation, "bob")
        back = await shop.read(conversation, "bob", first.id)
        assert (back.up_to, back.marked, back.moved) == (second.id, 0, False)
        late = await shop.receive(conversation, "bob", first.id)
        assert (late.up_to, late.moved) == (second.id, False)

    async def test_a_marker_is_cut_to_the_newest_message(self, shop: Shop) -> None:
        conversation = await shop.direct()
        assert not (await shop.read(conversation, "bob")).moved
        message = await shop.send(conversation)
        assert (await shop.receive(conversation, "bob", message.id + 10)).up_to == message.id
        await shop.send(conversation)
        assert await shop.unread("bob") == {conversation: 2}

    async def test_only_messages_of_others_that_are_there_are_marked(self, shop: Shop) -> None:
        conversation = await shop.direct()
        for _ in range(3):
            deleted = await shop.send(conversation, "alice")
        await shop.delete(deleted)
        assert (await shop.read(conversation, "bob")).marked == 2
        await shop.send(conversation, "bob")
        assert not (await shop.read(conversation, "bob")).moved

    async def test_markers_appended_with_messages_take_effect_in_order(self, shop: Shop) -> None:
        conversation = await shop.direct()
        first = shop.message(conversation, "alice", "1")
        read = shop.marker(conversation, "bob")
        second = shop.message(conversation, "alice", "2")
        own = shop.message(conversation, "bob", "3")
        again = shop.marker(conversation, "bob")
        waiting = [shop.append(unit) for unit in (first, read, second, own, again)]
        taken = [shop.taken(await outcome) for outcome in waiting]
        assert taken[1][0] == Moved(first.message.id, 1, moved=True)
        assert taken[4][0] == Moved(own.message.id, 0, moved=False)
        assert await shop.unread("bob") == {}
        assert await shop.unread("alice") == {conversation: 1}

    async def test_who_is_no_member_has_no_marker(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.send(conversation)
        with pytest.raises(NotFound):
            await shop.read(conversation, "mallory")
        with pytest.raises(NotFound):
            await shop.read("no-such", "bob")

    async def test_sending_marks_what_came_before_as_read(self, shop: Shop) -> None:
        conversation = await shop.direct()
        first = await shop.send(conversation, "alice")
        assert await shop.unread("bob") == {conversation: 1}
        own = await shop.send(conversation, "bob")
        assert await shop.unread("bob") == {}
        assert await shop.unread("alice") == {conversation: 1}
        receipts = await shop.store.messages.receipts(shop.tenant, conversation)
        assert {receipt.user_id: receipt for receipt in receipts} == {
            "alice": Receipt("alice", first.id, first.id),
            "bob": Receipt("bob", own.id, own.id),
        }

    async def test_unread_follows_every_turn_of_a_chat(self, shop: Shop) -> None:
        conversation = await shop.direct()
        for turn in range(12):
            sender, receiver = ("alice", "bob") if turn % 2 else ("bob", "alice")
            await shop.send(conversation, sender)
            await shop.send(conversation, sender)
            assert await shop.unread(receiver) == {conversation: 2}
            assert await shop.unread(sender) == {}
            if turn % 3 == 0:
                await shop.read(conversation, receiver)
                assert await shop.unread(receiver) == {}
            if turn % 4 == 0:
                shop.time.advance(MINUTE_MS)

    async def test_unread_leaves_out_own_and_deleted_messages(self, shop: Shop) -> None:
        conversation = await shop.direct()
        gone = await shop.send(conversation, "alice")
        await shop.send(conversation, "alice")
        await shop.delete(gone)
        assert await shop.unread("bob") == {conversation: 1}
        assert await shop.unread_total("bob") == 1
        assert await shop.unread_total("alice") == 0
        assert (await shop.view("bob", conversation)).unread_count == 1
        assert (await shop.view("alice", conversation)).unread_count == 0

    async def test_counting_stops_at_the_limit(self, shop: Shop) -> None:
        conversation = await shop.direct()
        many = limits.UNREAD_PER_CONVERSATION + 5
        await shop.write(*(shop.message(conversation) for _ in range(many)))
        found = await shop.store.conversations.unread(shop.tenant, "bob", shop.time())
        assert found.by_conversation == {conversation: limits.UNREAD_PER_CONVERSATION}
        assert found.capped
        assert await shop.unread_total("bob") == limits.UNREAD_PER_CONVERSATION
        view = await shop.view("bob", conversation)
        assert view.unread_count == limits.UNREAD_PER_CONVERSATION

    async def test_the_total_leaves_out_archived_and_muted_conversations(self, shop: Shop) -> None:
        names = ("archived", "muted", "loud", "unmuted")
        rooms = {name: await shop.direct("alice", name) for name in names}
        for room in rooms.values():
            await shop.send(room, "alice")
            await shop.add(room, "bob")
        await shop.send(rooms["loud"], "alice")
        await shop.settings(rooms["archived"], "bob", archived=True)
        await shop.settings(rooms["muted"], "bob", muted_until=shop.time() + MINUTE_MS)
        await shop.settings(rooms["unmuted"], "bob", muted_until=shop.time() + 1_000)
        shop.time.advance(2_000)
        found = await shop.store.conversations.unread(shop.tenant, "bob", shop.time())
        assert found.by_conversation == {**dict.fromkeys(rooms.values(), 1), rooms["loud"]: 2}
        assert not found.capped
        assert await shop.unread_total("bob") == 3

    async def test_the_total_is_of_the_newest_conversations(self, shop: Shop) -> None:
        async def write_to_bob(senders: list[str], messages: int) -> None:
            unit: list[Write] = []
            for sender in senders:
                made = shop.direct_write(sender, "bob")
                sent = (shop.message(made.conversation_id, sender) for _ in range(messages))
                unit += (made, *sent)
            await shop.write(*unit)

        await write_to_bob(["early0", "early1", "early2"], messages=2)
        shop.time.advance(MINUTE_MS)
        late = [f"late{number}" for number in range(limits.UNREAD_CONVERSATIONS - 2)]
        for start in range(0, len(late), 100):
            await write_to_bob(late[start : start + 100], messages=1)
        assert await shop.unread_total("bob") == limits.UNREAD_CONVERSATIONS + 2

    async def test_receipts_are_of_all_members(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob", "carol")
        message = await shop.send(group, "alice")
        await shop.receive(group, "carol")
        receipts = await shop.store.messages.receipts(shop.tenant, group)
        assert {receipt.user_id: receipt for receipt in receipts} == {
            "alice": Receipt("alice", message.id, message.id),
            "bob": Receipt("bob", 0, 0),
            "carol": Receipt("carol", 0, message.id),
        }
        assert await shop.store.messages.receipts(shop.tenant, "no-such") == []

    async def test_pages_show_what_all_others_have_read_or_received(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob", "carol")
        sent = [await shop.send(group, "alice") for _ in range(3)]
        await shop.read(group, "bob", sent[1].id)
        await shop.read(group, "carol", sent[0].id)
        await shop.receive(group, "carol", sent[1].id)
        reads = shop.store.messages

        async def statuses(older: int) -> list[str]:
            """Of all messages, `older` of them read backward."""
            bound = sent[older].id if older < len(sent) else MAX_ID
            page = await reads.before(shop.tenant, group, bound, 10)
            page += await reads.after(shop.tenant, group, bound - 1, 10)
            return [message.status for message in page]

        for older in range(len(sent) + 1):
            assert await statuses(older) == ["read", "delivered", "sent"]
        sent.append(await shop.send(group, "carol"))
        for older in range(len(sent) + 1):
            assert await statuses(older) == ["read", "read", "sent", "sent"]
        by_id = await reads.by_id(shop.tenant, [(group, message.id) for message in sent])
        assert {message.status for message in by_id} == {"sent"}

    async def test_crowds_have_no_receipts(self, shop: Shop) -> None:
        crowd = [f"user{n}" for n in range(limits.RECEIPT_MEMBERS)]
        channel = await shop.group("alice", *crowd, kind="channel")
        assert await shop.store.messages.receipts(shop.tenant, channel) == []

    async def test_a_crowd_reads_what_is_broadcast(self, shop: Shop) -> None:
        crowd = [f"user{n}" for n in range(limits.RECEIPT_MEMBERS)]
        channel = await shop.group("alice", *crowd, kind="channel")
        message = await shop.send(channel, "alice", broadcast=True)
        assert (await shop.view("user1", channel)).unread_count == 1
        assert (await shop.read(channel, "user1", public=False)).marked == 1
        assert (await shop.view("user1", channel)).unread_count == 0
        shop.time.advance(MINUTE_MS)
        since = message.id
        after = await shop.send(channel, "alice", "again", broadcast=True)
        assert [each.id for each in (await shop.missed("user2", since)).messages] == [after.id]
        assert id_ms(after.id) - id_ms(since) == MINUTE_MS
