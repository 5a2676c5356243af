"""A small marketplace that a contract test plays on one store: it issues ids and writes units."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from msgspec import structs

from tradewire.domain import writes
from tradewire.domain.contexts import direct_conversation
from tradewire.domain.errors import TradewireError
from tradewire.domain.ids import MAX_ID, Clock, id_ms, timestamp
from tradewire.domain.types import (
    ContentType,
    Conversation,
    Member,
    Message,
    Metadata,
    Money,
    OrderCard,
    OrderItem,
    ProductCard,
    Role,
    StatusChange,
)
from tradewire.ports import InboxQuery, Missed, Store
from tradewire.testing.clock import ManualClock

DEADLINE_S = 20.0


class Shop:
    """One tenant of a store.

    Attributes:
        elsewhere: the name of another tenant.
        time: move it to let keys, slots or messages grow old.
    """

    def __init__(self, store: Store, time: ManualClock, tenant: str = "t1") -> None:
        self.store = store
        self.time = time
        self.tenant = tenant
        self.elsewhere = f"{tenant}-elsewhere"
        self.ids = Clock(time)

    def on(self, store: Store) -> "Shop":
        """The same tenant on another store, with ids of its own."""
        return Shop(store, self.time, self.tenant)

    def of(self, tenant: str) -> "Shop":
        """The same store and ids, another tenant."""
        other = Shop(self.store, self.time, tenant)
        other.ids = self.ids
        return other

    def append(
        self, *unit: writes.Write, handles: tuple[str, str] | None = None
    ) -> "asyncio.Future[Sequence[Any] | TradewireError]":
        """Append a unit; what became of it."""
        outcome: asyncio.Future[Sequence[Any] | TradewireError] = (
            asyncio.get_running_loop().create_future()
        )
        self.store.journal.append(writes.Unit(unit, handles), outcome.set_result)
        return outcome

    async def write(
        self, *unit: writes.Write, handles: tuple[str, str] | None = None
    ) -> Sequence[Any]:
        """Append a unit and wait for its results. Raises what it was refused with."""
        return self.taken(await asyncio.wait_for(self.append(*unit, handles=handles), DEADLINE_S))

    def taken(self, outcome: Sequence[Any] | TradewireError) -> Sequence[Any]:
        """The results of a unit. Raises what it was refused with."""
        if isinstance(outcome, TradewireError):
            raise outcome
        return outcome

    def direct_write(
        self, first: str, second: str, *, listing_id: str | None = None, **context: Any
    ) -> writes.CreateConversation:
        """The making of a direct conversation."""
        change_id = self.ids.next_id()
        conversation, members = direct_conversation(
            self.tenant,
            change_id,
            first,
            second,
            created_by=first,
            listing_id=listing_id,
            **context,
        )
        return writes.CreateConversation(
            tenant=self.tenant,
            conversation_id=conversation.conversation_id,
            change_id=change_id,
            conversation=conversation,
            members=members,
            shown_to=first,
        )

    async def direct(self, first: str = "alice", second: str = "bob", **context: Any) -> str:
        """Make a direct conversation; its id."""
        write = self.direct_write(first, second, **context)
        await self.write(write)
        return write.conversation_id

    async def group(self, owner: str, *others: str, kind: str = "group") -> str:
        """Make a group or channel; its id."""
        change_id = self.ids.next_id()
        at = timestamp(id_ms(change_id))
        members = [Member(user_id=owner, role="owner", joined_at=at)]
        members += [Member(user_id=user, role="member", joined_at=at) for user in others]
        conversation = Conversation(
            conversation_id=str(uuid4()),
            kind=kind,  # type: ignore[arg-type]  # "group" or "channel"
            status="open",
            created_at=at,
            created_by=owner,
            title="Round table",
            members=members[:50],
            member_count=len(members),
        )
        await self.write(
            writes.CreateConversation(
                tenant=self.tenant,
                conversation_id=conversation.conversation_id,
                change_id=change_id,
                conversation=conversation,
                members=tuple(members),
                shown_to=owner,
            )
        )
        return conversation.conversation_id

    def message(
        self,
        conversation_id: str,
        sender: str = "alice",
        text: str | None = "hello",
        *,
        key: str | None = None,
        content_type: ContentType = "text",
        metadata: Metadata | None = None,
        expires_in_ms: int | None = None,
        content_hash: bytes | None = None,
        fresh: bool = False,
        broadcast: bool = False,
    ) -> writes.NewMessage:
        """A new message, with an id issued now."""
        message_id = self.ids.next_id()
        sent = id_ms(message_id)
        return writes.NewMessage(
            tenant=self.tenant,
            conversation_id=conversation_id,
            message_id=message_id,
            message=Message(
                message_id=str(message_id),
                conversation_id=conversation_id,
                sender_id=sender,
                content_type=content_type,
                created_at=timestamp(sent),
                status="sent",
                text=text,
                key=key,
                metadata=metadata,
                expires_at=None if expires_in_ms is None else timestamp(sent + expires_in_ms),
            ),
            content_hash=(text or "").encode() if content_hash is None else content_hash,
            fresh=fresh,
            broadcast=broadcast,
        )

    async def send(
        self, conversation_id: str, sender: str = "alice", *args: Any, **fields: Any
    ) -> Message:
        """Send a message; as it was stored."""
        stored = (await self.write(self.message(conversation_id, sender, *args, **fields)))[0]
        message: Message = stored.message
        return structs.replace(message)

    def marker(
        self,
        conversation_id: str,
        user: str,
        up_to: int = MAX_ID,
        *,
        read: bool = True,
        public: bool = True,
    ) -> writes.MoveMarker:
        """The move of a marker."""
        return writes.MoveMarker(
            tenant=self.tenant,
            conversation_id=conversation_id,
            user_id=user,
            read=read,
            up_to=up_to,
            change_id=self.ids.next_id(),
            public=public,
        )

    async def read(
        self, conversation_id: str, user: str, up_to: int = MAX_ID, *, public: bool = True
    ) -> writes.Moved:
        """Move a user's read marker."""
        return await self._mark(conversation_id, user, up_to, public, read=True)

    async def receive(
        self, conversation_id: str, user: str, up_to: int = MAX_ID, *, public: bool = True
    ) -> writes.Moved:
        """Move a user's delivered marker."""
        return await self._mark(conversation_id, user, up_to, public, read=False)

    async def edit(self, message: Message, **content: Any) -> Message:
        """Edit a message."""
        write = writes.EditMessage(
            tenant=self.tenant,
            conversation_id=message.conversation_id,
            message_id=message.id,
            change_id=self.ids.next_id(),
            **content,
        )
        edited: Message = (await self.write(write))[0]
        return edited

    async def delete(self, message: Message) -> writes.Deleted:
        """Delete a message."""
        write = writes.DeleteMessage(
            tenant=self.tenant,
            conversation_id=message.conversation_id,
            message_id=message.id,
            change_id=self.ids.next_id(),
            deleted_by=message.sender_id,
        )
        deleted: writes.Deleted = (await self.write(write))[0]
        return deleted

    async def settings(self, conversation_id: str, user: str, **settings: Any) -> None:
        """Change a user's own settings."""
        await self.write(
            writes.SetOwnSettings(
                tenant=self.tenant,
                conversation_id=conversation_id,
                user_id=user,
                change_id=self.ids.next_id(),
                **settings,
            )
        )

    async def add(self, conversation_id: str, user: str, role: Role = "member") -> bool:
        """Add a member."""
        change_id = self.ids.next_id()
        member = Member(user_id=user, role=role, joined_at=timestamp(id_ms(change_id)))
        write = writes.AddMember(
            tenant=self.tenant,
            conversation_id=conversation_id,
            change_id=change_id,
            member=member,
        )
        return bool((await self.write(write))[0])

    async def remove(self, conversation_id: str, user: str) -> Role | None:
        """Remove a member; the role it had."""
        write = writes.RemoveMember(
            tenant=self.tenant,
            conversation_id=conversation_id,
            change_id=self.ids.next_id(),
            user_id=user,
        )
        role: Role | None = (await self.write(write))[0]
        return role

    async def delete_conversation(self, conversation_id: str) -> list[str]:
        """Delete a conversation for everyone; its members."""
        write = writes.DeleteConversation(
            tenant=self.tenant, conversation_id=conversation_id, change_id=self.ids.next_id()
        )
        return sorted((await self.write(write))[0])

    async def block(self, user: str, other: str, *, blocked: bool = True) -> bool:
        """Block a user, or take it back."""
        write = writes.SetBlock(
            tenant=self.tenant,
            change_id=self.ids.next_id(),
            user_id=user,
            blocked_id=other,
            blocked=blocked,
        )
        return bool((await self.write(write))[0])

    async def inbox(self, user: str, *, limit: int = 20, **query: Any) -> list[str]:
        """The ids of a page of an inbox."""
        page = await self.store.conversations.inbox(
            self.tenant, user, InboxQuery(limit=limit, now=self.time(), **query)
        )
        return [conversation.conversation_id for conversation in page.conversations]

    async def whole_inbox(self, user: str, *, limit: int, **query: Any) -> list[str]:
        """The ids of all pages of an inbox, followed by their cursors."""
        found: list[str] = []
        cursor = None
        while True:
            page = await self.store.conversations.inbox(
                self.tenant,
                user,
                InboxQuery(limit=limit, now=self.time(), cursor=cursor, **query),
            )
            found += [conversation.conversation_id for conversation in page.conversations]
            cursor = page.cursor
            if cursor is None:
                return found

    async def view(self, user: str, conversation_id: str) -> Conversation:
        """A conversation that is there."""
        view = await self.store.conversations.view(self.tenant, user, conversation_id, self.time())
        assert view is not None
        return view

    async def unread(self, user: str) -> dict[str, int]:
        """Unread messages by conversation."""
        found = await self.store.conversations.unread(self.tenant, user, self.time())
        return found.by_conversation

    async def unread_total(self, user: str) -> int:
        """Unread messages in all conversations that are neither archived nor muted."""
        return await self.store.conversations.unread_total(self.tenant, user, self.time())

    async def member(self, conversation_id: str, user: str) -> Member | None:
        """One member."""
        reads = self.store.conversations
        found = await reads.members_named(self.tenant, conversation_id, [user])
        return found[0] if found else None

    async def missed(self, user: str, after: int, limit: int = 100) -> Missed:
        """What a user missed."""
        return await self.store.conversations.missed(self.tenant, user, after, limit)

    async def texts(self, conversation_id: str) -> list[str | None]:
        """The texts of a conversation, oldest first."""
        found = await self.store.messages.after(self.tenant, conversation_id, 0, 1_000)
        return [message.text for message in found]

    def order(self, order_id: str = "o1") -> OrderCard:
        """An order of alice's at bob's."""
        price = Money(1250, "EUR")
        return OrderCard(
            order_id=order_id,
            buyer_id="alice",
            seller_id="bob",
            items=[OrderItem(product_id="p1", title="Lamp", quantity=1, unit_price=price)],
            total=price,
            status="placed",
            created_at="2026-01-01T00:00:00.000Z",
            history=[StatusChange("placed", "2026-01-01T00:00:00.000Z")],
        )

    def product(self, version: int, product_id: str = "p1") -> ProductCard:
        """A version of a product of bob's."""
        return ProductCard(
            product_id=product_id,
            seller_id="bob",
            title=f"Lamp {version}",
            price=Money("12.50", "EUR"),
            status="active",
            version=version,
        )

    async def _mark(
        self, conversation_id: str, user: str, up_to: int, public: bool, *, read: bool
    ) -> writes.Moved:
        write = self.marker(conversation_id, user, up_to, read=read, public=public)
        moved: writes.Moved = (await self.write(write))[0]
        return moved
