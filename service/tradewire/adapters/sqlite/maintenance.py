"""Keeps the write-ahead log short and removes what has outlived its time, beside the writer."""

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from threading import Event, Lock, Thread
from typing import Any

import structlog

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.journal import SqliteJournal
from tradewire.adapters.sqlite.keys import DAY_MS
from tradewire.adapters.sqlite.relay import relay_cursor
from tradewire.domain.ids import id_at
from tradewire.domain.limits import CHANGES_DAYS, REVOCATION_DAYS

CHECKPOINT_S = 1.0
"""Every 2 s, the disk was busy for long enough to hold up commits by 40 ms; every 0.25 s, for 2 %
of the time."""

SWEEP_S = 600.0
LOG_PAGES = 32_768
"""128 MiB of log: then the writer takes a turn to finish it, and it begins anew. Of 16 MiB, full
twice a second at 2,000 messages/s, one message in a hundred waited for such a turn.
"""

CHUNK = 500
HANDLED_DAYS = 7
OUTBOX_DAYS = 7
KEY_DAYS = 2

_TURN_S = 10.0

_log = structlog.get_logger(__name__)


class Maintenance:
    """A thread that checkpoints while the writer writes, and sweeps in small turns of the writer.

    It sleeps until something was written, or a sweep is due.

    Args:
        relayed: domain events that were not published are kept.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        journal: SqliteJournal,
        now_ms: Callable[[], int],
        *,
        relayed: bool,
    ) -> None:
        self._database = database
        self._journal = journal
        self._now_ms = now_ms
        self._relayed = relayed
        self._written = Event()
        self._stopping = Event()
        self._round = Lock()
        self._thread = Thread(target=self._run, name="tradewire maintenance", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something was written; from any thread."""
        if not self._written.is_set():
            self._written.set()

    def maintain(self) -> None:
        """One round: a checkpoint, then everything removed that has outlived its time."""
        with self._round:
            self._checkpoint()
            self._sweep()

    def close(self) -> None:
        """Stop, in the middle of a sweep if need be."""
        self._stopping.set()
        self._written.set()
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        next_sweep = time.monotonic() + SWEEP_S
        while not self._stopping.is_set():
            self._written.wait(max(next_sweep - time.monotonic(), 0))
            self._written.clear()
            self._stopping.wait(CHECKPOINT_S)
            try:
                with self._round:
                    self._checkpoint()
                    self._purge()
                    if time.monotonic() >= next_sweep:
                        next_sweep = time.monotonic() + SWEEP_S
                        self._sweep()
            except Exception:  # noqa: BLE001  # the next round may do better
                _log.exception("maintenance of the store failed")

    def _checkpoint(self) -> None:
        """Copy the log into the database while commits go on; a long one is ended by the writer.

        The log begins anew only if nothing was written since it was copied, so its end is copied
        between two commit groups.
        """
        _, pages, _ = self._database.execute(sql.CHECKPOINT).fetchone()
        if pages > LOG_PAGES:
            self._turn(lambda database: database.execute(sql.CHECKPOINT).fetchone())

    def _sweep(self) -> None:
        now = self._now_ms()
        changes = id_at(now - CHANGES_DAYS * DAY_MS)
        for statement, before in (
            (sql.SWEEP_KEYS, now // DAY_MS - KEY_DAYS),
            (sql.SWEEP_CHANGES, changes),
            (sql.SWEEP_USER_CHANGES, changes),
            (sql.SWEEP_HANDLED, now - HANDLED_DAYS * DAY_MS),
            (sql.SWEEP_TOKEN_REVOCATIONS, now - REVOCATION_DAYS * DAY_MS),
            (sql.SWEEP_OUTBOX, self._oldest_event(now)),
        ):
            self._remove(statement, before)
        self._purge()

    def _oldest_event(self, now: int) -> int:
        """The id from which on the outbox is kept."""
        oldest = id_at(now - OUTBOX_DAYS * DAY_MS)
        return min(oldest, relay_cursor(self._database)) if self._relayed else oldest

    def _purge(self) -> None:
        """Remove the rows of deleted conversations."""
        for (number,) in self._database.execute(sql.PURGES).fetchall():
            for statement in (sql.PURGE_MESSAGES, sql.PURGE_EDITS, sql.PURGE_CHANGES):
                self._remove(statement, number)
            if not self._stopping.is_set():
                self._turn(partial(_end_purge, number))

    def _remove(self, statement: str, bound: int) -> None:
        """Run a deletion until it finds nothing more, the writer's groups in between."""

        def turn(database: sqlite3.Connection) -> int:
            return database.execute(statement, (bound, CHUNK)).rowcount

        while not self._stopping.is_set() and self._turn(turn):
            pass

    def _turn(self, turn: Callable[[sqlite3.Connection], Any]) -> Any:
        return self._journal.take_turn(turn).result(_TURN_S)


def _end_purge(number: int, database: sqlite3.Connection) -> None:
    database.execute(sql.END_PURGE, (number,))
