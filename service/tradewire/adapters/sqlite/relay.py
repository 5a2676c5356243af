"""How far the outbox was published: one row, moved by the writer between two commit groups."""

import asyncio
import sqlite3
from functools import partial

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.journal import SqliteJournal
from tradewire.adapters.sqlite.readers import Readers
from tradewire.domain.errors import Unavailable

DEADLINE_S = 5.0


class SqliteRelay:
    """See ports.Relay: one process uses the folder, and leads."""

    def __init__(self, journal: SqliteJournal, readers: Readers) -> None:
        self._journal = journal
        self._readers = readers

    async def leads(self) -> bool:
        return True

    async def cursor(self) -> int:
        return await self._readers.read(relay_cursor)

    async def move(self, cursor: int) -> None:
        moved = self._journal.take_turn(partial(_move, cursor))
        try:
            await asyncio.wait_for(asyncio.wrap_future(moved), DEADLINE_S)
        except (sqlite3.Error, TimeoutError) as error:
            raise Unavailable from error


def relay_cursor(database: sqlite3.Connection) -> int:
    """Up to which id the outbox was published."""
    cursor: int = database.execute(sql.RELAY_CURSOR).fetchone()[0]
    return cursor


def _move(cursor: int, database: sqlite3.Connection) -> None:
    database.execute(sql.MOVE_RELAY, (cursor,))
