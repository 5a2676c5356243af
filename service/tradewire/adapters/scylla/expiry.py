"""Expired messages that are not deleted yet."""

from typing import Literal

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import DAY_MS, hour_of
from tradewire.adapters.scylla.loads import stored_message
from tradewire.adapters.scylla.requests import Row
from tradewire.adapters.scylla.rooms import Rooms

BACK_MS = 7 * DAY_MS
"""What expired longer ago, and was not deleted, stays as it is: it reads as deleted anyhow."""

SETTLED_MS = 120_000
"""What expired longer ago is in the list, whoever wrote it and whatever its clock."""

CHECKED = 2_000
"""Messages looked at in one call; the next one goes on."""

REMEMBERED = 100_000
HOURS = 24
CHUNK = 1_000

Due = tuple[str, str, int]
"""Tenant, conversation id, message id."""

State = Literal["due", "done", "unknown"]


class Turn:
    """One call.

    Attributes:
        seen: what was looked at.
        due: what is to be told, maybe more.
        end: up to which time all was looked at.
    """

    def __init__(self, now: int, limit: int) -> None:
        self.now = now
        self.limit = limit
        self.seen: set[Row] = set()
        self.due: list[Row] = []
        self.end = now

    @property
    def enough(self) -> bool:
        """Whether it may end."""
        return len(self.due) >= self.limit or len(self.seen) >= CHECKED


class Expiry:
    """Goes through the list of expiring messages, which is by the hour, from call to call.

    It remembers up to which time all are deleted, and which are after it.
    """

    def __init__(self, engine: Engine, rooms: Rooms) -> None:
        self._engine = engine
        self._rooms = rooms
        self._from: int | None = None
        self._deleted: set[Row] = set()

    async def expired(self, now: int, limit: int) -> list[Due]:
        """See ports.Messages.expired."""
        start = now - BACK_MS if self._from is None else self._from
        turn = Turn(now, limit)
        await self._look(turn, start)
        self._go_on(min([now - SETTLED_MS, turn.end, *(row[0] for row in turn.due[:1])]))
        return [(row[1], row[2], row[3]) for row in turn.due[:limit]]

    def _go_on(self, start: int) -> None:
        """Begin there the next time."""
        self._from = start
        self._deleted = {row for row in self._deleted if row[0] >= start}
        if len(self._deleted) > REMEMBERED:
            self._deleted.clear()

    async def _look(self, turn: Turn, start: int) -> None:
        """Go through the list from a time on."""
        hours = range(hour_of(start), hour_of(turn.now) + 1)
        for at in range(0, len(hours), HOURS):
            part = hours[at : at + HOURS]
            first = await all_of([self._rows(hour, start, turn.now, CHUNK) for hour in part])
            for hour, rows in zip(part, first, strict=True):
                await self._look_into(turn, hour, rows)
                if turn.enough:
                    return

    async def _look_into(self, turn: Turn, hour: int, rows: list[Row]) -> None:
        """Go through an hour, which begins with these rows."""
        size = CHUNK
        while True:
            await self._check(turn, rows)
            if turn.enough or len(rows) < size:
                return
            begin = rows[-1][0]
            # Many may expire at the same moment: so many more are asked for.
            size = size + CHUNK if rows[0][0] == begin else CHUNK
            rows = await self._rows(hour, begin, turn.now, size)

    async def _check(self, turn: Turn, rows: list[Row]) -> None:
        """Sort rows into what is due and what is done."""
        fresh = [row for row in rows if row not in turn.seen and row not in self._deleted]
        for at in range(0, len(fresh), turn.limit):
            part = fresh[at : at + turn.limit]
            states = await all_of([self._state(row, turn.now) for row in part])
            turn.seen.update(part)
            for row, state in zip(part, states, strict=True):
                if state == "due":
                    turn.due.append(row)
                elif state == "done":
                    self._deleted.add(row)
            if turn.enough:
                turn.end = part[-1][0]
                return

    async def _rows(self, hour: int, start: int, now: int, size: int) -> list[Row]:
        return await self._engine.rows("EXPIRATIONS", hour, max(start, 0), now, size)

    async def _state(self, row: Row, now: int) -> State:
        gone_at, tenant, conversation_id, message_id = row
        room = await self._rooms.get(tenant, conversation_id)
        if room is None:
            return "done"
        written = await stored_message(self._engine, room, message_id)
        if written is None:
            # It may not be there yet.
            return "done" if gone_at < now - SETTLED_MS else "unknown"
        return "done" if written.message.deleted else "due"
