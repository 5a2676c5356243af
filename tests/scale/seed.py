"""Fills a keyspace with much that one user has, past the journal, many rows at once."""

from collections.abc import Iterable, Iterator

from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.layout import bucket_of, period_of, slot_of
from tradewire.domain.ids import id_at, id_ms, timestamp
from tradewire.domain.packing import pack_message
from tradewire.domain.types import Message

SELLER = "seller"
ROWS_AT_ONCE = 4_000


def conversation_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


async def seed_conversations(
    engine: Engine, tenant: str, count: int, start_ms: int, apart_ms: int
) -> list[int]:
    """Conversations of the seller, each made `apart_ms` after the one before it, with one unread
    message; the ids of these.
    """
    begun = [id_at(start_ms + number * apart_ms) for number in range(count)]
    rows = (
        row
        for number, created in enumerate(begun)
        for row in _conversation(tenant, conversation_id(number), created, [created + 1])
    )
    await _write(engine, rows)
    return [created + 1 for created in begun]


async def seed_messages(
    engine: Engine, tenant: str, count: int, start_ms: int, apart_ms: int
) -> list[int]:
    """One conversation of the seller with so many messages; their ids."""
    ids = [id_at(start_ms + number * apart_ms) for number in range(1, count + 1)]
    await _write(engine, _conversation(tenant, conversation_id(0), id_at(start_ms), ids))
    return ids


async def _write(engine: Engine, rows: Iterable[Mutation]) -> None:
    gathered: list[Mutation] = []
    for row in rows:
        gathered.append(row)
        if len(gathered) >= ROWS_AT_ONCE:
            await engine.write(gathered)
            gathered.clear()
    await engine.write(gathered)


def _conversation(
    tenant: str, conversation: str, created: int, sent: list[int]
) -> Iterator[Mutation]:
    """All rows of a direct conversation between the seller and somebody who wrote all messages."""
    written, at = id_ms(created) * 1_000, timestamp(id_ms(created))
    place = (tenant, conversation)
    shown = ("direct", "open", at, SELLER, None, None, None, None)
    yield "ADD_CONVERSATION", (*place, created, *shown, written)
    for user in (SELLER, "buyer"):
        yield "PUT_MEMBER", (*place, user, "member", at, written)
    yield "JOIN", (tenant, SELLER, conversation, created, created, written)
    yield "ADD_CREATION", (tenant, SELLER, created, conversation, written)
    slot = bucket = -1
    for each in sent:
        if bucket != bucket_of("direct", each):
            bucket = bucket_of("direct", each)
            yield "ADD_BUCKET", (*place, bucket, written)
        if slot != slot_of(each):
            slot = slot_of(each)
            period = (tenant, SELLER, period_of(slot))
            yield "ADD_PERIOD", (*period, written)
            yield "TOUCH_SENT", (*period, slot, conversation, bucket, written)
        yield "ADD_MESSAGE", (*place, bucket, each, "buyer", _body(conversation, each), written)


def _body(conversation: str, message_id: int) -> bytes:
    return pack_message(
        Message(
            message_id=str(message_id),
            conversation_id=conversation,
            sender_id="buyer",
            content_type="text",
            created_at=timestamp(id_ms(message_id)),
            status="sent",
            text="Is this still available?",
        )
    )
