"""Ways through the conversations of a user, in the order of an inbox.

A conversation stands at the id of its newest message (without one: at that of its making). The rows
of activity say in which slots it moved, so a walk along them meets it, at the latest, in the slot
where it stands. When it is met, its place is looked up; it is told when the walk has come there.
Where that would be long and yield little, a user with few conversations gets them all looked up.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.history import History, both, current_window
from tradewire.adapters.scylla.layout import listing_scope, slot_of, slot_start
from tradewire.adapters.scylla.memberships import Seat, room_of_seat, seats
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.adapters.scylla.slots import Group, Slots
from tradewire.adapters.scylla.unread import is_hidden
from tradewire.adapters.scylla.views import Glance
from tradewire.domain.ids import MAX_ID
from tradewire.ports import InboxQuery

VISITED = 2_000
"""Conversations looked at for one page; a filter that few pass gives shorter pages."""

WALKED = 10_000
"""Rows of activity read for one page; the same."""

UNPRODUCTIVE = 1_500
"""After so many rows of activity it is asked whether there are but few conversations at all."""

FEW = 300
"""So few are all looked up then; in ascending order, where the walk would be longest, at once."""


class Place(NamedTuple):
    """Where a conversation stands: the id that it is sorted by."""

    id: int
    glance: Glance


class Bound(NamedTuple):
    """What is done: all places up to an id, in the direction of the query.

    Attributes:
        after: in a crowded slot, which is told in parts, only those of the part after this
            conversation id, and of the parts before.
    """

    id: int
    after: str = ""


class Batch(NamedTuple):
    """Some places in order, of one part of a slot or of whole slots; then all up to `bound` is
    done.
    """

    places: list[Place]
    bound: Bound
    after: str = ""


class Walk(Protocol):
    """A way through the conversations of a user."""

    @property
    def visited(self) -> int:
        """How many were looked at."""

    @property
    def spent(self) -> bool:
        """Whether it has cost so much that the page should end."""

    async def next(self, count: int) -> Batch | None:
        """Some more places, about so many, maybe none; None at the end."""


class Asked:
    """A query of a user, with what its walks have in common."""

    def __init__(
        self,
        engine: Engine,
        rooms: Rooms,
        history: History,
        tenant: str,
        user_id: str,
        query: InboxQuery,
    ) -> None:
        self.engine = engine
        self.tenant = tenant
        self.user_id = user_id
        self.query = query
        self._rooms = rooms
        self._history = history
        self._picks = query.status is not None or query.listing_id is not None
        self._crowds: set[str] | None = None

    @property
    def scope(self) -> str:
        """Whose activity is walked along."""
        listing_id = self.query.listing_id
        return self.user_id if listing_id is None else listing_scope(self.user_id, listing_id)

    def follows(self, place: int, bound: Bound) -> bool:
        """Whether a place lies beyond what is done."""
        return place < bound.id if self.query.descending else place > bound.id

    def in_order(self, places: Iterable[Place]) -> list[Place]:
        """Places in the order of the query."""
        return sorted(places, key=lambda place: place.id, reverse=self.query.descending)

    async def few(self, most: int) -> list[str] | None:
        """All conversations of the scope if they are not more."""
        rows = await self.engine.rows("CREATIONS_BEFORE", self.tenant, self.scope, MAX_ID, most + 1)
        return [row[1] for row in rows] if len(rows) <= most else None

    async def places(self, hints: Mapping[str, int | None]) -> list[Place]:
        """Where conversations stand; those that are not for this inbox are left out.

        Args:
            hints: their ids, each with a window in which its newest message may be.
        """
        found, crowds = await both(
            seats(self.engine, self.tenant, self.user_id, list(hints)), self._crowded()
        )
        wanted = [seat for seat in found.values() if self._is_wanted(seat)]
        places = await all_of(
            [
                self._place(seat, hints[seat.conversation_id], seat.conversation_id in crowds)
                for seat in wanted
            ]
        )
        return [place for place in places if place is not None]

    async def _place(self, seat: Seat, hint: int | None, crowded: bool) -> Place | None:
        room = (
            await room_of_seat(self._rooms, self.tenant, seat) if crowded or self._picks else None
        )
        if self._picks and not self._is_picked(room):
            return None
        key = (self.tenant, seat.conversation_id)
        current = current_window(room or self._rooms.peek(*key), self.query.now)
        newest = await self._history.newest(*key, hint, current)
        last = newest.id if newest is not None else 0
        if is_hidden(seat, last):
            return None
        place = max(last, seat.created)
        if self.query.sort == "created_at":
            place = seat.created
        elif crowded and room is not None:
            place = room.crowded_at or place
        return Place(place, Glance(seat, newest))

    def _is_wanted(self, seat: Seat) -> bool:
        """Whether the filters on the user's own settings let a conversation pass."""
        query = self.query
        archived = query.archived in (None, seat.archived)
        return archived and query.muted in (None, seat.muted_until > query.now)

    def _is_picked(self, room: Room | None) -> bool:
        """Whether the filters on conversations let one pass."""
        query = self.query
        return (
            room is not None
            and query.status in (None, room.status)
            and query.listing_id in (None, room.listing_id)
        )

    async def _crowded(self) -> set[str]:
        """The crowded conversations of the user, which do not move when there is a message."""
        if self._crowds is None:
            rows = await self.engine.rows("CROWDS", self.tenant, self.user_id)
            self._crowds = {row[0] for row in rows}
        return self._crowds


