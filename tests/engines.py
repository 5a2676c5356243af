"""Keyspaces on the real engine, for tests."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

import pytest
from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from tradewire.adapters.scylla import engine, schema
from tradewire.adapters.scylla.cluster import Connected, connect
from tradewire.adapters.scylla.options import Options


class Lasting(Connected):
    """A connection that nodes of this process have in turn: to connect and to prepare takes longer
    than most tests.
    """

    def __init__(self, options: Options) -> None:
        first = connect(options, keyspace=False)
        super().__init__(first._cluster, first.session, options)
        self._kept: dict[str, PreparedStatement] = {}

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

        def lent(options: Options, *, keyspace: bool = True) -> Connected:
            if options == self.options:
                return self._lasting
            return connect(options, keyspace=keyspace)

        monkeypatch.setattr(engine, "connect", lent)

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
    connected, lasting = connect(options), Lasting(options)
    try:
        yield Keyspace(options, connected.session, lasting)
        connected.session.execute(f"DROP KEYSPACE {options.keyspace}", timeout=60.0)
    finally:
        lasting.end()
        connected.close()
