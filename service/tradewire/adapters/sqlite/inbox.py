"""Pages of an inbox, read in the order of an index.

The order by last activity is by the newest message. Keeping an index right for every message
would double the cost of sending, so `activity` is exact only for conversations with one message
within the slot of their newest (16 s). With the second message it becomes the slot's last id, which
no message has: such a conversation is *open*, its newest message is looked up, and it takes its
place among the others of its slot.
"""

import base64
import heapq
import sqlite3
from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.rows import conversation_view
from tradewire.adapters.sqlite.tracked import SLOT_MASK
from tradewire.domain.errors import InvalidField
from tradewire.domain.ids import MAX_ID
from tradewire.domain.types import Conversation
from tradewire.ports import InboxPage, InboxQuery

VISITED = 2_000
"""Conversations looked at for one page; a filter that few pass gives shorter pages."""


class Place(Struct, order=True, frozen=True):
    """Where a conversation stands: the id that it is sorted by; whether the filters let it pass."""

    id: int
    number: int
    fits: bool


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode


def read_page(
    database: sqlite3.Connection, tenant: str, user_id: str, query: InboxQuery
) -> InboxPage:
    """A page of an inbox.

    Raises:
        InvalidField: the cursor is none of this query's.
    """
    page: list[int] = []
    cursor, last = None, 0
    for visited, place in enumerate(_places(database, tenant, user_id, query)):
        if len(page) == query.limit or visited == VISITED:
            cursor = _encode_cursor(query, last)
            break
        last = place.id
        if place.fits:
            page.append(place.number)
    return InboxPage(read_views(database, user_id, page, query.now), cursor)


def read_views(
    database: sqlite3.Connection, user_id: str, numbers: list[int], now: int
) -> list[Conversation]:
    """Conversations as a user sees them, in the order of their numbers here."""
    if not numbers:
        return []
    asked = {"numbers": msgspec.json.encode(numbers).decode(), "user_id": user_id, "now": now}
    found = {row[0]: conversation_view(row, now) for row in database.execute(sql.VIEWS, asked)}
    return [found[number] for number in numbers if number in found]


def _places(
    database: sqlite3.Connection, tenant: str, user_id: str, query: InboxQuery
) -> Iterator[Place]:
    """The user's conversations beyond the cursor, in order; read as they are taken."""
    archived = (False, True) if query.archived is None else (query.archived,)
    walks = [_Walk(database, tenant, user_id, query, side).places() for side in archived]
    return heapq.merge(*walks, reverse=query.descending)


class _Walk:
    """One way along an index: through the archived conversations, or the others."""

    def __init__(
        self,
        database: sqlite3.Connection,
        tenant: str,
        user_id: str,
        query: InboxQuery,
        archived: bool,
    ) -> None:
        self._database = database
        self._query = query
        self._parameters = {
            "tenant": tenant,
            "user_id": user_id,
            "archived": archived,
            "now": query.now,
            "muted": query.muted,
            "status": query.status,
            "listing_id": query.listing_id,
            "unread": query.unread,
        }

    def places(self) -> Iterator[Place]:
        """The conversations beyond the query's cursor, in order."""
        query = self._query
        start = _decode_cursor(query) if query.cursor is not None else None
        if query.sort == "created_at":
            beyond = start if start is not None else MAX_ID if query.descending else 0
            return (place for _, place in self._rows(beyond, "<" if query.descending else ">"))
        return self._descend(start) if query.descending else self._ascend(start or 0)

    def _descend(self, start: int | None) -> Iterator[Place]:
        """Newest first: the open ones of a slot are met before its others, and wait."""
        waiting: list[tuple[int, Place]] = []
        rows = self._rows(MAX_ID if start is None else start, "<")
        if start is not None:
            opened = self._rows(start | SLOT_MASK, "=")
            rows = chain((row for row in opened if row[1].id < start), rows)
        for activity, place in rows:
            while waiting and waiting[0][1].id > activity:
                yield heapq.heappop(waiting)[1]
            if _is_open(activity):
                heapq.heappush(waiting, (-place.id, place))
            else:
                yield place
        yield from (place for _, place in sorted(waiting))

    def _ascend(self, start: int) -> Iterator[Place]:
        """Oldest first: the open ones of a slot stand after its others, and are read ahead."""
        slot_end, waiting = -1, list[Place]()
        for activity, place in self._rows(start, ">"):
            if activity | SLOT_MASK != slot_end:
                yield from waiting
                slot_end = activity | SLOT_MASK
                opened = (found for _, found in self._rows(slot_end, "="))
                waiting = sorted(found for found in opened if found.id > start)
            if _is_open(activity):
                continue
            while waiting and waiting[0].id < activity:
                yield waiting.pop(0)
            yield place
        yield from waiting

    def _rows(self, start: int, compare: str) -> Iterator[tuple[int, Place]]:
        query = self._query
        statement = sql.inbox_walk(
            query.sort,
            compare,
            listing=query.listing_id is not None,
            unread=query.unread is True,
        )
        for row in self._database.execute(statement, {**self._parameters, "start": start}):
            activity, number, fits, newest = row
            yield activity, Place(newest or activity, number, bool(fits))


def _is_open(activity: int) -> bool:
    return activity & SLOT_MASK == SLOT_MASK


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


def _encode_cursor(query: InboxQuery, place: int) -> str:
    return base64.urlsafe_b64encode(_encode([place, *_shape(query)])).decode()


def _decode_cursor(query: InboxQuery) -> int:
    try:
        place, *shape = _decode(base64.urlsafe_b64decode(query.cursor or ""))
    except (ValueError, msgspec.MsgspecError):
        place, shape = None, []
    if not isinstance(place, int) or not 0 <= place <= MAX_ID or shape != _shape(query):
        raise InvalidField("This is no cursor of such a query.", field="cursor")
    return place
