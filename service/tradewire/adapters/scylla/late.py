"""What became visible late is recorded once more, for those whose cursors may have passed it.

A resume goes back 10 s. A group that a dead node left is made visible by another one when a lease
has run out, and one that the cluster held up when the cluster is back; either may be later. So each
change in it gets a second row, under a fresh id, which says as what it is told.
"""

from collections.abc import Callable, Iterable, Sequence

from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.draft import scopes
from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import Timestamps, period_of, slot_of
from tradewire.adapters.scylla.redo import Group
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.domain.ids import Clock
from tradewire.ports import Late

OnLate = Callable[[Late], None]
Conversation = tuple[str, str]
"""Tenant and conversation id."""


class LateRecorder:
    """Records groups that became visible late; `on_late` hears of each."""

    def __init__(
        self,
        engine: Engine,
        rooms: Rooms,
        clock: Clock,
        timestamps: Timestamps,
        on_late: OnLate,
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._clock = clock
        self._timestamps = timestamps
        self._on_late = on_late

    async def record(self, groups: Sequence[Group]) -> None:
        """Have those hear of visible groups who resume from now on, and tell of them. What is heard
        twice is the same as before.

        Raises:
            Unavailable, Overloaded: the cluster did not answer; do it again.
        """
        since = self._clock.next_id()
        places = {place for group in groups for place in _places(group)}
        rooms = await self._find(places)
        rows = [row for group in groups for row in self._second_rows(group, rooms)]
        slot = slot_of(self._clock.next_id())
        rows += [row for room in rooms.values() for row in self._touch(room, slot)]
        await self._engine.write(rows)
        users = {(room.tenant, user_id) for room in rooms.values() for user_id in room.roles}
        users |= _named_by(groups, "ADD_USER_CHANGE")
        if users:
            blocked = _named_by(groups, "SET_BLOCK") | _named_by(groups, "SET_BLOCKER")
            self._on_late(Late(since, tuple(users), tuple(places), tuple(blocked)))

    async def _find(self, places: set[Conversation]) -> dict[Conversation, Room]:
        """The conversations that are there, as they are by now."""
        found = await all_of([self._rooms.read_alone(*place) for place in places])
        return {place: room for place, room in zip(places, found, strict=True) if room is not None}

    def _second_rows(self, group: Group, rooms: dict[Conversation, Room]) -> Iterable[Mutation]:
        for tenant, message, _ in group.sent():
            room = rooms.get((tenant, message.conversation_id))
            if room is not None:
                yield self._change(room, "MessageReceived", message.message_id, "", message.id)
        for name, values in group.mutations:
            match name:
                case "ADD_CHANGE":
                    tenant, conversation_id, _, change_id, kind, subject, detail, _ = values
                    room = rooms.get((tenant, conversation_id))
                    if room is not None:
                        yield self._change(room, kind, subject, detail, change_id)
                case "ADD_USER_CHANGE":
                    tenant, user_id, told_as, *told, _ = values
                    change_id = self._clock.next_id()
                    timestamp = self._timestamps.after(change_id)
                    change = (tenant, user_id, change_id, *told, told_as, timestamp)
                    yield "ADD_LATE_USER_CHANGE", change
                case "MOVE_READ" | "MOVE_DELIVERED":
                    *marker, _, private, timestamp = values
                    # Of two values with one timestamp the greater stays: the fresh id.
                    yield name, (*marker, self._clock.next_id(), private, timestamp)

    def _change(self, room: Room, kind: str, subject: str, detail: str, told_as: int) -> Mutation:
        change_id = self._clock.next_id()
        place = (room.tenant, room.conversation_id, room.bucket(change_id), change_id)
        timestamp = self._timestamps.after(change_id)
        return "ADD_LATE_CHANGE", (*place, kind, subject, detail, told_as, timestamp)

    def _touch(self, room: Room, slot: int) -> Iterable[Mutation]:
        """Have the members' resumes look at the conversation."""
        if room.crowded_at:
            return
        timestamp = self._timestamps.after(self._clock.next_id())
        for scope in (each for user_id in room.roles for each in scopes(room, user_id)):
            period = (room.tenant, scope, period_of(slot))
            yield "ADD_PERIOD", (*period, timestamp)
            yield "TOUCH", (*period, slot, room.conversation_id, timestamp)


def _places(group: Group) -> Iterable[Conversation]:
    """The conversations that a group changed as their members see them, or deleted."""
    for tenant, message, _ in group.sent():
        yield tenant, message.conversation_id
    for name, values in group.mutations:
        if name in {"ADD_CHANGE", "MOVE_READ", "MOVE_DELIVERED", "MARK_DELETED"}:
            yield values[0], values[1]


def _named_by(groups: Iterable[Group], name: str) -> set[tuple[str, str]]:
    """The tenants and users that rows of this statement begin with."""
    return {
        (values[0], values[1])
        for group in groups
        for other, values in group.mutations
        if other == name
    }
