"""What a write needs to know of the store before it is applied, and how that is read.

A group's reads go out together, in rounds: what a round brings may ask for more.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from tradewire.adapters.scylla.draft import Draft, Key
from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import NEWEST_BUCKET, bucket_of, buckets_between
from tradewire.adapters.scylla.rooms import Room
from tradewire.domain import rules, writes
from tradewire.domain.ids import id_at
from tradewire.domain.limits import KEY_HOURS
from tradewire.domain.packing import unpack_message
from tradewire.domain.types import Message, OrderCard, ProductCard, StatusChange

ROUNDS = 4
MARKED = 1_000
"""Messages counted at most when a read marker passes them."""

BUCKETS_PAGE = 1_000

_KEY_MS = KEY_HOURS * 3_600_000
_decode_order = msgspec.json.Decoder(OrderCard).decode
_decode_product = msgspec.json.Decoder(ProductCard).decode
_decode_status = msgspec.json.Decoder(StatusChange).decode


class Markers(NamedTuple):
    """A member's row: the role ("" for one who left) and the markers."""

    role: str
    read: int
    delivered: int


class Membership(NamedTuple):
    """A user's own settings of a conversation; `muted_until` in ms, 0 for not muted."""

    archived: bool
    pinned: bool
    muted_until: int
    hidden_at: int


class Written(NamedTuple):
    """A message as it is stored, and the timestamp of its row."""

    message: Message
    timestamp: int


class Known(NamedTuple):
    """What an idempotency key was used for."""

    message_id: int
    content_hash: bytes


Needs = Callable[[Draft, Any], Iterator[Key]]


def missing(draft: Draft, unit: writes.Unit) -> set[Key]:
    """What is to be read for a unit and was not yet."""
    if unit.handles is None and len(unit.writes) == 1:
        write = unit.writes[0]
        if isinstance(write, writes.NewMessage) and _is_ready(draft, write):
            return set()
    wanted = {key for write in unit.writes for key in _NEEDS[type(write)](draft, write)}
    if unit.handles is not None:
        wanted.add(("handled", *unit.handles))
    return {key for key in wanted if key not in draft.fetched}


def _is_ready(draft: Draft, write: writes.NewMessage) -> bool:
    """The usual send: a fresh key in a conversation that is remembered needs nothing."""
    return (write.fresh or write.message.key is None) and draft.recall(
        write.tenant, write.conversation_id
    )


# --- what each kind of write needs --------------------------------------------------------------


def _new_message(draft: Draft, write: writes.NewMessage) -> Iterator[Key]:
    yield from _cached_room(draft, write)
    key = write.message.key
    if key is None or write.fresh:
        return
    wanted = ("key", write.tenant, write.conversation_id, write.message.sender_id, key)
    room = draft.find(write.tenant, write.conversation_id)
    if room is None:
        return
    yield wanted
    known = draft.get(wanted)
    if known is not None:
        yield "message", write.tenant, write.conversation_id, known.message_id


def _move_marker(draft: Draft, write: writes.MoveMarker) -> Iterator[Key]:
    yield from _cached_room(draft, write)
    conversation = (write.tenant, write.conversation_id)
    if draft.find(*conversation) is None:
        return
    yield "newest", *conversation
    yield "member", *conversation, write.user_id
    if write.read and draft.fetched.get(("member", *conversation, write.user_id)):
        yield "unread", *conversation, write.user_id


def _cached_room(draft: Draft, write: writes.ConversationWrite) -> Iterator[Key]:
    if not draft.recall(write.tenant, write.conversation_id):
        yield "room", write.tenant, write.conversation_id


def _room(_: Draft, write: writes.ConversationWrite) -> Iterator[Key]:
    yield "room", write.tenant, write.conversation_id


def _message(draft: Draft, write: writes.EditMessage | writes.DeleteMessage) -> Iterator[Key]:
    yield from _cached_room(draft, write)
    if draft.find(write.tenant, write.conversation_id) is not None:
        yield "message", write.tenant, write.conversation_id, write.message_id


def _create(draft: Draft, write: writes.CreateConversation) -> Iterator[Key]:
    yield from _room(draft, write)
    if draft.find(write.tenant, write.conversation_id) is not None:
        yield "membership", write.tenant, write.conversation_id, write.shown_to
        yield "newest", write.tenant, write.conversation_id


