"""A commit group in the making: what is known of the store, what the group changes, its rows.

A unit sees what the units before it did. One that is refused leaves nothing.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.layout import (
    Timestamps,
    listing_scope,
    period_of,
    slot_of,
)
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.domain.errors import NotFound
from tradewire.domain.packing import EventRow
from tradewire.domain.types import Message, Role

REMEMBERED = 200_000

Key = tuple[Any, ...]
"""What a value is of: its kind, then the tenant and what names it. The kinds stand in loads.py."""


class Sent(NamedTuple):
    """A message of this group; `timestamp` is that of its row."""

    message_id: int
    sender_id: str
    message: Message
    timestamp: int


class Placed(Struct, array_like=True, gc=False):
    """What the row of a message needs besides the message.

    Attributes:
        marks: whether it moves its sender's marker.
    """

    message_id: int
    bucket: int
    timestamp: int
    content_hash: bytes
    marks: bool


class Touched(NamedTuple):
    """Up to which slot the members' activity rows of a conversation are written.

    Attributes:
        sent: whether the rows say that there was a message.
    """

    slot: int
    sent: bool
    roles: Mapping[str, Role]


class Bounded(OrderedDict[Any, Any]):
    """The entries set last, a bounded number of them."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if len(self) > REMEMBERED:
            self.popitem(last=False)


class Memory:
    """What a run remembers from group to group, so that rows that are there are not written again.

    Attributes:
        buckets: the newest window of a conversation that is known to be listed.
        periods: the newest period of a scope that is known to be listed.
    """

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.timestamps = Timestamps()
        self.touched: dict[tuple[str, str], Touched] = Bounded()
        self.buckets: dict[tuple[str, str], int] = Bounded()
        self.periods: dict[tuple[str, str], int] = Bounded()

    def forget(self) -> None:
        """Take nothing for written any more, nor for true what was to be written."""
        self.rooms.clear()
        self.touched.clear()
        self.buckets.clear()
        self.periods.clear()


