"""Messages: keys, pages, edits, deletions, expiry."""

import asyncio

import pytest

from tradewire.domain.errors import KeyReused, NotFound, TradewireError
from tradewire.domain.ids import MAX_ID
from tradewire.testing.store_contract.shop import Shop

HOUR_MS = 3_600_000


class MessagesContract:
    """Contract of ports.Messages and of the writes of messages."""

    async def test_a_message_is_kept_as_it_was_sent(self, shop: Shop) -> None:
        conversation = await shop.direct()
        metadata = {"a": [1, 2.5, None, {"b": "ü"}], "big": 2**63}
        sent = await shop.send(conversation, "alice", "text \u200d🎉\n", key="k", metadata=metadata)
        [read] = await shop.store.messages.by_id(shop.tenant, [(conversation, sent.id)])
        assert read == sent
        assert read.text == "text \u200d🎉\n"
        assert read.metadata == metadata

    async def test_a_known_key_gives_the_first_message(self, shop: Shop) -> None:
        conversation = await shop.direct()
        first = await shop.write(shop.message(conversation, key="k"))
        again = await shop.write(shop.message(conversation, key="k"))
        assert not first[0].duplicate
        assert again[0].duplicate
        assert again[0].message.message_id == first[0].message.message_id
        assert len(await shop.texts(conversation)) == 1

    async def test_a_key_with_other_content_is_refused(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.send(conversation, text="one", key="k")
        with pytest.raises(KeyReused):
            await shop.send(conversation, text="two", key="k")
        assert await shop.texts(conversation) == ["one"]

    async def test_a_key_is_of_its_sender_and_conversation(self, shop: Shop) -> None:
        first, second = await shop.direct(), await shop.direct("alice", "carol")
        other = shop.of(shop.elsewhere)
        await shop.send(first, "alice", "a", key="k")
        await shop.send(first, "bob", "b", key="k")
        await shop.send(second, "alice", "c", key="k")
        assert await shop.texts(first) == ["a", "b"]
        assert await shop.texts(second) == ["c"]
        foreign = await other.direct()
        await other.send(foreign, "alice", "d", key="k")
        assert await other.texts(foreign) == ["d"]

    async def test_the_same_key_at_once_is_one_message(self, shop: Shop) -> None:
        conversation = await shop.direct()
        waiting = [shop.append(shop.message(conversation, key="k")) for _ in range(5)]
        clash = shop.append(shop.message(conversation, text="other", key="k"))
        outcomes = await asyncio.gather(*waiting)
        stored = [outcome[0] for outcome in outcomes if not isinstance(outcome, TradewireError)]
        assert [each.duplicate for each in stored] == [False, True, True, True, True]
        assert len({each.message.message_id for each in stored}) == 1
        assert isinstance(await clash, KeyReused)

    async def test_a_fresh_key_is_known_afterwards(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.write(shop.message(conversation, key="s:1", fresh=True))
        again = await shop.write(shop.message(conversation, key="s:1"))
        assert again[0].duplicate

    async def test_a_key_lives_for_48_hours(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.send(conversation, key="k")
        shop.time.advance(48 * HOUR_MS - 1_000)
        assert (await shop.write(shop.message(conversation, key="k")))[0].duplicate
        shop.time.advance(2_000)
        assert not (await shop.write(shop.message(conversation, text="new", key="k")))[0].duplicate
        assert (await shop.write(shop.message(conversation, text="new", key="k")))[0].duplicate

    async def test_a_duplicate_reads_as_the_message_is_now(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation, key="k")
        await shop.edit(message, text="edited")
        again = (await shop.write(shop.message(conversation, key="k")))[0]
        assert again.duplicate
        assert again.message.text == "edited"

    async def test_a_message_needs_its_conversation(self, shop: Shop) -> None:
        with pytest.raises(NotFound):
            await shop.send("00000000-0000-4000-8000-000000000000")

    async def test_pages_go_both_ways(self, shop: Shop) -> None:
        conversation = await shop.direct()
        ids = [(await shop.send(conversation, text=str(n))).id for n in range(10)]
        reads = shop.store.messages

        async def before(message_id: int, limit: int) -> list[int]:
            page = await reads.before(shop.tenant, conversation, message_id, limit)
            return [message.id for message in page]

        async def after(message_id: int, limit: int) -> list[int]:
            page = await reads.after(shop.tenant, conversation, message_id, limit)
            return [message.id for message in page]

        assert await before(MAX_ID, 3) == ids[7:]
        assert await before(ids[7], 3) == ids[4:7]
        assert await before(ids[1], 3) == ids[:1]
        assert await before(ids[0], 3) == []
        assert await after(0, 4) == ids[:4]
        assert await after(ids[3], 4) == ids[4:8]
        assert await after(ids[8], 4) == ids[9:]
        assert await after(ids[9], 4) == []
        assert await after(ids[4] - 1, 1) == [ids[4]]
        assert await before(ids[4] + 1, 1) == [ids[4]]

    async def test_a_page_of_no_conversation_is_empty(self, shop: Shop) -> None:
        assert await shop.store.messages.before(shop.tenant, "no-such", MAX_ID, 5) == []
        assert await shop.store.messages.after(shop.tenant, "no-such", 0, 5) == []

    async def test_messages_by_id_come_in_the_order_asked(self, shop: Shop) -> None:
        first, second = await shop.direct(), await shop.direct("alice", "carol")
        one, two = await shop.send(first), await shop.send(second)
        asked = [(second, two.id), (first, 1), (first, one.id), (first, two.id)]
        found = await shop.store.messages.by_id(shop.tenant, asked)
        assert [message.id for message in found] == [two.id, one.id]

    async def test_an_edit_keeps_the_former_text(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation, text="one", metadata={"n": 1})
        edited = await shop.edit(message, text="two")
        await shop.edit(message, text="three", metadata=None)
        assert edited.text == "two"
        assert edited.metadata == {"n": 1}
        assert edited.edited_at is not None
        [read] = await shop.store.messages.by_id(shop.tenant, [(conversation, message.id)])
        assert (read.text, read.metadata) == ("three", None)
        edits = await shop.store.messages.edits(shop.tenant, conversation, message.id)
        assert [(edit.text, edit.metadata) for edit in edits] == [
            ("one", {"n": 1}),
            ("two", {"n": 1}),
        ]

    async def test_a_deleted_message_is_empty_and_stays(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation, text="secret", metadata={"n": 1})
        await shop.edit(message, text="still secret")
        deleted = await shop.delete(message)
        assert deleted.changed
        assert deleted.message.deleted
        assert deleted.message.text is None
        assert not (await shop.delete(message)).changed
        [read] = await shop.store.messages.by_id(shop.tenant, [(conversation, message.id)])
        assert (read.deleted, read.text, read.metadata) == (True, None, None)
        assert await shop.store.messages.edits(shop.tenant, conversation, message.id) == []

    async def test_what_is_not_there_cannot_be_changed(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation)
        await shop.delete(message)
        with pytest.raises(NotFound):
            await shop.edit(message, text="x")
        missing = shop.message(conversation).message
        with pytest.raises(NotFound):
            await shop.edit(missing, text="x")
        with pytest.raises(NotFound):
            await shop.delete(missing)

    async def test_an_expired_message_reads_as_deleted(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation, "alice", "soon gone", expires_in_ms=5_000)
        stays = await shop.send(conversation, "alice", "stays")
        assert await shop.unread("bob") == {conversation: 2}
        shop.time.advance(4_999)
        assert await shop.texts(conversation) == ["soon gone", "stays"]
        assert await shop.store.messages.expired(shop.time(), 10) == []
        assert await shop.unread_total("bob") == 2
        shop.time.advance(1)
        assert await shop.texts(conversation) == [None, "stays"]
        assert await shop.unread("bob") == {conversation: 1}
        assert await shop.unread_total("bob") == 1
        due = (shop.tenant, conversation, message.id)
        assert await shop.store.messages.expired(shop.time(), 10) == [due]
        with pytest.raises(NotFound):
            await shop.edit(message, text="x")
        assert (await shop.delete(message)).changed
        assert await shop.store.messages.expired(shop.time(), 10) == []
        assert (await shop.view("bob", conversation)).last_message == stays

    async def test_expired_messages_come_in_pages(self, shop: Shop) -> None:
        conversation = await shop.direct()
        for _ in range(5):
            await shop.send(conversation, expires_in_ms=1_000)
        shop.time.advance(1_000)
        assert len(await shop.store.messages.expired(shop.time(), 3)) == 3
        assert len(await shop.store.messages.expired(shop.time(), 9)) == 5
