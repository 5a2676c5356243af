"""Reads: on the loop while they are short, else in a few threads, each with its connection."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import structlog

from tradewire.domain.errors import Overloaded, TradewireError, Unavailable
from tradewire.handover import Handover

T = TypeVar("T")

THREADS = 2
READS_WAITING = 1_000
DEADLINE_S = 5.0

SHORT_S = 0.002
"""What a read may take on the loop before a thread begins it anew."""

SLOW_S = 0.005
"""A read on the loop that took longer has waited for the disk."""

APART_S = 1.0
"""For how long after it all reads go to the threads."""

_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock, about a millisecond."""

_log = structlog.get_logger(__name__)

Outcome = tuple[Any, Exception | None]
Job = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]", float]


class Readers:
    """Runs reads; each sees all that was committed before it began.

    The usual one is short and runs on the loop: to hand it to a thread and back costs twice what it
    takes itself, for threads share the interpreter's lock (docs/decisions/0011). Reads that wait
    for the disk there hold up the loop once a second at most.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        handover: Handover,
        threads: int = THREADS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handover = handover
        self._now = now
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting = 0
        self._closed = False
        self._apart_until = 0.0
        self._own, *others = self._connections = [connect() for _ in range(1 + threads)]
        self._threads = [
            Thread(target=self._run, args=(database,), name=f"tradewire reader {n}", daemon=True)
            for n, database in enumerate(others)
        ]
        for thread in self._threads:
            thread.start()

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `job`, run on one snapshot of the database.

        It may run twice: on the loop, and, if that takes too long, in a thread.

        Raises:
            Overloaded: too many reads wait.
            Unavailable: the engine failed, did not answer within 5 s, or is closed.
        """
        began = self._now()
        if self._closed or began < self._apart_until:
            return await self.read_apart(job)
        result: T
        result, error = _outcome(self._own, job, began + SHORT_S, self._now)
        if self._now() - began > SLOW_S:
            self._apart_until = began + APART_S
        if _cut_off(error):
            return await self.read_apart(job)
        # Whoever asks for much at once lets the others have their turn.
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return result

    async def read_apart(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The same for a job that may be long: in a thread."""
        if self._closed:
            raise Unavailable("The store is closed.")
        if self._waiting >= READS_WAITING:
            raise Overloaded
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting += 1
        self._queue.put((job, answer, self._now() + DEADLINE_S))
        return await answer

    def trace(self, on_statement: Callable[[str], None] | None) -> None:
        """Call this with each statement that a reader begins; None ends it."""
        for database in self._connections:
            database.set_trace_callback(on_statement)

    async def close(self) -> None:
        """Finish the reads that wait, then stop."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        for database in self._connections:
            database.close()

    def _run(self, database: sqlite3.Connection) -> None:
        while (item := self._queue.get()) is not None:
            job, answer, deadline = item
            outcome: Outcome = (None, Unavailable())
            if self._now() <= deadline:
                outcome = _outcome(database, job, deadline, self._now)
            self._handover.give(self._settle, (answer, *outcome))

    def _settle(self, settled: "tuple[asyncio.Future[Any], Any, Exception | None]") -> None:
        answer, result, error = settled
        self._waiting -= 1
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)


def _outcome(
    database: sqlite3.Connection,
    job: Callable[[sqlite3.Connection], Any],
    deadline: float,
    now: Callable[[], float],
) -> Outcome:
    try:
        database.execute("BEGIN")
        # Not before: a BEGIN that is cut off has begun all the same.
        database.set_progress_handler(lambda: now() > deadline, _STEPS)
        try:
            return job(database), None
        finally:
            database.set_progress_handler(None, 0)
            database.execute("ROLLBACK")
    except TradewireError as error:
        return None, error
    except Exception as error:  # noqa: BLE001  # the caller is owed an answer
        failed = Unavailable()
        failed.__cause__ = error
        if not _cut_off(failed):
            _log.exception("a read failed")
        return None, failed


def _cut_off(error: Exception | None) -> bool:
    """Whether a read failed because its time was over."""
    cause = None if error is None else error.__cause__
    return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
