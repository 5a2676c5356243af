"""Reads: a few threads, each with a connection of its own, beside the writer."""

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

_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock, about a millisecond."""

_log = structlog.get_logger(__name__)

Job = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]", float]


class Readers:
    """Runs reads off the loop; each sees all that was committed before it began."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], handover: Handover, threads: int = THREADS
    ) -> None:
        self._handover = handover
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting = 0
        self._connections = [connect() for _ in range(threads)]
        self._threads = [
            Thread(target=self._run, args=(database,), name=f"tradewire reader {n}", daemon=True)
            for n, database in enumerate(self._connections)
        ]
        for thread in self._threads:
            thread.start()

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `job`, run on one snapshot of the database.

        Raises:
            Overloaded: too many reads wait.
            Unavailable: the engine failed, or did not answer within 5 s.
        """
        if self._waiting >= READS_WAITING:
            raise Overloaded
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting += 1
        self._queue.put((job, answer, time.monotonic() + DEADLINE_S))
        return await answer

    def trace(self, on_statement: Callable[[str], None] | None) -> None:
        """Call this with each statement that a reader begins; None ends it."""
        for database in self._connections:
            database.set_trace_callback(on_statement)

    async def close(self) -> None:
        """Finish the reads that wait, then stop."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _run(self, database: sqlite3.Connection) -> None:
        while (item := self._queue.get()) is not None:
            job, answer, deadline = item
            self._handover.give(self._settle, [(answer, *_outcome(database, job, deadline))])
        database.close()

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
    database: sqlite3.Connection, job: Callable[[sqlite3.Connection], Any], deadline: float
) -> tuple[Any, Exception | None]:
    database.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    if time.monotonic() > deadline:
        return None, Unavailable()
    try:
        database.execute("BEGIN")
        try:
            return job(database), None
        finally:
            database.execute("ROLLBACK")
    except TradewireError as error:
        return None, error
    except Exception as error:  # noqa: BLE001  # the caller is owed an answer
        _log.exception("a read failed")
        failed = Unavailable()
        failed.__cause__ = error
        return None, failed
