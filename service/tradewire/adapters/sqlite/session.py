"""What the writes of a commit group share: the connection, what is remembered, the events."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.folder import BUSY_S
from tradewire.adapters.sqlite.keys import Keys
from tradewire.adapters.sqlite.tracked import NOBODY, Remembered, Tracked
from tradewire.domain.errors import NotFound
from tradewire.domain.outbox import domain_event
from tradewire.domain.packing import EventRow, event_row, pack_events
from tradewire.domain.writes import Write

_STEPS = 1_000
"""Steps of SQLite's machine between two looks at the clock: about 50 microseconds."""


class WriteSession:
    """The writer's view of the database; used by one thread at a time.

    Attributes:
        database: the one connection that writes.
        now_ms: milliseconds since 1970.
        keys: the idempotency keys.
    """

    def __init__(self, database: sqlite3.Connection, now_ms: Callable[[], int]) -> None:
        self.database = database
        self.now_ms = now_ms
        self.keys = Keys(database)
        self._remembered = Remembered(self._load)
        self._used: list[tuple[str, str]] = []
        self._events: list[EventRow] = []
        self._newest = 0
        self._waits = BUSY_S

    def tracked(self, tenant: str, conversation_id: str) -> Tracked:
        """A conversation by its id.

        Raises:
            NotFound: there is none.
        """
        self._used.append((tenant, conversation_id))
        return self._remembered.get(tenant, conversation_id)

    def find(self, tenant: str, conversation_id: str) -> Tracked | None:
        """A conversation by its id, if there is one."""
        try:
            return self.tracked(tenant, conversation_id)
        except NotFound:
            return None

    def forget(self, tenant: str, conversation_id: str) -> None:
        """Read a conversation again: it was made or deleted."""
        self._remembered.forget(tenant, conversation_id)

    def change(
        self, tracked: Tracked, change_id: int, kind: str, subject: str = "", detail: str = ""
    ) -> None:
        """Record what the members of a conversation must hear on resume."""
        self.database.execute(sql.ADD_CHANGE, (tracked.number, change_id, kind, subject, detail))
        self.move(tracked, change_id)

    def move(self, tracked: Tracked, change_id: int) -> None:
        """Make resume look into a conversation."""
        if not tracked.move(change_id):
            return
        if tracked.crowded:
            self.database.execute(sql.MARK_CROWDED, (tracked.moved, tracked.number))
            tracked.unmarked = NOBODY
        else:
            self.database.execute(sql.MOVE, (tracked.moved, tracked.number))

    def record(self, write: Write, result: Any) -> None:
        """Take a write that took effect into the outbox, as an event or just by its id."""
        event = domain_event(write, result)
        if event is not None:
            self.record_event(event_row(event))
        else:
            self._newest = max(self._newest, getattr(write, "change_id", 0))

    def record_event(self, row: EventRow) -> None:
        """Take an event into the outbox."""
        self._events.append(row)
        self._newest = max(self._newest, row[0])

    def begin(self, deadline: float | None) -> None:
        """Begin the transaction of a commit group.

        With a deadline (of time.monotonic) no lock is waited for, and what runs past it fails.
        """
        self._used.clear()
        self._events.clear()
        self._newest = 0
        # First: of a group that does not even begin, no key of the one before is undone.
        self.keys.begin()
        self.wait_for_locks(BUSY_S if deadline is None else 0)
        if deadline is not None:
            self.database.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        self.database.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        """Write the outbox row, the last of a group."""
        if self._newest:
            packed = pack_events(self._events)
            self.database.execute(sql.ADD_EVENTS, (self._newest, packed, self.keys.packed()))
            self.keys.file(self._newest)
        self.database.set_progress_handler(None, 0)

    def commit(self) -> None:
        """Make the group durable: it is when this returns."""
        self.database.execute("COMMIT")

    def undo(self) -> None:
        """End a transaction that failed; SQLite may have ended it already."""
        for each in self._used:
            self._remembered.forget(*each)
        self.keys.undo_group()
        self.database.set_progress_handler(None, 0)
        with suppress(sqlite3.Error):
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")

    def begin_unit(self) -> tuple[int, int, int, int]:
        """Begin what can be undone alone; what comes back is for `undo_unit`."""
        self.database.execute("SAVEPOINT unit")
        return len(self._events), self._newest, self.keys.added(), len(self._used)

    def end_unit(self) -> None:
        """Keep the effect of a unit."""
        self.database.execute("RELEASE unit")

    def undo_unit(self, begun: tuple[int, int, int, int]) -> None:
        """Undo the effect of a unit."""
        self.database.execute("ROLLBACK TO unit")
        self.database.execute("RELEASE unit")
        events, self._newest, keys, used = begun
        del self._events[events:]
        self.keys.undo(keys)
        for each in self._used[used:]:
            self._remembered.forget(*each)

    def wait_for_locks(self, seconds: float) -> None:
        """How long from now on to wait for a lock that another program holds."""
        if seconds != self._waits:
            self.database.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            self._waits = seconds

    def _load(self, tenant: str, conversation_id: str) -> Tracked:
        row = self.database.execute(sql.TRACK, (tenant, conversation_id)).fetchone()
        if row is None:
            raise NotFound(field="conversation_id")
        number, newest, members, activity, moved, hidden = row
        return Tracked(number, newest, members, activity, moved, hidden=bool(hidden))
