"""Walks along the activity of a user, or of a user about a listing: slot by slot, whole slots."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import NEWEST_SLOT, PERIOD_SHIFT, period_of
from tradewire.adapters.scylla.requests import Row

ROWS = 250
"""Rows read at a time of a period; a slot with as many is crowded, and read in parts."""

LISTED = 32
SIDE_BY_SIDE = 16
"""Periods read at once at most, where each holds little."""


class Group(NamedTuple):
    """The conversations of a slot, each with the window of its messages (None: only changes).

    Attributes:
        after: of a crowded slot, this is the part after this conversation id.
        last: whether nothing follows in this slot.
    """

    slot: int
    rows: list[tuple[str, int | None]]
    after: str = ""
    last: bool = True


class Slots:
    """One walk from a slot on, down to `end` or upwards.

    Attributes:
        rows: how many were read so far.
        ended: there is nothing more.
    """

    def __init__(
        self,
        engine: Engine,
        tenant: str,
        scope: str,
        slot: int,
        *,
        descending: bool,
        after: str = "",
        end: int = 0,
        size: int = ROWS,
    ) -> None:
        self._engine = engine
        self._place = (tenant, scope)
        self._slot = slot
        self._step = -1 if descending else 1
        self._end = end
        self._size = size
        self._crowded: tuple[int, str] | None = (slot, after) if after else None
        self._periods: list[int] = []
        self._all_listed = False
        self._width = 1
        self.rows = 0
        self.ended = False

    async def next(self) -> list[Group]:
        """The next groups; none only when the walk has ended."""
        while not self.ended:
            groups = await self._part() if self._crowded else await self._stretch()
            if groups:
                return groups
        return []

    async def _part(self) -> list[Group]:
        """The next part of a crowded slot."""
        assert self._crowded is not None
        slot, after = self._crowded
        place = (*self._place, period_of(slot), slot)
        rows = await self._engine.rows("SLOT_AFTER", *place, after, self._size)
        self.rows += len(rows)
        last = len(rows) < self._size
        self._crowded = None if last else (slot, rows[-1][1])
        if last:
            self._go_on(slot + self._step)
        return [Group(slot, [row[1:] for row in rows], after, last)]

    async def _stretch(self) -> list[Group]:
        """The slots of the next periods, as far as they are read whole."""
        periods = await self._next_periods()
        if not periods:
            self.ended = True
            return []
        statement = "ACTIVITY" if self._step < 0 else "ACTIVITY_AFTER"
        reads = [
            self._engine.rows(statement, *self._place, period, self._slot, self._size)
            for period in periods
        ]
        groups: list[Group] = []
        for period, rows in zip(periods, await all_of(reads), strict=True):
            self.rows += len(rows)
            groups += self._whole(rows)
            if len(rows) >= self._size or self.ended:
                self._width = 1
                break
            self._go_on(self._behind(period))
        else:
            self._width = min(2 * self._width, SIDE_BY_SIDE)
        return groups

    def _whole(self, rows: list[Row]) -> Iterator[Group]:
        """The slots of a period's rows; the last of a full answer may go on, and waits."""
        full = len(rows) >= self._size
        last = rows[-1][0] if full else None
        for slot, same in groupby(rows, key=lambda row: int(row[0])):
            if slot < self._end:
                self.ended = True
                return
            if slot == last:
                self._slot = slot
                if slot == rows[0][0]:
                    self._crowded = (slot, "")
                return
            yield Group(slot, [row[1:] for row in same])

    async def _next_periods(self) -> list[int]:
        """The next of those that hold rows."""
        if not self._periods and not self._all_listed:
            await self._list()
        return self._periods[: self._width]

    async def _list(self) -> None:
        statement = "PERIODS" if self._step < 0 else "PERIODS_AFTER"
        listed = await self._engine.rows(statement, *self._place, period_of(self._slot), LISTED)
        self._all_listed = len(listed) < LISTED
        self._periods = [each for (each,) in listed]
        self._go_on(self._slot)

    def _go_on(self, slot: int) -> None:
        """Go on at a slot: what lies before it is done."""
        self._slot = slot
        period = period_of(slot)
        self._periods = [
            each
            for each in self._periods
            if (each - period) * self._step >= 0 and each >= period_of(self._end)
        ]
        over = not self._end <= slot <= NEWEST_SLOT
        self.ended = over or (self._all_listed and not self._periods)

    def _behind(self, period: int) -> int:
        """The first slot after a period, in the direction of the walk."""
        first = period << PERIOD_SHIFT
        return first - 1 if self._step < 0 else first + (1 << PERIOD_SHIFT)
