"""The log of commit groups: whatever gathered while the last group was made durable is the next."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import structlog
from msgspec import Struct

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.folder import BUSY_S
from tradewire.adapters.sqlite.group import CommitGroups, Outcome
from tradewire.adapters.sqlite.readers import APART_S, Readers
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.domain.errors import Overloaded, TradewireError, Unavailable
from tradewire.domain.outbox import DomainEvent
from tradewire.domain.packing import unpack_events
from tradewire.domain.writes import Unit
from tradewire.handover import Handover

UNITS_IN_FLIGHT = 10_000
GROUP_UNITS = 1_000

APPLY_S, APPLY_UNIT_S = 0.01, 0.0001
"""What a group, and each unit of it, may take on the loop: several times what it takes there."""

_log = structlog.get_logger(__name__)

T = TypeVar("T")

Done = Callable[[Sequence[Any] | TradewireError], None]
Turn = Callable[[], None]
OnGroup = Callable[[int, float], None]
"""Hears of every commit group: its units, and the seconds it took."""


class Group(Struct, eq=False):
    """Units that are committed together; `outcomes` is None until they are applied."""

    units: list[tuple[Unit, Done]]
    begun: float
    outcomes: list[Outcome] | None = None


class SqliteJournal:
    """See ports.Journal.

    A group is applied on the loop, since its statements work in memory and a thread would share the
    interpreter's lock with the loop at each of them (docs/decisions/0011); a thread makes it
    durable while the next one gathers. What takes too long on the loop, or fails there, is
    undone and left to the thread, which waits for locks and disks; for a second, so are all.
    """

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
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Unit, Done] | Turn] = deque()
        self._working = False
        self._apart_until = 0.0
        self._in_flight = 0
        self._closed = False
        self._work: SimpleQueue[Group | Turn | None] = SimpleQueue()
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
        self._add((unit, done))

    async def events(self, after: int, limit: int) -> list[DomainEvent]:
        return await self._readers.read_apart(lambda database: _events(database, after, limit))

    async def newest_id(self) -> int:
        return await self._readers.read_apart(_newest_id)

    def take_turn(self, turn: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Have the writer's thread run this between two groups; from any thread.

        Raises:
            Unavailable: the store is closed.
        """
        if self._closed:
            raise Unavailable("The store is closed.")
        result: Future[T] = Future()

        def run() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                self._session.wait_for_locks(BUSY_S)
                result.set_result(turn(self._session.database))
            except Exception as error:  # noqa: BLE001  # the writer must live on
                result.set_exception(error)

        self._loop.call_soon_threadsafe(self._add, run)
        return result

    async def close(self) -> None:
        """Finish the units in flight and stop the writer."""
        self._closed = True
        self._add(self._stop)
        await asyncio.to_thread(self._thread.join)

    def _stop(self) -> None:
        self._work.put(None)

    # --- on the loop ------------------------------------------------------------------------------

    def _add(self, item: tuple[Unit, Done] | Turn) -> None:
        self._waiting.append(item)
        if not self._working:
            self._working = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Begin the next turn or group, if one waits; its end calls this again."""
        if not self._waiting:
            self._working = False
            return
        first = self._waiting[0]
        if isinstance(first, tuple):
            self._begin(Group(self._gather(), time.perf_counter()))
        else:
            self._waiting.popleft()
            self._work.put(first)

    def _gather(self) -> list[tuple[Unit, Done]]:
        """The units that wait, up to the next turn or a full group."""
        units: list[tuple[Unit, Done]] = []
        waiting = self._waiting
        while waiting and len(units) < self._group_units:
            item = waiting[0]
            if not isinstance(item, tuple):
                break
            units.append(item)
            waiting.popleft()
        return units

    def _begin(self, group: Group) -> None:
        now = time.monotonic()
        if now >= self._apart_until:
            deadline = now + APPLY_S + len(group.units) * APPLY_UNIT_S
            with suppress(Exception):  # It is the thread's then, which will tell.
                group.outcomes = self._groups.apply(_units(group), deadline)
            now = time.monotonic()
            if group.outcomes is None or now > deadline:
                self._apart_until = now + APART_S
        self._work.put(group)

    def _ended(self, group: Group | None) -> None:
        """The thread is free again: the next one first, for it has the disk to wait for."""
        self._go_on()
        if group is None:
            return
        assert group.outcomes is not None
        for (_, done), outcome in zip(group.units, group.outcomes, strict=True):
            self._in_flight -= 1
            try:
                done(outcome)
            except Exception:  # noqa: BLE001  # the others are owed their outcomes
                _log.exception("the outcome of a unit could not be taken")
        self._on_group(len(group.units), time.perf_counter() - group.begun)

    # --- in the writer's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            if isinstance(work, Group):
                self._commit(work)
                self._handover.give(self._ended, work)
            else:
                work()
                self._handover.give(self._ended, None)
        self._session.database.close()

    def _commit(self, group: Group) -> None:
        try:
            if group.outcomes is None:
                group.outcomes = self._groups.apply(_units(group))
            self._groups.commit()
        except Exception as error:  # noqa: BLE001  # the writer must live on
            _log.exception("a commit group failed", units=len(group.units))
            group.outcomes = [_unavailable(error) for _ in group.units]


def _units(group: Group) -> list[Unit]:
    return [unit for unit, _ in group.units]


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
