"""The store on SQLite: the ports on one data folder."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from tradewire.adapters.sqlite.folder import DataFolder
from tradewire.adapters.sqlite.journal import GROUP_UNITS, OnGroup, SqliteJournal
from tradewire.adapters.sqlite.maintenance import Maintenance
from tradewire.adapters.sqlite.readers import Readers
from tradewire.adapters.sqlite.reads import (
    CatalogueReads,
    ConversationReads,
    MessageReads,
    PeopleReads,
)
from tradewire.adapters.sqlite.relay import SqliteRelay
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.handover import Handover


def _ignore(_units: int, _seconds: float) -> None:
    """Nobody counts the commit groups."""


class SqliteStore:
    """See ports.Store; the ports are there once it is open.

    Args:
        data_dir: the folder, made if it is missing; one process at a time uses it.
        now_ms: milliseconds since 1970.
        on_group: called after each commit group with its number of units and the seconds it took.
        group_units: units in a commit group at most; None: 1,000.
        relayed: the log is published, and keeps what was not yet, however old.
    """

    journal: SqliteJournal
    conversations: ConversationReads
    messages: MessageReads
    people: PeopleReads
    catalogue: CatalogueReads
    relay: SqliteRelay

    def __init__(
        self,
        data_dir: Path,
        *,
        now_ms: Callable[[], int],
        on_group: OnGroup = _ignore,
        group_units: int | None = None,
        relayed: bool = False,
    ) -> None:
        self._folder = DataFolder(data_dir)
        self._now_ms = now_ms
        self._on_group = on_group
        self._group_units = group_units or GROUP_UNITS
        self._relayed = relayed
        self._closing = AsyncExitStack()

    async def open(self) -> None:
        self._folder.open()
        self._closing.callback(self._folder.close)
        handover = Handover(asyncio.get_running_loop())
        session = WriteSession(self._folder.connect(), self._now_ms)
        self._readers = Readers(self._folder.connect_reader, handover)
        self._closing.push_async_callback(self._readers.close)
        self.journal = SqliteJournal(
            session, self._readers, handover, self._committed, self._group_units
        )
        self._closing.push_async_callback(self.journal.close)
        self.relay = SqliteRelay(self.journal, self._readers)
        self._maintenance = Maintenance(
            self._folder.connect(), self.journal, self._now_ms, relayed=self._relayed
        )
        self._closing.push_async_callback(asyncio.to_thread, self._maintenance.close)
        self.conversations = ConversationReads(self._readers, self._now_ms)
        self.messages = MessageReads(self._readers, self._now_ms)
        self.people = PeopleReads(self._readers)
        self.catalogue = CatalogueReads(self._readers)

    async def close(self) -> None:
        await self._closing.aclose()

    async def maintain(self) -> None:
        """Remove what has outlived its time, and shorten the log; it happens by itself too."""
        await asyncio.to_thread(self._maintenance.maintain)

    def trace(self, on_statement: Callable[[str], None] | None) -> None:
        """Call this, from whatever thread reads, with every statement of a read; None ends it."""
        self._readers.trace(on_statement)

    def _committed(self, units: int, seconds: float) -> None:
        self._maintenance.wake()
        self._on_group(units, seconds)

    async def check(self) -> None:
        await self.journal.newest_id()
