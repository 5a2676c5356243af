"""The outbox: a row a commit group, in partitions (slices) of bounded size; read over all runs."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from msgspec import Struct

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.domain.ids import MAX_ID
from tradewire.domain.outbox import DomainEvent
from tradewire.domain.packing import EventRow, events_of, unpack_events
from tradewire.domain.types import Message

SLICE_BYTES = 32 << 20
SLICE_ROWS = 20_000
ROWS_READ = 16
"""Groups read at a time of one run."""

KEPT_BYTES = 4 << 20
"""Of events that this node wrote, packed, that it need not read again to publish them: some seconds
of full load. Their messages are kept with them, which takes twice as much again.
"""


class RunRow(Struct, frozen=True):
    """A run as it is registered.

    Attributes:
        run: its id, issued when it began.
        horizon: no event with an id up to it will still appear in it.
        newest: the last batch that holds events up to the horizon.
        finished: the last batch of a run that is over, None as long as it is not.
    """

    run: int
    node: int
    owner: str
    horizon: int
    newest: int
    finished: int | None


async def registered(engine: Engine, cell: str) -> list[RunRow]:
    """All runs of a cell."""
    return [
        RunRow(run, node, owner, horizon or run, newest or 0, finished)
        for run, node, owner, horizon, finished, newest in await engine.rows("RUNS", cell)
        if node is not None
    ]


class Outbox:
    """The part of one run that writes."""

    def __init__(self, engine: Engine, run: int) -> None:
        self._engine = engine
        self._run = run
        self._slice = 0
        self._rows = 0
        self._bytes = 0

    async def add(self, batch_id: int, events: bytes, redo: bytes) -> int:
        """Write a group's row; adding it again is harmless, as long as no other was added since.

        Returns:
            The slice that it is in.

        Raises:
            Unavailable, Overloaded: it may be there or not.
        """
        if not self._slice or self._rows >= SLICE_ROWS or self._bytes >= SLICE_BYTES:
            await self._engine.rows("ADD_SLICE", self._run, batch_id)
            self._slice, self._rows, self._bytes = batch_id, 0, 0
        await self._engine.rows("ADD_BATCH", self._run, self._slice, batch_id, events, redo)
        # Not before: tried again, it must go to the same slice.
        self._rows += 1
        self._bytes += len(events) + len(redo)
        return self._slice


async def last_batches(engine: Engine, run: int, count: int) -> list[tuple[int, int, bytes, bytes]]:
    """The last rows of a run, the oldest first: slice, batch id, events, redo."""
    slices = sorted((row[0] for row in await engine.rows("SLICES", run)), reverse=True)
    found: list[tuple[int, int, bytes, bytes]] = []
    # Four of the greatest rows fill a slice, and the last one may have been listed without any.
    for slice_ in slices:
        before = MAX_ID
        # One by one: together they may be too much for one answer.
        while len(found) < count and (row := await engine.row("LAST_BATCH", run, slice_, before)):
            found.append((slice_, *row))
            before = row[0]
    return sorted(found)


class KeptBatch(NamedTuple):
    """The events of a batch; `size` of their bytes in the outbox, `sent` its new messages by id."""

    batch_id: int
    size: int
    rows: list[EventRow]
    sent: dict[int, Message]


class KeptEvents:
    """The events that this node's run wrote last, batch by batch, without a gap.

    Attributes:
        run: whose they are, 0 for none.
        since: the events of every later batch of the run are kept.
    """

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, run: int) -> None:
        """Keep what a run will write; 0: nothing."""
        self.run = run
        self.since = 0
        self._newest = 0
        self._batches: deque[KeptBatch] = deque()
        self._bytes = 0

    def add(self, run: int, batch: KeptBatch) -> None:
        """Keep the next batch, which is in the outbox."""
        if run != self.run:
            return
        self._newest = batch.batch_id
        if batch.rows:
            self._batches.append(batch)
            self._bytes += batch.size
        while self._bytes > KEPT_BYTES:
            dropped = self._batches.popleft()
            self.since = dropped.batch_id
            self._bytes -= dropped.size

    def forget(self, batch_id: int) -> None:
        """Keep nothing so far: what this batch holds may change, or never be told."""
        self.since = self._newest = max(self._newest, batch_id)
        self._batches.clear()
        self._bytes = 0

    def after(self, after: int) -> Iterator[tuple[int, list[DomainEvent]]]:
        """The batches with a greater id than this, which is `since` at least, and their events, in
        no order.
        """
        younger = takewhile(lambda batch: batch.batch_id > after, reversed(self._batches))
        for batch in reversed(list(younger)):
            yield batch.batch_id, events_of(batch.rows, batch.sent)


class EventLog:
    """Reads the domain events of all runs of a cell, in the order of ids.

    Args:
        own: the run of this node, up to which id its events are all there, and its last batch.
        kept: those of its events that need not be read.
    """

    def __init__(
        self,
        engine: Engine,
        cell: str,
        own: Callable[[], tuple[int, int, int]],
        kept: KeptEvents,
    ) -> None:
        self._engine = engine
        self._cell = cell
        self._own = own
        self._kept = kept

    async def read(self, after: int, limit: int) -> list[DomainEvent]:
        """Events with ids above `after`; none beyond the horizon of any run."""
        run, horizon, newest = self._own()
        runs = await registered(self._engine, self._cell)
        for each in runs:
            if each.finished is None and each.run != run:
                horizon = min(horizon, each.horizon)
        ends = {each.run: each.newest if each.finished is None else each.finished for each in runs}
        ends[run] = newest
        relevant = [each for each in runs if ends[each.run] > after]
        parts = await all_of([self._of_run(each, after, limit) for each in relevant])
        # A run that holds more than was read bounds what may be told of the others.
        horizon = min([horizon, *(end for _, end in parts)])
        events = sorted(
            (event for found, _ in parts for event in found if event.id <= horizon),
            key=lambda event: event.id,
        )
        return events[:limit]

    async def _of_run(
        self, run: RunRow, after: int, limit: int
    ) -> tuple[Sequence[DomainEvent], int]:
        """The oldest events of a run, at least `limit` if it has them; up to which id."""
        own = run.run == self._kept.run and run.finished is None
        if own and after >= self._kept.since:
            return self._of_own(after, limit)
        found: list[DomainEvent] = []
        end = MAX_ID if run.finished is None else run.finished
        for slice_ in await self._slices(run.run, after):
            place = after
            while rows := await self._rows(run.run, slice_, place):
                for batch_id, events in rows:
                    if batch_id > end:
                        return found, MAX_ID
                    place = batch_id
                    found += [each for each in unpack_events(events) if each.id > after]
                if len(found) >= limit:
                    return found, place
        return found, MAX_ID

    def _of_own(self, after: int, limit: int) -> tuple[Sequence[DomainEvent], int]:
        """The same of the run whose events are kept."""
        found: list[DomainEvent] = []
        for batch_id, events in self._kept.after(after):
            found += [each for each in events if each.id > after]
            if len(found) >= limit:
                return found, batch_id
        return found, MAX_ID

    async def _slices(self, run: int, after: int) -> list[int]:
        """The slices that may hold something above an id."""
        slices = sorted(row[0] for row in await self._engine.rows("SLICES", run))
        older = [slice_ for slice_ in slices if slice_ <= after]
        return older[-1:] + slices[len(older) :]

    async def _rows(self, run: int, slice_: int, after: int) -> list[tuple[Any, ...]]:
        return await self._engine.rows("BATCHES", run, slice_, after, ROWS_READ)
