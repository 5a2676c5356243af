"""Messages in order, across the windows of time that hold them."""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import NEWEST_BUCKET
from tradewire.adapters.scylla.requests import Row
from tradewire.adapters.scylla.rooms import Room
from tradewire.domain.ids import MAX_ID, TIME_SHIFT, id_at, id_ms
from tradewire.domain.limits import KEY_HOURS
from tradewire.domain.packing import unpack_message
from tradewire.domain.types import Message

WINDOWS = 16
"""Windows read side by side at most, where each holds little."""

AHEAD_MS = 60_000
"""How far ids may be ahead of this node's clock, and more."""

SKEW = 600_000 << TIME_SHIFT
"""How far ids of two nodes may lie apart that were issued one after the other, and much more."""

_KEY_MS = KEY_HOURS * 3_600_000
_FEW = 10

A = TypeVar("A")
B = TypeVar("B")


class Newest(NamedTuple):
    """The newest message of a conversation, as its row holds it."""

    id: int
    body: bytes


class History:
    """Reads stretches of messages."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def page(
        self, room: Room, bound: int, limit: int, *, descending: bool
    ) -> Sequence[Message]:
        """The first `limit` messages below `bound`, or above it, in that order.

        Whoever asks for the same meanwhile gets the same: they are not to be changed.
        """
        what = ("page", room.tenant, room.conversation_id, room.deleted_at, bound, limit)
        return await self._engine.once(
            (*what, descending), lambda: self._page(room, bound, limit, descending)
        )

    async def stretch(
        self, statement: str, room: Room, lower: int, upper: int, limit: int, *, descending: bool
    ) -> list[Row]:
        """The first `limit` rows that a statement finds between two ids, both exclusive; fewer
        only when there are no more.
        """
        found: list[Row] = []
        place = (room.tenant, room.conversation_id)
        walk = Windows(self._engine, room, lower, upper, descending=descending)
        while len(found) < limit and (windows := await walk.next()):
            asked = (lower, upper, limit - len(found))
            reads = [self._engine.rows(statement, *place, each, *asked) for each in windows]
            for rows in await all_of(reads):
                found += rows
        return found[:limit]

    async def newest(
        self, tenant: str, conversation_id: str, hint: int | None, current: int | None
    ) -> Newest | None:
        """The newest message.

        Args:
            hint: a window in which it may be.
            current: the window of the present moment, where that is known.
        """
        place = (tenant, conversation_id)
        if current is not None and hint in (None, current):
            found = await self._newest_in(*place, current)
            if found is not None:
                return found
            hint = None
        listed, newest = await both(
            self._engine.rows("BUCKETS", *place, NEWEST_BUCKET, 1), self._newest_in(*place, hint)
        )
        # A window is listed no later than its messages can be seen by those who were answered.
        if not listed or (newest is not None and listed[0][0] <= (hint or 0)):
            return newest
        bucket = listed[0][0]
        found = await self._newest_in(*place, bucket)
        return found if found is not None else await self._newest_below(*place, bucket)

    async def _newest_in(
        self, tenant: str, conversation_id: str, bucket: int | None
    ) -> Newest | None:
        if bucket is None:
            return None
        row = await self._engine.row("NEWEST_MESSAGE", tenant, conversation_id, bucket)
        if row is None or row[1] is None or row[2] is None:
            return None
        return Newest(row[0], row[2])

    async def _newest_below(self, tenant: str, conversation_id: str, bucket: int) -> Newest | None:
        """The same where a window is empty yet, or its newest row is but half there."""
        place = (tenant, conversation_id)
        while True:
            listed = await self._engine.rows("BUCKETS", *place, bucket, WINDOWS)
            for (each,) in listed:
                rows = await self._engine.rows("MESSAGES_BEFORE", *place, each, 0, MAX_ID, _FEW)
                for message_id, sender, body in rows:
                    if sender is not None and body is not None:
                        return Newest(message_id, body)
            if len(listed) < WINDOWS:
                return None
            bucket = listed[-1][0] - 1

    async def _page(
        self, room: Room, bound: int, limit: int, descending: bool
    ) -> Sequence[Message]:
        statement = "MESSAGES_BEFORE" if descending else "MESSAGES_AFTER"
        page: list[Message] = []
        while True:
            lower = room.deleted_at if descending else max(bound, room.deleted_at)
            upper = bound if descending else MAX_ID
            rows = await self.stretch(statement, room, lower, upper, limit, descending=descending)
            page = one_of_each_key([*page, *whole(room.conversation_id, rows)])
            if len(rows) < limit or len(page) >= limit:
                return page[:limit]
            bound = rows[-1][0]


class Windows:
    """The windows of a conversation that hold messages, from one id to another."""

    def __init__(
        self, engine: Engine, room: Room, lower: int, upper: int, *, descending: bool
    ) -> None:
        self._engine = engine
        self._place = (room.tenant, room.conversation_id)
        lower = max(lower, begin_of(room))
        first, last = room.bucket(lower), room.bucket(upper)
        self._near, self._far = (last, first) if descending else (first, last)
        self._step = -1 if descending else 1
        self._size = 1
        self._ended = lower >= upper
        # The window of an id that was issued in this conversation is looked into unasked.
        within = upper < MAX_ID if descending else lower > begin_of(room)
        self._unasked = within or first == last

    async def next(self) -> list[int]:
        """The nearest of them, more each time; none at the end."""
        if self._unasked and not self._ended:
            self._unasked = False
            windows = [self._near]
        elif self._ended:
            return []
        else:
            windows = await self._listed()
        if windows:
            self._near = windows[-1] + self._step
        if not self._lies_before(self._near):
            self._ended = True
        return windows

    async def _listed(self) -> list[int]:
        statement = "BUCKETS" if self._step < 0 else "BUCKETS_AFTER"
        rows = await self._engine.rows(statement, *self._place, self._near, self._size)
        windows = [bucket for (bucket,) in rows if self._lies_before(bucket)]
        self._ended = len(windows) < self._size
        self._size = min(2 * self._size, WINDOWS)
        return windows

    def _lies_before(self, bucket: int) -> bool:
        """Whether a window is none of those beyond the far end."""
        return (self._far - bucket) * self._step >= 0


def current_window(room: Room | None, now: int) -> int | None:
    """The window of the newest id that can be there; `now` in ms since 1970."""
    return None if room is None else room.bucket(id_at(now + AHEAD_MS))


def begin_of(room: Room) -> int:
    """An id below all that ever happened in a conversation."""
    return max(room.created - SKEW, room.deleted_at, 0)


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """The results of two, run side by side. Raises as `all_of` does."""
    found: list[Any] = await all_of((first, second))
    return found[0], found[1]


def whole(conversation_id: str, rows: Iterable[Row]) -> list[Message]:
    """The messages of rows; half a row is left out, as if it were not there."""
    return [
        unpack_message(conversation_id, message_id, body)
        for message_id, sender, body in rows
        if sender is not None and body is not None
    ]


def one_of_each_key(messages: Sequence[Message]) -> list[Message]:
    """Of two messages that two nodes stored under one key, only the last: it was sent again because
    nobody had acknowledged the first, which became visible late.
    """
    last: dict[tuple[str, str, str], int] = {}
    repeated: set[int] = set()
    keyed = [(message.id, message) for message in messages if message.key is not None]
    keyed.sort(key=lambda pair: -pair[0])
    for message_id, message in keyed:
        key = (message.conversation_id, message.sender_id, message.key or "")
        after = last.get(key)
        if after is not None and id_ms(after) - id_ms(message_id) <= _KEY_MS:
            repeated.add(message_id)
        else:
            last[key] = message_id
    if not repeated:
        return list(messages)
    return [message for message in messages if message.id not in repeated]
