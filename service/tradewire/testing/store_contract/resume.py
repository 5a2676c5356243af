"""What a user missed."""

from tradewire.domain import writes
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.ports import Missed
from tradewire.testing.store_contract.shop import Shop

SLOT_MS = 1 << 14


def told(missed: Missed) -> list[tuple[str, str, str]]:
    """Kind, subject and detail of the changes."""
    return [(change.kind, change.subject, change.detail) for change in missed.changes]


class ResumeContract:
    """Contract of ports.Conversations.missed."""

    async def test_messages_and_changes_after_an_id(self, shop: Shop) -> None:
        conversation = await shop.direct()
        first = await shop.send(conversation, text="one")
        assert told(await shop.missed("bob", 0)) == [("ConversationCreated", "", "")]
        second = await shop.send(conversation, text="two")
        edited = await shop.edit(first, text="one!")
        deleted = await shop.delete(second)
        missed = await shop.missed("bob", first.id)
        assert missed.messages == [deleted.message]
        assert told(missed) == [
            ("MessageEdited", first.message_id, ""),
            ("MessageDeleted", second.message_id, ""),
        ]
        assert {change.conversation_id for change in missed.changes} == {conversation}
        assert not missed.truncated
        ids = [change.change_id for change in missed.changes]
        assert ids == sorted(ids)
        assert (await shop.missed("bob", ids[-1])).changes == []
        assert (await shop.missed("mallory", 0)) == Missed([], [], False)
        assert edited.text == "one!"

    async def test_of_several_changes_the_last_is_told(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation)
        for text in ("a", "b", "c"):
            await shop.edit(message, text=text)
        missed = await shop.missed("bob", message.id)
        assert told(missed) == [("MessageEdited", message.message_id, "")]
        assert missed.changes[0].change_id == await shop.store.journal.newest_id()

    async def test_all_conversations_in_the_order_of_ids(self, shop: Shop) -> None:
        rooms = [await shop.direct("alice", f"u{n}") for n in range(7)]
        since = await shop.store.journal.newest_id()
        sent = []
        for step in range(40):
            sent.append((await shop.send(rooms[(step * 3) % 7], "alice")).id)
            if step % 6 == 0:
                shop.time.advance(SLOT_MS // 2)
        missed = await shop.missed("alice", since)
        assert [message.id for message in missed.messages] == sent
        half = await shop.missed("alice", sent[19])
        assert [message.id for message in half.messages] == sent[20:]

    async def test_more_than_the_limit_is_truncated(self, shop: Shop) -> None:
        rooms = [await shop.direct("alice", f"u{n}") for n in range(5)]
        since = await shop.store.journal.newest_id()
        sent = [(await shop.send(rooms[step % 5], "alice")).id for step in range(20)]
        whole = await shop.missed("alice", since, limit=20)
        assert not whole.truncated
        part = await shop.missed("alice", since, limit=13)
        assert part.truncated
        assert [message.id for message in part.messages] == sent[:13]
        first = await shop.missed("alice", since, limit=2)
        assert [message.id for message in first.messages] == sent[:2]
        assert first.truncated

    async def test_members_roles_and_conversations(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob")
        since = await shop.store.journal.newest_id()
        await shop.add(group, "carol")
        await shop.write(
            writes.SetRole(
                tenant=shop.tenant,
                conversation_id=group,
                change_id=shop.ids.next_id(),
                user_id="carol",
                role="admin",
            ),
            writes.ReviseConversation(
                tenant=shop.tenant,
                conversation_id=group,
                change_id=shop.ids.next_id(),
                title="Other",
            ),
        )
        expected = [
            ("MemberAdded", "carol", ""),
            ("MemberRoleChanged", "carol", ""),
            ("ConversationUpdated", "", ""),
        ]
        assert told(await shop.missed("bob", since)) == expected
        assert told(await shop.missed("carol", since)) == expected

    async def test_a_removed_member_hears_of_that_alone(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob", "carol")
        since = await shop.store.journal.newest_id()
        await shop.remove(group, "bob")
        await shop.send(group, "alice", "without bob")
        gone = await shop.missed("bob", since)
        assert gone.messages == []
        assert told(gone) == [("MemberRemoved", "bob", "")]
        stays = await shop.missed("carol", since)
        assert told(stays) == [("MemberRemoved", "bob", "")]
        assert len(stays.messages) == 1

    async def test_a_deleted_conversation_is_heard_of_by_all(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.send(conversation)
        since = await shop.store.journal.newest_id()
        await shop.delete_conversation(conversation)
        for user in ("alice", "bob"):
            missed = await shop.missed(user, since)
            assert told(missed) == [("ConversationDeleted", "", "")]
            assert missed.changes[0].conversation_id == conversation

    async def test_own_settings_and_blocks_are_ones_own(self, shop: Shop) -> None:
        conversation = await shop.direct()
        since = await shop.store.journal.newest_id()
        await shop.settings(conversation, "alice", pinned=True)
        await shop.settings(conversation, "alice", hidden=True)
        await shop.block("alice", "bob")
        assert told(await shop.missed("alice", since)) == [
            ("ConversationUpdated", "", ""),
            ("ConversationDeleted", "", ""),
            ("UserBlocked", "bob", "1"),
        ]
        assert told(await shop.missed("bob", since)) == []

    async def test_receipts_are_told_to_all(self, shop: Shop) -> None:
        conversation = await shop.direct()
        message = await shop.send(conversation)
        await shop.receive(conversation, "bob")
        since = await shop.store.journal.newest_id()
        shop.time.advance(SLOT_MS)
        await shop.read(conversation, "bob")
        expected = [("MessageRead", "bob", message.message_id)]
        for user in ("alice", "bob"):
            assert told(await shop.missed(user, since)) == expected
        whole = [("MessageDelivered", "bob", message.message_id), *expected]
        assert told(await shop.missed("alice", message.id)) == whole

    async def test_a_private_receipt_is_told_to_its_owner(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob")
        message = await shop.send(group)
        await shop.read(group, "bob", public=False)
        assert told(await shop.missed("alice", message.id)) == []
        own = [("MessageRead", "bob", message.message_id)]
        assert told(await shop.missed("bob", message.id)) == own
        assert "MessageRead" not in [e.type for e in await shop.store.journal.events(0, 10)]

    async def test_a_crowd_hears_messages_and_changes(self, shop: Shop) -> None:
        crowd = [f"user{n}" for n in range(RECEIPT_MEMBERS)]
        channel = await shop.group("alice", *crowd[:-1], kind="channel")
        shop.time.advance(SLOT_MS)
        await shop.send(channel, "alice", "small yet")
        await shop.add(channel, crowd[-1])
        for step in range(3):
            shop.time.advance(SLOT_MS)
            since = await shop.store.journal.newest_id()
            message = await shop.send(channel, "alice", str(step), broadcast=True)
            await shop.edit(message, text="edited")
            await shop.read(channel, "user3", public=False)
            missed = await shop.missed("user7", since)
            assert [each.text for each in missed.messages] == ["edited"]
            assert told(missed) == [("MessageEdited", message.message_id, "")]
            own = await shop.missed("user3", since)
            assert ("MessageRead", "user3", message.message_id) in told(own)
        assert (await shop.missed(crowd[-1], since)).messages != []
