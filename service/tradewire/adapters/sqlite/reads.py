"""The reading ports: each call is a job for the readers."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from tradewire.adapters.sqlite import rows
from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.inbox import read_page, read_views
from tradewire.adapters.sqlite.readers import Readers
from tradewire.adapters.sqlite.resume import read_missed
from tradewire.domain import limits
from tradewire.domain.receipts import Receipt, add_status
from tradewire.domain.types import Conversation, Edit, Member, Message, OrderCard, ProductCard, Role
from tradewire.ports import Access, Block, InboxPage, InboxQuery, Missed, Suspension, Unread

Database = sqlite3.Connection

_encode = msgspec.json.Encoder().encode
_decode_roles = msgspec.json.Decoder(dict[str, Role]).decode
_decode_receipts = msgspec.json.Decoder(list[Receipt]).decode
_decode_edit = msgspec.json.Decoder(Edit).decode
_decode_product = msgspec.json.Decoder(ProductCard).decode
_decode_order = msgspec.json.Decoder(OrderCard).decode


class ConversationReads:
    """See ports.Conversations."""

    def __init__(self, readers: Readers, now_ms: Callable[[], int]) -> None:
        self._read = readers.read
        self._read_apart = readers.read_apart
        self._now_ms = now_ms

    async def access(self, tenant: str, conversation_id: str) -> Access | None:
        def job(database: Database) -> Access | None:
            row = database.execute(sql.ACCESS, (tenant, conversation_id)).fetchone()
            if row is None:
                return None
            conversation = rows.decode_conversation(row[0])
            conversation.member_count = row[1]
            return Access(conversation, _decode_roles(row[2]))

        return await self._read(job)

    async def view(
        self, tenant: str, user_id: str, conversation_id: str, now: int
    ) -> Conversation | None:
        def job(database: Database) -> Conversation | None:
            number = database.execute(sql.NUMBER, (tenant, conversation_id)).fetchone()
            return read_views(database, user_id, [number[0]], now)[0] if number else None

        return await self._read(job)

    async def inbox(self, tenant: str, user_id: str, query: InboxQuery) -> InboxPage:
        return await self._read_apart(lambda database: read_page(database, tenant, user_id, query))

    async def unread(self, tenant: str, user_id: str, now: int) -> Unread:
        return await self._read_apart(lambda database: _unread(database, tenant, user_id, now))

    async def unread_total(self, tenant: str, user_id: str, now: int) -> int:
        asked = {"tenant": tenant, "user_id": user_id, "now": now}

        def job(database: Database) -> int:
            total: int = database.execute(sql.UNREAD_TOTAL, asked).fetchone()[0]
            return total

        return await self._read_apart(job)

    async def members(
        self, tenant: str, conversation_id: str, after: str, limit: int
    ) -> list[Member]:
        page = (tenant, conversation_id, after, limit)
        return await self._read(
            lambda database: rows.decode_members(database.execute(sql.MEMBERS, page).fetchone()[0])
        )

    async def members_named(
        self, tenant: str, conversation_id: str, user_ids: Sequence[str]
    ) -> list[Member]:
        asked = (tenant, conversation_id, _encode(user_ids).decode())
        return await self._read(
            lambda database: rows.decode_members(
                database.execute(sql.MEMBERS_NAMED, asked).fetchone()[0]
            )
        )

    async def showing_product(
        self, tenant: str, product_id: str, after: str, limit: int
    ) -> list[str]:
        page = (tenant, product_id, after, limit)
        return await self._read(
            lambda database: [row[0] for row in database.execute(sql.SHOWING_PRODUCT, page)]
        )

    async def missed(self, tenant: str, user_id: str, after: int, limit: int) -> Missed:
        now = self._now_ms()
        return await self._read_apart(
            lambda database: read_missed(database, tenant, user_id, after, limit, now)
        )


class MessageReads:
    """See ports.Messages."""

    def __init__(self, readers: Readers, now_ms: Callable[[], int]) -> None:
        self._read = readers.read
        self._now_ms = now_ms

    async def by_id(self, tenant: str, ids: Sequence[tuple[str, int]]) -> list[Message]:
        now = self._now_ms()
        return await self._read(lambda database: rows.messages_by_id(database, tenant, ids, now))

    async def before(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        page = await self._page(sql.MESSAGES_BEFORE, tenant, conversation_id, message_id, limit)
        page.reverse()
        return page

    async def after(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        return await self._page(sql.MESSAGES_AFTER, tenant, conversation_id, message_id, limit)

    async def edits(self, tenant: str, conversation_id: str, message_id: int) -> list[Edit]:
        asked = {
            "tenant": tenant,
            "conversation_id": conversation_id,
            "message_id": message_id,
            "now": self._now_ms(),
        }
        return await self._read(
            lambda database: [_decode_edit(body) for (body,) in database.execute(sql.EDITS, asked)]
        )

    async def receipts(self, tenant: str, conversation_id: str) -> list[Receipt]:
        return await self._read(lambda database: _receipts(database, tenant, conversation_id))

    async def expired(self, now: int, limit: int) -> list[tuple[str, str, int]]:
        return await self._read(
            lambda database: database.execute(sql.EXPIRED, (now, limit)).fetchall()
        )

    async def _page(
        self, statement: str, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        asked = (tenant, conversation_id, message_id, limit)
        now = self._now_ms()

        def job(database: Database) -> list[Message]:
            found = database.execute(statement, asked).fetchall()
            page = rows.messages(conversation_id, found, now)
            add_status(page, _receipts(database, tenant, conversation_id))
            return page

        return await self._read(job)


class PeopleReads:
    """See ports.People."""

    def __init__(self, readers: Readers) -> None:
        self._read = readers.read

    async def blocked_by(self, tenant: str, user_id: str) -> list[Block]:
        return await self._read(
            lambda database: [
                Block(*row) for row in database.execute(sql.BLOCKED_BY, (tenant, user_id))
            ]
        )

    async def block_relations(self, tenant: str, user_id: str) -> frozenset[str]:
        user = {"tenant": tenant, "user_id": user_id}
        return await self._read(
            lambda database: frozenset(
                row[0] for row in database.execute(sql.BLOCK_RELATIONS, user)
            )
        )

    async def suspension(self, tenant: str, user_id: str) -> Suspension | None:
        def job(database: Database) -> Suspension | None:
            row = database.execute(sql.SUSPENSION, (tenant, user_id)).fetchone()
            return Suspension(*row) if row else None

        return await self._read(job)

    async def revoked_at(self, tenant: str, user_id: str) -> int | None:
        def job(database: Database) -> int | None:
            row = database.execute(sql.USER_REVOCATION, (tenant, user_id)).fetchone()
            return row[0] if row else None

        return await self._read(job)

    async def token_revoked(self, tenant: str, token_id: str) -> bool:
        found = (tenant, token_id)
        return await self._read(
            lambda database: database.execute(sql.TOKEN_REVOCATION, found).fetchone() is not None
        )

    async def last_seen(self, tenant: str, user_ids: Sequence[str]) -> dict[str, int]:
        asked = (tenant, _encode(user_ids).decode())
        return await self._read(lambda database: dict(database.execute(sql.LAST_SEEN, asked)))


class CatalogueReads:
    """See ports.Catalogue."""

    def __init__(self, readers: Readers) -> None:
        self._read = readers.read

    async def products(self, tenant: str, product_ids: Sequence[str]) -> dict[str, ProductCard]:
        asked = (tenant, _encode(product_ids).decode())
        return await self._read(
            lambda database: {
                product_id: _decode_product(card)
                for product_id, card in database.execute(sql.PRODUCTS, asked)
            }
        )

    async def orders(self, tenant: str, order_ids: Sequence[str]) -> dict[str, OrderCard]:
        asked = (tenant, _encode(order_ids).decode())
        return await self._read(
            lambda database: {
                order_id: _decode_order(card)
                for order_id, card in database.execute(sql.ORDERS, asked)
            }
        )

    async def order_conversation(self, tenant: str, order_id: str) -> str | None:
        def job(database: Database) -> str | None:
            row = database.execute(sql.ORDER, (tenant, order_id)).fetchone()
            return row[0] if row else None

        return await self._read(job)


def _receipts(database: Database, tenant: str, conversation_id: str) -> list[Receipt]:
    asked = (tenant, conversation_id, limits.RECEIPT_MEMBERS)
    return _decode_receipts(database.execute(sql.RECEIPTS, asked).fetchone()[0])


def _unread(database: Database, tenant: str, user_id: str, now: int) -> Unread:
    asked = {"tenant": tenant, "user_id": user_id, "now": now}
    found = [
        row
        for archived in (False, True)
        for row in _with_unread(database.execute(sql.UNREAD, {**asked, "archived": archived}))
    ]
    found.sort(key=lambda row: row[1], reverse=True)
    kept = found[: limits.UNREAD_CONVERSATIONS]
    counts = {conversation_id: count for conversation_id, _, count in kept}
    capped = len(kept) < len(found) or limits.UNREAD_PER_CONVERSATION in counts.values()
    return Unread(counts, capped)


def _with_unread(found: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Those rows that hold unread messages indeed, one more than are told."""
    return islice((row for row in found if row[-1]), limits.UNREAD_CONVERSATIONS + 1)