class Draft:
    """One group.

    Attributes:
        now: ms since 1970.
        fetched: what was read for it, by key.
        sent: its new messages, by (tenant, conversation_id).
        placed: what the rows of its new messages need, in order.
        messages: the new messages with their tenants, and packed, in the order of `placed`.
        mutations: all other rows.
        events: (id, packed) of its domain events.
        newest: the greatest id in it.
    """

    def __init__(self, memory: Memory, now: int) -> None:
        self.memory = memory
        self.now = now
        self.fetched: dict[Key, Any] = {}
        self.sent: dict[tuple[str, str], list[Sent]] = {}
        self.placed: list[Placed] = []
        self.messages: list[tuple[str, Message, bytes]] = []
        self.mutations: list[Mutation] = []
        self.events: list[EventRow] = []
        self.newest = 0
        self._known: dict[Key, Any] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] | None = None
        self._begun = (0, 0, 0, 0)

    # --- units ------------------------------------------------------------------------------------

    def begin_unit(self) -> None:
        """Begin what may have to be undone."""
        self._undo = []
        self._begun = (
            len(self.placed), len(self.mutations), len(self.events), self.newest,
        )  # fmt: skip

    def end_unit(self) -> None:
        """Keep the effect of a unit."""
        self._undo = None

    def undo_unit(self) -> None:
        """Take back the effect of a unit."""
        for values, key, before in reversed(self._undo or ()):
            if before is _NOTHING:
                values.pop(key, None)
            else:
                values[key] = before
        self._undo = None
        placed, mutations, events, self.newest = self._begun
        for undone in self.placed[placed:]:
            self._unsend(undone.message_id)
        del self.placed[placed:], self.messages[placed:]
        del self.mutations[mutations:], self.events[events:]

    def _unsend(self, message_id: int) -> None:
        for sent in self.sent.values():
            if sent and sent[-1].message_id == message_id:
                sent.pop()

    # --- what is known ----------------------------------------------------------------------------

    def get(self, key: Key) -> Any:
        """What is known: as this group left it, or as it was read."""
        return self._known[key] if key in self._known else self.fetched.get(key)

    def put(self, key: Key, value: Any) -> None:
        """Note what the group makes of a thing."""
        self._set(self._known, key, value)

    def recall(self, tenant: str, conversation_id: str) -> bool:
        """Whether a conversation need not be read: it is remembered, and kept for this group."""
        key = ("room", tenant, conversation_id)
        if key not in self.fetched:
            room = self.memory.rooms.peek(tenant, conversation_id)
            if room is None:
                return False
            self.fetched[key] = room
        return True

    def find(self, tenant: str, conversation_id: str) -> Room | None:
        """A conversation, None when there is none."""
        found: Room | None = self.get(("room", tenant, conversation_id))
        return found

    def room(self, tenant: str, conversation_id: str) -> Room:
        """A conversation that is there.

        Raises:
            NotFound: it is not.
        """
        found = self.find(tenant, conversation_id)
        if found is None:
            raise NotFound(field="conversation_id")
        return found

    def keep(self, room: Room) -> None:
        """Note what became of a conversation."""
        self.put(("room", room.tenant, room.conversation_id), room)

    def newest_in(self, room: Room) -> int:
        """The newest message of a conversation, 0 when there is none."""
        sent = self.sent.get((room.tenant, room.conversation_id))
        if sent:
            return sent[-1].message_id
        stored = self.get(("newest", room.tenant, room.conversation_id)) or 0
        return stored if stored > room.deleted_at else 0

    def settle(self) -> None:
        """The group is durable: remember the conversations as it left them."""
        for key, value in self._known.items():
            if key[0] == "room":
                if value is None:
                    self.memory.rooms.drop(*key[1:])
                else:
                    self.memory.rooms.keep(value)

    def mark_once(self) -> None:
        """Have each sender's marker moved by the last of their messages alone."""
        marked: set[tuple[str, str, str]] = set()
        for place in range(len(self.placed) - 1, -1, -1):
            tenant, message, _ = self.messages[place]
            sender = (tenant, message.conversation_id, message.sender_id)
            if sender in marked:
                self.placed[place].marks = False
            else:
                marked.add(sender)

    def by_id(self) -> dict[int, Message]:
        """The new messages by their ids."""
        return {
            placed.message_id: message
            for placed, (_, message, _) in zip(self.placed, self.messages, strict=True)
        }

    # --- rows -------------------------------------------------------------------------------------

    def emit(self, name: str, *values: Any) -> None:
        """Add a row."""
        self.mutations.append((name, values))

    def record(self, event: EventRow) -> None:
        """Add a domain event."""
        self.events.append(event)
        self.newest = max(self.newest, event[0])

    def timestamp(self, value: int) -> int:
        """A write timestamp for a write with this id."""
        return self.memory.timestamps.after(value)

    def list_bucket(self, room: Room, bucket: int, timestamp: int) -> None:
        """Have a window of a conversation listed."""
        key = (room.tenant, room.conversation_id)
        if self.memory.buckets.get(key, -1) < bucket:
            self._set(self.memory.buckets, key, bucket)
            self.emit("ADD_BUCKET", *key, bucket, timestamp)

    def unlist(self, room: Room) -> None:
        """Take nothing of a conversation for written."""
        key = (room.tenant, room.conversation_id)
        self._set(self.memory.buckets, key, -1)
        self._set(self.memory.touched, key, Touched(-1, False, {}))

    def touch(self, room: Room, value: int, timestamp: int, *, sent: bool) -> None:
        """Have the members hear that something happened at this id: a message, or a change."""
        key = (room.tenant, room.conversation_id)
        slot = slot_of(value)
        done = self.memory.touched.get(key)
        if (
            done is not None
            and done.slot == slot
            and done.sent >= sent
            and (done.roles is room.roles or done.roles == room.roles)
        ):
            return
        self._set(self.memory.touched, key, Touched(slot, sent, room.roles))
        bucket = room.bucket(value) if sent else None
        for user_id in room.roles:
            self.touch_user(room, user_id, slot, bucket, timestamp)

    def touch_user(
        self, room: Room, user_id: str, slot: int, bucket: int | None, timestamp: int
    ) -> None:
        """The activity rows of one user; with a bucket they give the place in the inbox."""
        for scope in scopes(room, user_id):
            place = (room.tenant, scope, period_of(slot))
            if self.memory.periods.get(place[:2]) != place[2]:
                self._set(self.memory.periods, place[:2], place[2])
                self.emit("ADD_PERIOD", *place, timestamp)
            if bucket is None:
                self.emit("TOUCH", *place, slot, room.conversation_id, timestamp)
            else:
                self.emit("TOUCH_SENT", *place, slot, room.conversation_id, bucket, timestamp)

    def change(
        self, room: Room, change_id: int, timestamp: int, kind: str, subject: str = ""
    ) -> None:
        """Record what the members of a conversation must hear on resume."""
        self.newest = max(self.newest, change_id)
        bucket = room.bucket(change_id)
        self.emit(
            "ADD_CHANGE",
            *(room.tenant, room.conversation_id, bucket),
            *(change_id, kind, subject, "", timestamp),
        )
        if not room.crowded_at:
            self.touch(room, change_id, timestamp, sent=False)

    def tell(
        self,
        tenant: str,
        user_id: str,
        change_id: int,
        conversation_id: str,
        kind: str,
        subject: str = "",
        detail: str = "",
    ) -> None:
        """Record what one user must hear on resume."""
        self.newest = max(self.newest, change_id)
        timestamp = self.timestamp(change_id)
        self.emit(
            "ADD_USER_CHANGE",
            *(tenant, user_id, change_id),
            *(conversation_id, kind, subject, detail, timestamp),
        )

    def _set(self, values: dict[Any, Any], key: Any, value: Any) -> None:
        if self._undo is not None:
            self._undo.append((values, key, values.get(key, _NOTHING)))
        values[key] = value


_NOTHING = object()


def scopes(room: Room, user_id: str) -> tuple[str, ...]:
    """The scopes of a member's activity in a conversation."""
    if room.listing_id is None:
        return (user_id,)
    return (user_id, listing_scope(user_id, room.listing_id))
