"""The reading ports: which statements they run stands in the modules that they hand on to."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.expiry import Expiry
from tradewire.adapters.scylla.history import History, both
from tradewire.adapters.scylla.inbox import Inbox
from tradewire.adapters.scylla.loads import order_card, stored_message
from tradewire.adapters.scylla.memberships import members_of, parts_of
from tradewire.adapters.scylla.resume import ResumeReads
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.adapters.scylla.unread import UnreadReads
from tradewire.adapters.scylla.views import Views
from tradewire.domain import rules
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.domain.receipts import Receipt, add_status
from tradewire.domain.types import Conversation, Edit, Member, Message, OrderCard, ProductCard
from tradewire.ports import Access, Block, InboxPage, InboxQuery, Missed, Suspension, Unread

CHUNK = 1_000
"""Rows read at a time where an unknown number of them is left out."""

_decode_edit = msgspec.json.Decoder(Edit).decode
_decode_product = msgspec.json.Decoder(ProductCard).decode


class ConversationReads:
    """See ports.Conversations."""

    def __init__(self, engine: Engine, rooms: Rooms, now_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._rooms = rooms
        history = History(engine)
        self._unread = UnreadReads(engine, rooms, history)
        self._views = Views(engine, rooms, history, self._unread)
        self._inbox = Inbox(engine, rooms, history, self._unread, self._views)
        self._resume = ResumeReads(engine, rooms, history, now_ms)

    async def access(self, tenant: str, conversation_id: str) -> Access | None:
        room = await self._rooms.read(tenant, conversation_id)
        return None if room is None else Access(room.conversation(), room.roles)

    async def view(
        self, tenant: str, user_id: str, conversation_id: str, now: int
    ) -> Conversation | None:
        return await self._views.view(tenant, user_id, conversation_id, now)

    async def inbox(self, tenant: str, user_id: str, query: InboxQuery) -> InboxPage:
        return await self._inbox.page(tenant, user_id, query)

    async def unread(self, tenant: str, user_id: str, now: int) -> Unread:
        return await self._unread.read(tenant, user_id, now)

    async def unread_total(self, tenant: str, user_id: str, now: int) -> int:
        return await self._unread.total(tenant, user_id, now)

    async def members(
        self, tenant: str, conversation_id: str, after: str, limit: int
    ) -> list[Member]:
        room = await self._rooms.get(tenant, conversation_id)
        found: list[Member] = []
        size = limit
        while room is not None and len(found) < limit:
            rows = await self._engine.rows("MEMBERS_AFTER", tenant, conversation_id, after, size)
            found += [each.member() for each in members_of(rows, room.deleted_at)]
            if len(rows) < size:
                break
            # Those who left keep their rows.
            after, size = rows[-1][0], CHUNK
        return found[:limit]

    async def members_named(
        self, tenant: str, conversation_id: str, user_ids: Sequence[str]
    ) -> list[Member]:
        reads = [
            self._engine.rows("MEMBERS_OF", tenant, conversation_id, part)
            for part in parts_of(user_ids)
        ]
        room, found = await both(self._rooms.get(tenant, conversation_id), all_of(reads))
        if room is None:
            return []
        return [each.member() for rows in found for each in members_of(rows, room.deleted_at)]

    async def showing_product(
        self, tenant: str, product_id: str, after: str, limit: int
    ) -> list[str]:
        found: list[str] = []
        while len(found) < limit:
            rows = await self._engine.rows("SHOWING_PRODUCT", tenant, product_id, after, limit)
            ids = [row[0] for row in rows]
            # Conversations that were deleted keep their rows.
            rooms = await all_of([self._rooms.get(tenant, each) for each in ids])
            found += [each for each, room in zip(ids, rooms, strict=True) if room is not None]
            if len(rows) < limit:
                break
            after = ids[-1]
        return found[:limit]

    async def missed(self, tenant: str, user_id: str, after: int, limit: int) -> Missed:
        return await self._resume.missed(tenant, user_id, after, limit)


class MessageReads:
    """See ports.Messages."""

    def __init__(self, engine: Engine, rooms: Rooms, now_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._rooms = rooms
        self._now_ms = now_ms
        self._history = History(engine)
        self._expiry = Expiry(engine, rooms)

    async def by_id(self, tenant: str, ids: Sequence[tuple[str, int]]) -> list[Message]:
        found = await all_of([self._message(tenant, *each) for each in ids])
        return [message for message in found if message is not None]

    async def before(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        page = await self._page(tenant, conversation_id, message_id, limit, descending=True)
        page.reverse()
        return page

    async def after(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        return await self._page(tenant, conversation_id, message_id, limit, descending=False)

    async def edits(self, tenant: str, conversation_id: str, message_id: int) -> list[Edit]:
        room = await self._rooms.get(tenant, conversation_id)
        if room is None:
            return []
        place = (tenant, conversation_id, room.bucket(message_id), message_id)
        written, rows = await both(
            stored_message(self._engine, room, message_id), self._engine.rows("EDITS", *place)
        )
        if written is None or rules.as_of(written.message, self._now_ms()).deleted:
            return []
        return [_decode_edit(body) for (body,) in rows]

    async def receipts(self, tenant: str, conversation_id: str) -> list[Receipt]:
        room = await self._rooms.get(tenant, conversation_id)
        return [] if room is None else await self._receipts(room)

    async def expired(self, now: int, limit: int) -> list[tuple[str, str, int]]:
        return await self._expiry.expired(now, limit)

    async def _page(
        self, tenant: str, conversation_id: str, bound: int, limit: int, *, descending: bool
    ) -> list[Message]:
        room = await self._rooms.get(tenant, conversation_id)
        if room is None or limit <= 0:
            return []
        found, receipts = await both(
            self._history.page(room, bound, limit, descending=descending), self._receipts(room)
        )
        now = self._now_ms()
        # Others may have been given the same ones.
        page = [rules.as_of(structs.replace(message), now) for message in found]
        add_status(page, receipts)
        return page

    async def _receipts(self, room: Room) -> list[Receipt]:
        if len(room.roles) > RECEIPT_MEMBERS:
            return []
        rows = await self._engine.rows("MEMBERS", room.tenant, room.conversation_id)
        receipts = [each.receipt() for each in members_of(rows, room.deleted_at)]
        return receipts if len(receipts) <= RECEIPT_MEMBERS else []

    async def _message(self, tenant: str, conversation_id: str, message_id: int) -> Message | None:
        room = await self._rooms.get(tenant, conversation_id)
        if room is None:
            return None
        written = await stored_message(self._engine, room, message_id)
        return None if written is None else rules.as_of(written.message, self._now_ms())


class PeopleReads:
    """See ports.People."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def blocked_by(self, tenant: str, user_id: str) -> list[Block]:
        rows = await self._engine.rows("BLOCKS", tenant, user_id)
        return [Block(blocked, since) for blocked, since in rows if since]

    async def block_relations(self, tenant: str, user_id: str) -> frozenset[str]:
        blocks, blockers = await both(
            self._engine.rows("BLOCKS", tenant, user_id),
            self._engine.rows("BLOCKERS", tenant, user_id),
        )
        return frozenset(user for user, since in (*blocks, *blockers) if since)

    async def suspension(self, tenant: str, user_id: str) -> Suspension | None:
        row = await self._engine.row("SUSPENSION", tenant, user_id)
        if row is None or not row[0]:
            return None
        _, until, reason = row
        return Suspension(until, reason)

    async def revoked_at(self, tenant: str, user_id: str) -> int | None:
        row = await self._engine.row("USER_REVOCATION", tenant, user_id)
        return None if row is None else row[0]

    async def token_revoked(self, tenant: str, token_id: str) -> bool:
        return await self._engine.row("TOKEN_REVOCATION", tenant, token_id) is not None

    async def last_seen(self, tenant: str, user_ids: Sequence[str]) -> dict[str, int]:
        users = list(dict.fromkeys(user_ids))
        rows = await all_of([self._engine.row("LAST_SEEN", tenant, user) for user in users])
        seen = zip(users, rows, strict=True)
        return {user: row[0] for user, row in seen if row is not None and row[0] is not None}


class CatalogueReads:
    """See ports.Catalogue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def products(self, tenant: str, product_ids: Sequence[str]) -> dict[str, ProductCard]:
        ids = list(dict.fromkeys(product_ids))
        rows = await all_of([self._engine.row("PRODUCT", tenant, each) for each in ids])
        known = zip(ids, rows, strict=True)
        return {each: _decode_product(row[1]) for each, row in known if row and row[1] is not None}

    async def orders(self, tenant: str, order_ids: Sequence[str]) -> dict[str, OrderCard]:
        ids = list(dict.fromkeys(order_ids))
        rows = await all_of([self._engine.row("ORDER", tenant, each) for each in ids])
        known = zip(ids, rows, strict=True)
        return {
            each: order_card(row[1], row[2]) for each, row in known if row and row[1] is not None
        }

    async def order_conversation(self, tenant: str, order_id: str) -> str | None:
        row = await self._engine.row("ORDER", tenant, order_id)
        return None if row is None else row[0]
