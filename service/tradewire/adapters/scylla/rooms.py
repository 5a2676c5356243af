"""Conversations as every read and write needs them: what they are and who is in them; cached."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import bucket_of
from tradewire.adapters.scylla.requests import Row
from tradewire.domain.types import Conversation, ConversationStatus, Kind, Metadata, Role

AGE_S = 30.0
"""How long a conversation may differ from the store; changes made by this node are seen at once."""

ROOMS = 100_000

_encode = msgspec.json.Encoder().encode
_decode_metadata = msgspec.json.Decoder(Metadata).decode


class Room(Struct, frozen=True, kw_only=True):
    """A conversation that is there.

    Attributes:
        created: the id of its making.
        deleted_at: the id of an earlier deletion, 0 for none; what is older is of a former one.
        crowded_at: since this id it is too crowded for receipts and inbox order; 0: it is not.
        roles: every member's role by user id, oldest members in no particular order.
    """

    tenant: str
    conversation_id: str
    created: int
    deleted_at: int
    crowded_at: int
    kind: Kind
    status: ConversationStatus
    created_at: str
    created_by: str
    listing_id: str | None
    product_id: str | None
    title: str | None
    metadata: str | None
    orders: Mapping[int, str]
    roles: Mapping[str, Role]

    def bucket(self, value: int) -> int:
        """The window of time of an id."""
        return bucket_of(self.kind, value)

    def conversation(self) -> Conversation:
        """The conversation without members, last message or any reader's own settings."""
        return Conversation(
            conversation_id=self.conversation_id,
            kind=self.kind,
            status=self.status,
            created_at=self.created_at,
            created_by=self.created_by,
            listing_id=self.listing_id,
            product_id=self.product_id,
            order_ids=[self.orders[change] for change in sorted(self.orders)] or None,
            title=self.title,
            metadata=None if self.metadata is None else _decode_metadata(self.metadata),
            member_count=len(self.roles),
        )


def encode_metadata(metadata: Metadata | None) -> str | None:
    """Metadata as its column holds it."""
    return None if metadata is None else _encode(metadata).decode()


class Rooms:
    """Reads conversations; the ones used last are remembered for a while."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._now = now
        self._writes = 0
        self._kept: OrderedDict[tuple[str, str], tuple[float, Room]] = OrderedDict()

    def peek(self, tenant: str, conversation_id: str) -> Room | None:
        """The conversation if it is remembered."""
        kept = self._kept.get((tenant, conversation_id))
        return kept[1] if kept is not None and kept[0] >= self._now() else None

    async def get(self, tenant: str, conversation_id: str) -> Room | None:
        """The conversation, None when there is none; remembered or read."""
        found = self.peek(tenant, conversation_id)
        return found if found is not None else await self.read(tenant, conversation_id)

    async def read(self, tenant: str, conversation_id: str) -> Room | None:
        """The conversation as it is in the store now, None when there is none."""
        key = (tenant, conversation_id)
        return await self._engine.once(("room", *key), lambda: self.read_alone(*key))

    async def read_alone(self, tenant: str, conversation_id: str) -> Room | None:
        """The same, not shared with one who asked before: for who is about to change it."""
        writes = self._writes
        room = await self._read(tenant, conversation_id)
        # What was changed here meanwhile is newer than what was read.
        if writes != self._writes:
            return room
        if room is None:
            self._kept.pop((tenant, conversation_id), None)
        else:
            self._remember(room)
        return room

    def keep(self, room: Room) -> None:
        """Remember what a write made of a conversation."""
        self._writes += 1
        self._remember(room)

    def _remember(self, room: Room) -> None:
        key = (room.tenant, room.conversation_id)
        self._kept[key] = (self._now() + AGE_S, room)
        self._kept.move_to_end(key)
        while len(self._kept) > ROOMS:
            self._kept.popitem(last=False)

    def drop(self, tenant: str, conversation_id: str) -> None:
        """Forget a conversation that is gone."""
        self._writes += 1
        self._kept.pop((tenant, conversation_id), None)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    async def _read(self, tenant: str, conversation_id: str) -> Room | None:
        key = (tenant, conversation_id)
        found, members = await all_of(
            (self._engine.rows("CONVERSATION", *key), self._engine.rows("ROLES", *key))
        )
        return room_of(tenant, conversation_id, found[0], members) if found else None


def room_of(
    tenant: str, conversation_id: str, row: Row, members: "list[tuple[Any, ...]]"
) -> Room | None:
    """A row of CONVERSATION and those of ROLES; None when the conversation is gone."""
    created, deleted_at, crowded_at, kind, status, *_ = row
    if created is None or kind is None or created <= (deleted_at or 0):
        return None
    _, _, _, _, _, created_at, created_by, listing_id, product_id, title, metadata, orders = row
    return Room(
        tenant=tenant,
        conversation_id=conversation_id,
        created=created,
        deleted_at=deleted_at or 0,
        crowded_at=crowded_at or 0,
        kind=kind,
        status=status,
        created_at=created_at,
        created_by=created_by,
        listing_id=listing_id,
        product_id=product_id,
        title=title,
        metadata=metadata,
        orders=dict(orders or {}),
        roles={user_id: role for user_id, role, *_ in members if role},
    )
