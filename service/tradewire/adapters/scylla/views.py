"""Conversations as a user sees them."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.history import History, Newest, both, current_window
from tradewire.adapters.scylla.memberships import (
    Markers,
    Seat,
    members_of,
    room_of_seat,
    seats,
)
from tradewire.adapters.scylla.requests import Row
from tradewire.adapters.scylla.rooms import Room, Rooms, room_of
from tradewire.adapters.scylla.unread import UnreadReads
from tradewire.domain import rules
from tradewire.domain.ids import timestamp
from tradewire.domain.limits import MEMBERS_SHOWN
from tradewire.domain.packing import unpack_message
from tradewire.domain.types import Conversation

CROWDS = 1_000
CROWD_AGE_S = 600.0
"""How long it is remembered who joined a crowded conversation first; of these some may leave."""


class Glance(NamedTuple):
    """What an inbox has read of a conversation already.

    Attributes:
        unread: None when it was not counted.
    """

    seat: Seat
    newest: Newest | None
    unread: int | None = None


class Views:
    """Puts views together."""

    def __init__(self, engine: Engine, rooms: Rooms, history: History, unread: UnreadReads) -> None:
        self._engine = engine
        self._rooms = rooms
        self._history = history
        self._unread = unread
        self._founders = Founders(engine)

    async def view(
        self, tenant: str, user_id: str, conversation_id: str, now: int
    ) -> Conversation | None:
        """See ports.Conversations.view; nothing of it is remembered from before."""
        key = (tenant, conversation_id)
        current = current_window(self._rooms.peek(*key), now)
        (seated, newest), found = await both(
            both(
                seats(self._engine, tenant, user_id, [conversation_id]),
                self._history.newest(*key, None, current),
            ),
            self._fresh(tenant, user_id, conversation_id),
        )
        if found is None:
            return None
        room, members = found
        seat = seated.get(conversation_id)
        glance = None if seat is None else Glance(seat, newest)
        return await self._view(room, user_id, members, newest, glance, now)

    async def page(
        self, tenant: str, user_id: str, glances: Sequence[Glance], now: int
    ) -> list[Conversation]:
        """The conversations of a page; one that is gone meanwhile is left out."""
        views = await all_of([self._glimpsed(tenant, user_id, each, now) for each in glances])
        return [view for view in views if view is not None]

    async def _glimpsed(
        self, tenant: str, user_id: str, glance: Glance, now: int
    ) -> Conversation | None:
        room = await room_of_seat(self._rooms, tenant, glance.seat)
        if room is None:
            return None
        if room.crowded_at:
            rows = await self._founders.read(room, user_id)
        else:
            rows = await self._engine.rows("MEMBERS", tenant, room.conversation_id)
        members = members_of(rows, room.deleted_at)
        return await self._view(room, user_id, members, glance.newest, glance, now)

    async def _fresh(
        self, tenant: str, user_id: str, conversation_id: str
    ) -> tuple[Room, list[Markers]] | None:
        """A conversation as it is now, with its members; of a crowded one those that are shown."""
        known = self._rooms.peek(tenant, conversation_id)
        if known is not None and known.crowded_at:
            room = await self._rooms.read(tenant, conversation_id)
            rows = await self._founders.read(room, user_id) if room else []
        else:
            key = (tenant, conversation_id)
            row, rows = await both(
                self._engine.row("CONVERSATION", *key), self._engine.rows("MEMBERS", *key)
            )
            room = None if row is None else room_of(*key, row, rows)
        return None if room is None else (room, members_of(rows, room.deleted_at))

    async def _view(
        self,
        room: Room,
        user_id: str,
        members: list[Markers],
        newest: Newest | None,
        glance: Glance | None,
        now: int,
    ) -> Conversation:
        if newest is not None and newest.id <= room.deleted_at:
            newest = None
        view = room.conversation()
        shown = sorted(members, key=lambda each: (each.joined_at, each.user_id))[:MEMBERS_SHOWN]
        view.members = [each.member() for each in shown]
        if newest is not None:
            message = unpack_message(room.conversation_id, newest.id, newest.body)
            view.last_message = rules.as_of(message, now)
        if glance is not None:
            await self._add_own(view, room, user_id, members, newest, glance, now)
        return view

    async def _add_own(
        self,
        view: Conversation,
        room: Room,
        user_id: str,
        members: list[Markers],
        newest: Newest | None,
        glance: Glance,
        now: int,
    ) -> None:
        """Add what is the user's own."""
        seat, unread = glance.seat, glance.unread
        if unread is None:
            read = next((each.read for each in members if each.user_id == user_id), 0)
            last = newest.id if newest is not None else 0
            unread = (await self._unread.count(room, user_id, read, last, now)).unread
        view.unread_count = unread
        view.archived, view.pinned = seat.archived, seat.pinned
        if seat.muted_until > now:
            view.muted_until = timestamp(seat.muted_until)


class Founders:
    """The members of crowded conversations who joined first: remembered, since to find them all
    members are read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[tuple[str, str], tuple[float, list[str]]] = OrderedDict()

    async def read(self, room: Room, user_id: str) -> list[Row]:
        """The rows of these, and of one more user."""
        users = [*dict.fromkeys((*await self._users(room), user_id))]
        return await self._engine.rows("MEMBERS_OF", room.tenant, room.conversation_id, users)

    async def _users(self, room: Room) -> list[str]:
        key = (room.tenant, room.conversation_id)
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > now:
            return kept[1]
        users = await self._engine.once(("founders", *key), lambda: self._read(room))
        self._kept[key] = (now + CROWD_AGE_S, users)
        self._kept.move_to_end(key)
        while len(self._kept) > CROWDS:
            self._kept.popitem(last=False)
        return users

    async def _read(self, room: Room) -> list[str]:
        rows = await self._engine.rows("MEMBERS", room.tenant, room.conversation_id)
        members = [(row[2] or "", row[0]) for row in rows if row[1]]
        return [user_id for _, user_id in sorted(members)[:MEMBERS_SHOWN]]
