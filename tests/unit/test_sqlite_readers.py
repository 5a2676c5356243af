"""Where a read on SQLite runs: on the loop as long as reads are short there, else in a thread."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from itertools import count

import pytest

from tradewire.adapters.sqlite.readers import APART_S, SLOW_S, Readers
from tradewire.domain.errors import Blocked, Unavailable
from tradewire.handover import Handover

COUNT = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT max(i) FROM n"
)
MANY = 200_000


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


class Watch:
    """A clock that goes on when told, or a step (s) each time it is looked at."""

    def __init__(self) -> None:
        self.time = 0.0
        self.step = 0.001
        self.running = False

    def __call__(self) -> float:
        if self.running:
            self.time += self.step
        return self.time


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def readers(watch: Watch) -> AsyncIterator[Readers]:
    readers = Readers(connect, Handover(asyncio.get_running_loop()), now=watch)
    yield readers
    await readers.close()


def on_loop(_: sqlite3.Connection) -> bool:
    return threading.current_thread() is threading.main_thread()


async def test_a_short_read_runs_on_the_loop(readers: Readers) -> None:
    assert await readers.read(on_loop)
    assert not await readers.read_apart(on_loop)


async def test_a_read_that_turns_out_long_is_begun_anew_in_a_thread(
    readers: Readers, watch: Watch
) -> None:
    places: list[bool] = []

    def job(database: sqlite3.Connection) -> int:
        places.append(on_loop(database))
        found: int = database.execute(COUNT, (MANY,)).fetchone()[0]
        return found

    watch.running = True
    assert await readers.read(job) == MANY
    assert places == [True, False]


async def test_after_a_slow_read_all_go_to_the_threads_for_a_while(
    readers: Readers, watch: Watch
) -> None:
    def slow(database: sqlite3.Connection) -> bool:
        watch.time += 2 * SLOW_S
        return on_loop(database)

    assert await readers.read(slow)
    assert not await readers.read(on_loop)
    watch.time += APART_S
    assert await readers.read(on_loop)


async def test_a_loop_that_was_held_up_fails_no_read(readers: Readers, watch: Watch) -> None:
    """Its time is over before it begins: every look at the clock is 10 ms later."""
    watch.step = 0.01
    watch.running = True
    assert await readers.read(lambda database: database.execute("SELECT 1").fetchone()) == (1,)


async def test_a_read_that_is_cut_off_anywhere_leaves_nothing_open(
    readers: Readers, watch: Watch
) -> None:
    """SQLite counts the steps of a statement over all that it is asked for, BEGIN as well."""

    def job(database: sqlite3.Connection) -> int:
        found: int = database.execute("SELECT 1").fetchone()[0]
        return found

    watch.running, watch.step = True, 0.003
    for _ in range(8_000):
        assert await readers.read(job) == 1
        watch.time += APART_S
    assert await readers.read(job) == 1


async def test_the_loop_has_its_turn_between_two_reads(readers: Readers) -> None:
    turns = count()

    async def other() -> None:
        while True:
            next(turns)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(10):
        await readers.read(on_loop)
    task.cancel()
    assert next(turns) >= 10


@pytest.mark.parametrize("apart", [False, True])
async def test_what_a_job_raises_reaches_its_caller(readers: Readers, *, apart: bool) -> None:
    read = readers.read_apart if apart else readers.read

    def refused(_: sqlite3.Connection) -> None:
        raise Blocked

    with pytest.raises(Blocked):
        await read(refused)
    with pytest.raises(Unavailable) as failed:
        await read(lambda database: database.execute("SELECT no_such_column"))
    assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
