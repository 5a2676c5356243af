"""Keyspaces on the real engine, for tests."""

import asyncio
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from cassandra.cluster import ResponseFuture, Session
from cassandra.protocol import BatchMessage, QueryMessage
from cassandra.query import PreparedStatement

from tradewire.adapters.scylla import engine, schema
from tradewire.adapters.scylla.cluster import Connected, connect
from tradewire.adapters.scylla.connection import OnLoop, connection_on
from tradewire.adapters.scylla.options import Options
from tradewire.adapters.scylla.prepared import EncodedRow

_COMPLAINT = re.compile(r"tombstone|[Bb]atch|FILTERING")
_OF_SCHEMA = re.compile(r"schema_migrations|system_schema")


class Lasting(Connected):
    """A connection that nodes of this process have in turn: to connect and to prepare takes longer
    than most tests. The loop of each ends with its test, so another one watches the sockets.

    Attributes:
        unprepared: statements that went over it as text, save looks at the schema.
    """

    def __init__(self, options: Options, on_loop: OnLoop) -> None:
        first = connect(options, keyspace=False, connection=connection_on(on_loop))
        super().__init__(first._cluster, first.session, options)
        self._kept: dict[str, PreparedStatement] = {}
        self.unprepared: set[str] = set()
        self.session.add_request_init_listener(self._note)

    def _note(self, request: ResponseFuture) -> None:
        message = request.message
        if isinstance(message, QueryMessage) and not _OF_SCHEMA.search(message.query):
            self.unprepared.add(message.query)
        if isinstance(message, BatchMessage):
            self.unprepared.update(
                str(row) for row in message.queries if not isinstance(row, EncodedRow)
            )

    def prepare(self, texts: Mapping[str, str]) -> dict[str, PreparedStatement]:
        self._kept |= super().prepare({n: t for n, t in texts.items() if n not in self._kept})
        return {name: self._kept[name] for name in texts}

    def close(self) -> None:
        """It lasts: `end` closes it."""

    def end(self) -> None:
        """Close it."""
        super().close()


class Keyspace:
    """A keyspace with the schema.

    Attributes:
        options: how to reach it.
    """

    def __init__(self, options: Options, session: Session, lasting: Lasting) -> None:
        self.options = options
        self._session = session
        self._lasting = lasting

    def lend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the nodes of this process share one connection."""

        def lent(options: Options, **named: Any) -> Connected:
            return self._lasting if options == self.options else connect(options, **named)

        monkeypatch.setattr(engine, "connect", lent)

    @property
    def unprepared(self) -> set[str]:
        """Statements that nodes of this process have sent as text over the lent connection."""
        return self._lasting.unprepared

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a node on it, by the names of their variables."""
        options = self.options
        return {
            "SCYLLA_HOSTS": ",".join(f"{host}:{port}" for host, port in options.hosts),
            "SCYLLA_KEYSPACE": options.keyspace,
            "SCYLLA_REPLICATION_FACTOR": str(options.replication_factor),
        }

    async def clear(self, *tables: str) -> None:
        """Remove all rows of these tables, or of all; it takes long for many."""
        await asyncio.to_thread(self._clear, tables or self._tables())

    def _clear(self, tables: Iterable[str]) -> None:
        waiting = [self._session.execute_async(f"TRUNCATE {table}") for table in tables]
        for each in waiting:
            each.result()

    def _tables(self) -> list[str]:
        rows = self._session.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s",
            (self.options.keyspace,),
        )
        return [name for (name,) in rows if not name.startswith("schema_")]


def complaints(log: str) -> list[str]:
    """What a server's log says of reads and writes that cost it more than they should."""
    lines = log.splitlines()
    return [line for line in lines if line.startswith("WARN") and _COMPLAINT.search(line)]


@contextmanager
def keyspace_on(hosts: tuple[str, ...], replication_factor: int = 1) -> Iterator[Keyspace]:
    """A keyspace of its own on a cluster, dropped at the end."""
    addresses = tuple((host, int(port)) for host, _, port in (h.partition(":") for h in hosts))
    options = Options(
        hosts=addresses,
        keyspace=f"test_{uuid4().hex[:12]}",
        replication_factor=replication_factor,
    )
    schema.up(options, lambda _: None)
    with loop_of_its_own() as on_loop:
        connected, lasting = connect(options), Lasting(options, on_loop)
        try:
            yield Keyspace(options, connected.session, lasting)
            connected.session.execute(f"DROP KEYSPACE {options.keyspace}", timeout=60.0)
        finally:
            lasting.end()
            connected.close()


@contextmanager
def loop_of_its_own() -> Iterator[OnLoop]:
    """A loop that runs in another thread for as long as the block does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop of its own")
    thread.start()

    async def here() -> OnLoop:
        return OnLoop()

    try:
        yield asyncio.run_coroutine_threadsafe(here(), loop).result(5.0)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
