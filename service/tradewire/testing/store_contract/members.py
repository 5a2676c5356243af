"""Conversations themselves and who is in them; tenants apart."""

import pytest

from tradewire.domain import writes
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import MAX_ID
from tradewire.domain.limits import MEMBERS_SHOWN
from tradewire.testing.store_contract.shop import Shop


class MembersContract:
    """Contract of the writes of conversations and members, and of their reads."""

    async def test_a_conversation_is_made_once(self, shop: Shop) -> None:
        first = (await shop.write(shop.direct_write("alice", "bob")))[0]
        again = shop.direct_write("bob", "alice")
        assert first == "created"
        assert (await shop.write(again))[0] == "known"
        access = await shop.store.conversations.access(shop.tenant, again.conversation_id)
        assert access is not None
        assert access.conversation.created_by == "alice"
        assert access.conversation.kind == "direct"
        assert access.roles == {"alice": "member", "bob": "member"}
        assert access.conversation.member_count == 2
        assert await shop.store.conversations.access(shop.tenant, "no-such") is None

    async def test_a_revision_changes_what_is_given(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob")

        async def revise(**given: object) -> None:
            await shop.write(
                writes.ReviseConversation(
                    tenant=shop.tenant,
                    conversation_id=group,
                    change_id=shop.ids.next_id(),
                    **given,  # type: ignore[arg-type]
                )
            )

        await revise(title="New", metadata={"a": 2**60})
        await revise(status="closed")
        view = await shop.view("alice", group)
        assert (view.title, view.metadata, view.status) == ("New", {"a": 2**60}, "closed")
        await revise(metadata=None, status="open")
        view = await shop.view("alice", group)
        assert (view.title, view.metadata, view.status) == ("New", None, "open")
        assert view.member_count == 2

    async def test_a_revision_needs_the_conversation(self, shop: Shop) -> None:
        with pytest.raises(NotFound):
            await shop.write(
                writes.ReviseConversation(
                    tenant=shop.tenant,
                    conversation_id="no-such",
                    change_id=shop.ids.next_id(),
                    title="x",
                )
            )

    async def test_members_come_and_go(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob")
        await shop.send(group, "alice")
        assert await shop.add(group, "carol", "moderator")
        assert not await shop.add(group, "carol")
        assert await shop.inbox("carol") == [group]
        assert await shop.remove(group, "bob") == "member"
        assert await shop.remove(group, "bob") is None
        assert await shop.remove("no-such", "bob") is None
        access = await shop.store.conversations.access(shop.tenant, group)
        assert access is not None
        assert access.roles == {"alice": "owner", "carol": "moderator"}
        assert access.conversation.member_count == 2
        assert await shop.inbox("bob") == []
        assert await shop.member(group, "bob") is None
        with pytest.raises(NotFound):
            await shop.add("no-such", "dave")

    async def test_roles(self, shop: Shop) -> None:
        group = await shop.group("alice", "bob")

        async def set_role(user: str, conversation: str = group) -> bool:
            write = writes.SetRole(
                tenant=shop.tenant,
                conversation_id=conversation,
                change_id=shop.ids.next_id(),
                user_id=user,
                role="admin",
            )
            return bool((await shop.write(write))[0])

        assert await set_role("bob")
        assert not await set_role("mallory")
        assert not await set_role("bob", "no-such")
        bob = await shop.member(group, "bob")
        assert bob is not None
        assert bob.role == "admin"

    async def test_some_members_are_read_by_name(self, shop: Shop) -> None:
        users = [f"u{number:03}" for number in range(250)]
        group = await shop.group("alice", *users)
        await shop.remove(group, "u007")
        reads = shop.store.conversations
        found = await reads.members_named(shop.tenant, group, ["alice", "mallory", *users])
        assert sorted(member.user_id for member in found) == ["alice", *users[:7], *users[8:]]
        assert {member.user_id: member.role for member in found}["alice"] == "owner"
        assert await reads.members_named(shop.tenant, group, []) == []
        assert await reads.members_named(shop.tenant, "no-such", ["alice"]) == []

    async def test_members_are_read_in_pages_by_user_id(self, shop: Shop) -> None:
        users = [f"u{number:03}" for number in range(60)]
        group = await shop.group("zoe", *users[::-1])
        page = await shop.store.conversations.members(shop.tenant, group, "u009", 3)
        assert [member.user_id for member in page] == ["u010", "u011", "u012"]
        rest = await shop.store.conversations.members(shop.tenant, group, "u058", 10)
        assert [member.user_id for member in rest] == ["u059", "zoe"]
        assert await shop.store.conversations.members(shop.tenant, "no-such", "", 10) == []
        shop.time.advance(1_000)
        await shop.add(group, "a-late-one")
        view = await shop.view("zoe", group)
        assert view.member_count == 62
        shown = [member.user_id for member in view.members or ()]
        assert len(shown) == MEMBERS_SHOWN
        assert "a-late-one" not in shown

    async def test_a_deleted_conversation_is_gone(self, shop: Shop) -> None:
        conversation = await shop.direct(product_id="p1")
        message = await shop.send(conversation, "alice", "old", key="k")
        await shop.edit(message, text="older")
        assert await shop.delete_conversation(conversation) == ["alice", "bob"]
        assert await shop.delete_conversation(conversation) == []
        reads = shop.store.messages
        assert await reads.by_id(shop.tenant, [(conversation, message.id)]) == []
        assert await reads.before(shop.tenant, conversation, MAX_ID, 5) == []
        assert await reads.edits(shop.tenant, conversation, message.id) == []
        assert await reads.receipts(shop.tenant, conversation) == []
        assert await shop.inbox("alice") == []
        assert await shop.unread("bob") == {}
        assert await shop.store.conversations.access(shop.tenant, conversation) is None
        assert await shop.store.conversations.showing_product(shop.tenant, "p1", "", 5) == []
        with pytest.raises(NotFound):
            await shop.send(conversation)
        with pytest.raises(NotFound):
            await shop.edit(message, text="x")

    async def test_a_conversation_made_again_begins_empty(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await shop.send(conversation, "alice", "old", key="k")
        await shop.delete_conversation(conversation)
        assert await shop.direct() == conversation
        assert await shop.texts(conversation) == []
        new = await shop.write(shop.message(conversation, text="new", key="k"))
        assert not new[0].duplicate
        assert await shop.texts(conversation) == ["new"]
        assert await shop.unread("bob") == {conversation: 1}

    async def test_tenants_are_apart(self, shop: Shop) -> None:
        """The same ids of users, products and orders in two tenants; a foreign id finds nothing."""
        other = shop.of(shop.elsewhere)
        group = await shop.group("alice", "bob")
        message = await shop.send(group, "alice", key="k")
        await shop.edit(message, text="edited")
        conversations, messages = shop.store.conversations, shop.store.messages
        assert await conversations.access(shop.elsewhere, group) is None
        assert await conversations.view(shop.elsewhere, "alice", group, shop.time()) is None
        assert await conversations.members(shop.elsewhere, group, "", 10) == []
        assert await other.member(group, "alice") is None
        assert await messages.by_id(shop.elsewhere, [(group, message.id)]) == []
        assert await messages.before(shop.elsewhere, group, MAX_ID, 5) == []
        assert await messages.after(shop.elsewhere, group, 0, 5) == []
        assert await messages.edits(shop.elsewhere, group, message.id) == []
        assert await messages.receipts(shop.elsewhere, group) == []
        assert await other.inbox("alice") == []
        assert await other.unread("bob") == {}
        assert (await other.missed("bob", 0)).messages == []
        for foreign in (other.send(group), other.edit(message, text="x"), other.delete(message)):
            with pytest.raises(NotFound):
                await foreign
        with pytest.raises(NotFound):
            await other.read(group, "bob")
        with pytest.raises(NotFound):
            await other.add(group, "eve")
        with pytest.raises(NotFound):
            await other.settings(group, "alice", pinned=True)
        assert await other.remove(group, "bob") is None
        assert await other.delete_conversation(group) == []
        assert await shop.texts(group) == ["edited"]