def _own(draft: Draft, write: writes.SetOwnSettings) -> Iterator[Key]:
    yield from _room(draft, write)
    yield "membership", write.tenant, write.conversation_id, write.user_id


def _add_member(draft: Draft, write: writes.AddMember) -> Iterator[Key]:
    yield from _room(draft, write)
    if draft.find(write.tenant, write.conversation_id) is not None:
        yield "newest", write.tenant, write.conversation_id


def _delete_conversation(draft: Draft, write: writes.DeleteConversation) -> Iterator[Key]:
    yield from _room(draft, write)
    yield "buckets", write.tenant, write.conversation_id


def _link_order(draft: Draft, write: writes.LinkOrder) -> Iterator[Key]:
    yield from _room(draft, write)
    yield "order", write.tenant, write.order.order_id


def _order_status(draft: Draft, write: writes.SetOrderStatus) -> Iterator[Key]:
    yield "order", write.tenant, write.order_id
    order = draft.get(("order", write.tenant, write.order_id))
    if order is not None and not draft.recall(write.tenant, order[0]):
        yield "room", write.tenant, order[0]


def _put_product(_: Draft, write: writes.PutProduct) -> Iterator[Key]:
    yield "product", write.tenant, write.product.product_id


def _retire_product(_: Draft, write: writes.RetireProduct) -> Iterator[Key]:
    yield "product", write.tenant, write.product_id


def _block(_: Draft, write: writes.SetBlock) -> Iterator[Key]:
    yield "block", write.tenant, write.user_id, write.blocked_id


def _nothing(_draft: Draft, _write: writes.Write) -> Iterator[Key]:
    return iter(())


_NEEDS: dict[type[writes.Write], Needs] = {
    writes.NewMessage: _new_message,
    writes.EditMessage: _message,
    writes.DeleteMessage: _message,
    writes.MoveMarker: _move_marker,
    writes.CreateConversation: _create,
    writes.ReviseConversation: _room,
    writes.SetOwnSettings: _own,
    writes.AddMember: _add_member,
    writes.RemoveMember: _room,
    writes.SetRole: _room,
    writes.DeleteConversation: _delete_conversation,
    writes.LinkOrder: _link_order,
    writes.SetOrderStatus: _order_status,
    writes.PutProduct: _put_product,
    writes.RetireProduct: _retire_product,
    writes.TouchProduct: _cached_room,
    writes.SetBlock: _block,
    writes.SetSuspension: _nothing,
    writes.Revoke: _nothing,
    writes.SetLastSeen: _nothing,
}


# --- how it is read -----------------------------------------------------------------------------


