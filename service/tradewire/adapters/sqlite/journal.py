"""The writer: one thread that commits whatever has gathered while the last group was written."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import structlog

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.group import CommitGroups, Outcome
from tradewire.adapters.sqlite.readers import Readers
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.domain.errors import Overloaded, TradewireError, Unavailable
from tradewire.domain.outbox import DomainEvent
from tradewire.domain.packing import unpack_events
from tradewire.domain.writes import Unit
from tradewire.handover import Handover

UNITS_IN_FLIGHT = 10_000
GROUP_UNITS = 1_000

_log = structlog.get_logger(__name__)

T = TypeVar("T")

Done = Callable[[Sequence[Any] | TradewireError], None]
Turn = Callable[[], None]
OnGroup = Callable[[int, float], None]
"""Hears from the writer of every commit group: its units, and the seconds it took."""


class SqliteJournal:
    """See ports.Journal."""

    def __init__(
        self,
        session: WriteSession,
        readers: Readers,
        handover: Handover,
        on_group: OnGroup,
        group_units: int,
    ) -> None:
        self._session = session
        self._groups = CommitGroups(session)
        self._readers = readers
        self._handover = handover
        self._on_group = on_group
        self._group_units = group_units
        self._in_flight = 0
        self._closed = False
        self._running = True
        self._queue: SimpleQueue[tuple[Unit, Done] | Turn] = SimpleQueue()
        self._thread = Thread(target=self._run, name="tradewire writer", daemon=True)
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """Units that were appended and are not done."""
        return self._in_flight

    def append(self, unit: Unit, done: Done) -> None:
        if self._closed:
            raise Unavailable("The store is closed.")
        if self._in_flight >= UNITS_IN_FLIGHT:
            raise Overloaded
        self._in_flight += 1
        self._queue.put((unit, done))

    async def events(self, after: int, limit: int) -> list[DomainEvent]:
        return await self._readers.read_apart(lambda database: _events(database, after, limit))

    async def newest_id(self) -> int:
        return await self._readers.read_apart(_newest_id)

    def take_turn(self, turn: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Have the writer run this between two groups; from any thread."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(turn(self._session.database))
            except Exception as error:  # noqa: BLE001  # the writer must live on
                result.set_exception(error)

        self._queue.put(run)
        return result

    async def close(self) -> None:
        """Finish the units in flight and stop the writer."""
        self._closed = True
        self._queue.put(self._stop)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while self._running:
            group, turn = self._gather()
            if group:
                self._commit(group)
            if turn is not None:
                turn()
        self._session.database.close()

    def _stop(self) -> None:
        self._running = False

    def _gather(self) -> tuple[list[tuple[Unit, Done]], Turn | None]:
        """Wait for work, then take all that is there, up to the next turn or a full group."""
        group: list[tuple[Unit, Done]] = []
        item = self._queue.get()
        while isinstance(item, tuple):
            group.append(item)
            if len(group) == self._group_units or self._queue.empty():
                return group, None
            item = self._queue.get_nowait()
        return group, item

    def _commit(self, group: list[tuple[Unit, Done]]) -> None:
        started = time.perf_counter()
        outcomes: list[Outcome]
        try:
            outcomes = self._groups.commit([unit for unit, _ in group])
        except Exception as error:  # noqa: BLE001  # the writer must live on
            _log.exception("a commit group failed", units=len(group))
            outcomes = [_unavailable(error) for _ in group]
        self._handover.give(self._settle, zip(group, outcomes, strict=True))
        self._on_group(len(group), time.perf_counter() - started)

    def _settle(self, unit: tuple[tuple[Unit, Done], Outcome]) -> None:
        (_, done), outcome = unit
        self._in_flight -= 1
        done(outcome)


def _unavailable(cause: Exception) -> Unavailable:
    error = Unavailable()
    error.__cause__ = cause
    return error


def _events(database: sqlite3.Connection, after: int, limit: int) -> list[DomainEvent]:
    found: list[DomainEvent] = []
    for (packed,) in database.execute(sql.EVENTS, (after,)):
        found += [event for event in unpack_events(packed) if event.id > after]
        if len(found) >= limit:
            break
    return found[:limit]


def _newest_id(database: sqlite3.Connection) -> int:
    newest: int = database.execute(sql.NEWEST_ID).fetchone()[0]
    return newest