class Listed:
    """Looks up given conversations, all at once."""

    spent = False

    def __init__(self, asked: Asked, conversation_ids: Sequence[str], start: Bound) -> None:
        self._asked = asked
        self._ids = conversation_ids
        self._start = start
        self._places: list[Place] | None = None
        self.visited = len(conversation_ids)

    async def next(self, count: int) -> Batch | None:
        if self._places is None:
            found = await self._asked.places(dict.fromkeys(self._ids))
            follows = [each for each in found if self._asked.follows(each.id, self._start)]
            self._places = self._asked.in_order(follows)
        batch, self._places = self._places[:count], self._places[count:]
        return Batch(batch, Bound(batch[-1].id)) if batch else None


class ByCreation:
    """Walks along the creations."""

    def __init__(self, asked: Asked, start: Bound) -> None:
        self._asked = asked
        self._bound = start
        self._ended = False
        self.visited = 0

    @property
    def spent(self) -> bool:
        return self.visited >= VISITED

    async def next(self, count: int) -> Batch | None:
        if self._ended:
            return None
        asked = self._asked
        statement = "CREATIONS_BEFORE" if asked.query.descending else "CREATIONS_AFTER"
        rows = await asked.engine.rows(statement, asked.tenant, asked.scope, self._bound.id, count)
        self.visited += len(rows)
        self._ended = len(rows) < count
        if not rows:
            return None
        self._bound = Bound(rows[-1][0])
        # A conversation that was made again has another row, which is that of the former one.
        made = {(created, conversation_id) for created, conversation_id in rows}
        places = await asked.places(dict.fromkeys(row[1] for row in rows))
        told = [each for each in places if (each.id, each.glance.seat.conversation_id) in made]
        return Batch(asked.in_order(told), self._bound)


class ByActivity:
    """Walks along the activity."""

    def __init__(self, asked: Asked, start: Bound) -> None:
        self._asked = asked
        self._sign = -1 if asked.query.descending else 1
        self._start = self._bound = start
        self._slots = Slots(
            asked.engine,
            asked.tenant,
            asked.scope,
            max(slot_of(start.id + self._sign), 0),
            descending=asked.query.descending,
            after=start.after,
        )
        self._groups: deque[Group] = deque()
        self._seen: set[str] = set()
        self._ahead: list[tuple[int, str, Place]] = []
        self._few: Listed | None = None
        self._asked_for_few = False

    @property
    def visited(self) -> int:
        return len(self._seen)

    @property
    def spent(self) -> bool:
        costly = self._slots.rows >= WALKED or self.visited >= VISITED
        return costly and self._few is None

    async def next(self, count: int) -> Batch | None:
        unproductive = self._slots.rows >= UNPRODUCTIVE and not self._bound.after
        if unproductive and not self._asked_for_few:
            self._asked_for_few = True
            conversation_ids = await self._asked.few(FEW)
            if conversation_ids is not None:
                self._few = Listed(self._asked, conversation_ids, self._bound)
        if self._few is not None:
            return await self._few.next(count)
        return await self._walk_on(count)

    async def _walk_on(self, count: int) -> Batch | None:
        """Take whole slots until so many more conversations were met, or a part of one slot."""
        groups, hints = list[Group](), dict[str, int]()
        budget = self._slots.rows + UNPRODUCTIVE
        while len(hints) < count and self._slots.rows < budget and await self._has_groups():
            in_parts = _is_part(self._groups[0])
            if in_parts and groups:
                break
            groups.append(self._groups.popleft())
            hints |= self._met(groups[-1])
            if in_parts:
                break
        if not groups:
            left = self._reached(0 if self._sign < 0 else MAX_ID)
            return Batch(left, self._bound) if left else None
        start, self._bound = self._bound, self._behind(groups[-1])
        self._seen |= hints.keys()
        for place in await self._asked.places(hints):
            if self._asked.follows(place.id, self._start):
                self._put(place, start)
        return Batch(self._reached(self._end_of(groups[-1])), self._bound, groups[-1].after)

    def _put(self, place: Place, done: Bound) -> None:
        """Have a place told when the walk has come to it."""
        if not self._asked.follows(place.id, done):
            # Another node did not know yet that the user is a member when there was a message, so
            # the row of its slot is missing.
            place = place._replace(id=done.id + self._sign)
        key = (self._sign * place.id, place.glance.seat.conversation_id, place)
        heapq.heappush(self._ahead, key)

    async def _has_groups(self) -> bool:
        if not self._groups:
            self._groups += await self._slots.next()
        return bool(self._groups)

    def _met(self, group: Group) -> dict[str, int]:
        """Those of a slot that had messages and were not met before."""
        return {
            conversation_id: bucket
            for conversation_id, bucket in group.rows
            if bucket is not None and conversation_id not in self._seen
        }

    def _reached(self, end: int) -> list[Place]:
        """The places of those that were met, up to an id, in order."""
        places: list[Place] = []
        while self._ahead and self._ahead[0][0] <= end * self._sign:
            places.append(heapq.heappop(self._ahead)[2])
        return places

    def _end_of(self, group: Group) -> int:
        """The last id of a slot in the direction of the query."""
        return slot_start(group.slot) if self._sign < 0 else slot_start(group.slot + 1) - 1

    def _behind(self, group: Group) -> Bound:
        """What is done when a group is; in a slot that is read in parts, those so far."""
        if group.last:
            return Bound(self._end_of(group))
        before = slot_start(group.slot + 1) if self._sign < 0 else slot_start(group.slot) - 1
        return Bound(before, group.rows[-1][0])


def _is_part(group: Group) -> bool:
    """Whether a slot is so crowded that it is read in parts, of which this is one."""
    return bool(group.after) or not group.last