class Loads:
    """Reads what groups need."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._load: dict[str, Callable[..., Any]] = {
            "room": self._room,
            "newest": self._newest,
            "member": self._member,
            "unread": self._unread,
            "key": self._key,
            "message": self._message,
            "membership": self._membership,
            "buckets": self._buckets,
            "handled": self._handled,
            "order": self._order,
            "product": self._product,
            "block": self._block,
        }

    async def fetch(self, draft: Draft, wanted: set[Key]) -> None:
        """Read all of this, side by side, into the draft.

        Raises:
            Unavailable, Overloaded: the cluster did not answer.
        """
        keys = list(wanted)
        found = await all_of([self._load[key[0]](draft, *key[1:]) for key in keys])
        draft.fetched.update(zip(keys, found, strict=True))

    async def _room(self, draft: Draft, tenant: str, conversation_id: str) -> Room | None:
        return await draft.memory.rooms.read_alone(tenant, conversation_id)

    async def _newest(self, _: Draft, tenant: str, conversation_id: str) -> int:
        return await newest_message(self._engine, tenant, conversation_id)

    async def _member(
        self, _: Draft, tenant: str, conversation_id: str, user_id: str
    ) -> Markers | None:
        row = await self._engine.row("MEMBER", tenant, conversation_id, user_id)
        if row is None or not row[1]:
            return None
        return Markers(row[1], row[3] or 0, row[4] or 0)

    async def _unread(
        self, draft: Draft, tenant: str, conversation_id: str, user_id: str
    ) -> list[int]:
        """Ids of messages by others after the read marker, gone ones left out, the oldest first."""
        room = draft.room(tenant, conversation_id)
        markers: Markers = draft.fetched["member", tenant, conversation_id, user_id]
        newest: int = draft.fetched["newest", tenant, conversation_id]
        after = max(markers.read, room.deleted_at)
        found: list[int] = []
        if newest <= after:
            return found
        listed = await self._engine.rows(
            "BUCKETS_AFTER", tenant, conversation_id, room.bucket(after), BUCKETS_PAGE
        )
        for (bucket,) in listed:
            rows = await self._engine.rows(
                "MESSAGE_SENDERS", tenant, conversation_id, bucket, after, newest, MARKED
            )
            found += [
                message_id
                for message_id, sender, gone_at in rows
                if sender != user_id and (gone_at is None or gone_at > draft.now)
            ]
            if len(found) >= MARKED:
                break
        return found[:MARKED]

    async def _key(
        self, draft: Draft, tenant: str, conversation_id: str, sender: str, key: str
    ) -> Known | None:
        room = draft.room(tenant, conversation_id)
        oldest = max(id_at(draft.now - _KEY_MS), room.deleted_at)
        windows = buckets_between(room.kind, oldest, id_at(draft.now + 60_000))
        rows = await all_of(
            [
                self._engine.rows("KEY", tenant, conversation_id, bucket, sender, key)
                for bucket in windows
            ]
        )
        known = [Known(*row) for found in rows for row in found if row[0] > oldest]
        return max(known, default=None)

    async def _message(
        self, draft: Draft, tenant: str, conversation_id: str, message_id: int
    ) -> Written | None:
        room = draft.room(tenant, conversation_id)
        return await stored_message(self._engine, room, message_id)

    async def _membership(
        self, _: Draft, tenant: str, conversation_id: str, user_id: str
    ) -> Membership | None:
        row = await self._engine.row("MEMBERSHIPS", tenant, user_id, [conversation_id])
        if row is None or not row[1]:
            return None
        archived, pinned, muted_until, hidden_at = row[3:]
        return Membership(bool(archived), bool(pinned), muted_until or 0, hidden_at or 0)

    async def _buckets(self, _: Draft, tenant: str, conversation_id: str) -> list[int]:
        listed = await self._engine.rows(
            "BUCKETS", tenant, conversation_id, NEWEST_BUCKET, NEWEST_BUCKET
        )
        return [bucket for (bucket,) in listed]

    async def _handled(self, _: Draft, tenant: str, ce_id: str) -> bool:
        return await self._engine.row("HANDLED", tenant, ce_id) is not None

    async def _order(self, _: Draft, tenant: str, order_id: str) -> tuple[str, OrderCard] | None:
        row = await self._engine.row("ORDER", tenant, order_id)
        return None if row is None or row[1] is None else (row[0], order_card(row[1], row[2]))

    async def _product(
        self, _: Draft, tenant: str, product_id: str
    ) -> tuple[int, ProductCard | None] | None:
        row = await self._engine.row("PRODUCT", tenant, product_id)
        if row is None or row[0] is None:
            return None
        return row[0], None if row[1] is None else _decode_product(row[1])

    async def _block(self, _: Draft, tenant: str, user_id: str, blocked_id: str) -> int:
        row = await self._engine.row("BLOCK", tenant, user_id, blocked_id)
        return (row[0] or 0) if row else 0


async def newest_message(engine: Engine, tenant: str, conversation_id: str) -> int:
    """The id of the newest message of a conversation, 0 when there is none."""
    before = NEWEST_BUCKET
    while True:
        listed = await engine.rows("BUCKETS", tenant, conversation_id, before, 2)
        for (bucket,) in listed:
            row = await engine.row("NEWEST_MESSAGE", tenant, conversation_id, bucket)
            if row is not None:
                return int(row[0])
            before = bucket - 1
        if len(listed) < 2:
            return 0


async def stored_message(engine: Engine, room: Room, message_id: int) -> Written | None:
    """A message as it is stored."""
    if not room.deleted_at < message_id:
        return None
    row = await engine.row(
        "MESSAGE",
        *(room.tenant, room.conversation_id, bucket_of(room.kind, message_id), message_id),
    )
    if row is None or row[0] is None or row[1] is None:
        return None
    _, body, written = row
    return Written(unpack_message(room.conversation_id, message_id, body), written)


def order_card(card: str, statuses: Any) -> OrderCard:
    """An order from its row: the card, with the statuses that it took since."""
    order = _decode_order(card)
    for status in statuses or ():
        order = rules.with_status(order, _decode_status(status)) or order
    return order
