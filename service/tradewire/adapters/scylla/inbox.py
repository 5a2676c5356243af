"""Pages of an inbox: so many conversations of a walk as the filters let pass."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.history import History
from tradewire.adapters.scylla.memberships import markers_of, room_of_seat
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.adapters.scylla.unread import UnreadReads
from tradewire.adapters.scylla.views import Glance, Views
from tradewire.adapters.scylla.walks import (
    FEW,
    Asked,
    Bound,
    ByActivity,
    ByCreation,
    Listed,
    Place,
    Walk,
)
from tradewire.domain.errors import InvalidField
from tradewire.domain.ids import MAX_ID
from tradewire.ports import InboxPage, InboxQuery

AT_ONCE = 40
"""So few conversations are looked up without a walk."""

MORE = 100
"""Conversations looked up at once at most, if a page does not need more."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode


class Inbox:
    """Reads pages."""

    def __init__(
        self, engine: Engine, rooms: Rooms, history: History, unread: UnreadReads, views: Views
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._history = history
        self._unread = unread
        self._views = views

    async def page(self, tenant: str, user_id: str, query: InboxQuery) -> InboxPage:
        """See ports.Conversations.inbox."""
        start = _start(query)
        asked = Asked(self._engine, self._rooms, self._history, tenant, user_id, query)
        unread = await self._unread.read(tenant, user_id, query.now) if query.unread else None
        counts = unread.by_conversation if unread is not None else {}
        walk = await self._walk(asked, start, counts)
        unread_filter = UnreadFilter(self._engine, self._rooms, self._unread, asked, counts)
        page, bound = await _page(walk, unread_filter, query.limit)
        views = await self._views.page(tenant, user_id, page, query.now)
        return InboxPage(views, None if bound is None else _encode_cursor(query, bound))

    async def _walk(self, asked: Asked, start: Bound, counts: Mapping[str, int]) -> Walk:
        """The way that costs the least."""
        query = asked.query
        if query.unread and len(counts) <= FEW:
            return Listed(asked, list(counts), start)
        if query.sort == "created_at":
            return ByCreation(asked, start)
        conversation_ids = await asked.few(AT_ONCE if query.descending else FEW)
        if conversation_ids is not None:
            return Listed(asked, conversation_ids, start)
        return ByActivity(asked, start)


async def _page(
    walk: Walk, unread_filter: "UnreadFilter", limit: int
) -> tuple[list[Glance], Bound | None]:
    """So many that the filter lets pass, and how far that is; None: to the end."""
    page: list[Glance] = []
    bound: Bound | None = None
    while True:
        # More each time, where filters let few pass.
        missing = max(limit + 1 - len(page), min(walk.visited // 4, MORE))
        batch = await walk.next(missing)
        if batch is None:
            return page, None
        places = batch.places
        while places:
            part, places = places[: limit + 1], places[limit + 1 :]
            for place, glance in zip(part, await unread_filter.passed(part), strict=True):
                if len(page) == limit:
                    return page, bound
                bound = Bound(place.id, batch.after)
                if glance is not None:
                    page.append(glance)
        if len(page) < limit:
            bound = batch.bound
        if walk.spent:
            return page, bound


class UnreadFilter:
    """The filter that needs counting.

    Args:
        counts: unread messages of some conversations that were counted just now.
    """

    def __init__(
        self,
        engine: Engine,
        rooms: Rooms,
        unread: UnreadReads,
        asked: Asked,
        counts: Mapping[str, int],
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._unread = unread
        self._asked = asked
        self._wanted = asked.query.unread
        self._counts = counts

    async def passed(self, places: Sequence[Place]) -> list[Glance | None]:
        """What each place holds; None where it is not let pass."""
        if self._wanted is None:
            return [place.glance for place in places]
        return await all_of([self._passed(place.glance) for place in places])

    async def _passed(self, glance: Glance) -> Glance | None:
        count = self._counts.get(glance.seat.conversation_id)
        if count is None:
            room = await room_of_seat(self._rooms, self._asked.tenant, glance.seat)
            count = 0 if room is None else await self._count(room, glance)
        return glance._replace(unread=count) if (count > 0) == self._wanted else None

    async def _count(self, room: Room, glance: Glance) -> int:
        user_id = self._asked.user_id
        row = await self._engine.row("MEMBER", room.tenant, room.conversation_id, user_id)
        read = markers_of(row, room.deleted_at).read if row is not None else 0
        last = glance.newest.id if glance.newest is not None else 0
        return (await self._unread.count(room, user_id, read, last, self._asked.query.now)).unread


def _start(query: InboxQuery) -> Bound:
    """Where a page begins."""
    if query.cursor is not None:
        return _decode_cursor(query)
    return Bound(MAX_ID if query.descending else -1)


def _shape(query: InboxQuery) -> list[object]:
    """What a cursor's query and the next one's must have in common."""
    return [
        query.sort,
        query.descending,
        query.archived,
        query.muted,
        query.status,
        query.listing_id,
        query.unread,
    ]


def _encode_cursor(query: InboxQuery, bound: Bound) -> str:
    return base64.urlsafe_b64encode(_encode([*bound, *_shape(query)])).decode()


def _decode_cursor(query: InboxQuery) -> Bound:
    try:
        place, after, *shape = _decode(base64.urlsafe_b64decode(query.cursor or ""))
    except (ValueError, msgspec.MsgspecError):
        place, after, shape = None, None, []
    if not isinstance(place, int) or not -1 <= place <= MAX_ID:
        shape = []
    if not isinstance(after, str) or shape != _shape(query):
        raise InvalidField("This is no cursor of such a query.", field="cursor")
    return Bound(int(place), after)
