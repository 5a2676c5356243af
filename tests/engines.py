"""Keyspaces on the real engine, for tests."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import cassandra.cluster

from tradewire.adapters.scylla import schema
from tradewire.adapters.scylla.cluster import connect
from tradewire.adapters.scylla.options import Options


class Keyspace:
    """A keyspace with the schema.

    Attributes:
        options: how to reach it.
    """

    def __init__(self, options: Options, session: cassandra.cluster.Session) -> None:
        self.options = options
        self._session = session

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a node on it, by the names of their variables."""
        options = self.options
        return {
            "SCYLLA_HOSTS": ",".join(f"{host}:{port}" for host, port in options.hosts),
            "SCYLLA_KEYSPACE": options.keyspace,
            "SCYLLA_REPLICATION_FACTOR": str(options.replication_factor),
        }

    async def clear(self) -> None:
        """Remove all rows."""
        await asyncio.to_thread(self._clear)

    def _clear(self) -> None:
        rows = self._session.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s",
            (self.options.keyspace,),
        )
        tables = [name for (name,) in rows if not name.startswith("schema_")]
        waiting = [self._session.execute_async(f"TRUNCATE {table}") for table in tables]
        for each in waiting:
            each.result()


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
    connected = connect(options)
    try:
        yield Keyspace(options, connected.session)
        connected.session.execute(f"DROP KEYSPACE {options.keyspace}", timeout=30.0)
    finally:
        connected.close()
