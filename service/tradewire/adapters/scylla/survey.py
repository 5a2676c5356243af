"""What a cluster is and has, for `tradewire doctor`; everything here blocks."""

import time
from typing import Any

import cassandra
from cassandra.cluster import Session
from msgspec import Struct

from tradewire.adapters.scylla.cluster import DRIVER_ERRORS, Connected
from tradewire.adapters.scylla.options import Options
from tradewire.adapters.scylla.schema import newest, reached, status

ANSWER_S = 5.0
PAUSE_S = 0.2


class Survey(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        engine: its name and version.
        nodes: of each datacenter, how many nodes answer, and how many there are.
        copies: of each datacenter, how many copies the keyspace has; None without a keyspace.
        schema: that of the keyspace; None without one.
        newest: the schema that this program knows.
    """

    engine: str
    nodes: dict[str, tuple[int, int]]
    copies: dict[str, int] | None
    schema: int | None
    newest: int


def survey(options: Options) -> Survey:
    """Look at the cluster and its keyspace; takes some seconds where nodes are down.

    Raises:
        StoreError: the cluster cannot be reached, or has no such datacenter.
    """
    with reached(options) as connected:
        nodes = _nodes(connected.session)
        return Survey(
            engine=_engine(connected),
            nodes=nodes,
            copies=_copies(connected.session, options.keyspace, list(nodes)),
            schema=status(connected, options),
            newest=newest(),
        )


def _engine(connected: Connected) -> str:
    session = connected.session
    if connected.dialect == "cassandra":
        version = session.execute("SELECT release_version FROM system.local").one()[0]
        return f"Apache Cassandra {version}"
    try:
        version = session.execute("SELECT version FROM system.versions").one()[0]
    except cassandra.InvalidRequest:  # before 4.6 the table was not there
        return "ScyllaDB"
    return f"ScyllaDB {version}"


def _nodes(session: Session) -> dict[str, tuple[int, int]]:
    hosts = session.cluster.metadata.all_hosts()
    silent = _silent(session, hosts)
    counted: dict[str, tuple[int, int]] = {}
    for host in sorted(hosts, key=lambda host: str(host.datacenter)):
        up, known = counted.get(host.datacenter, (0, 0))
        counted[host.datacenter] = (up + (host not in silent), known + 1)
    return counted


def _silent(session: Session, hosts: list[Any]) -> list[Any]:
    """Those that do not answer in time; the driver connects to most of them meanwhile."""
    deadline = time.monotonic() + ANSWER_S
    silent = [host for host in hosts if not _answers(session, host)]
    while silent and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
        silent = [host for host in silent if not _answers(session, host)]
    return silent


def _answers(session: Session, host: Any) -> bool:
    query = "SELECT host_id FROM system.local"
    try:
        row = session.execute(query, host=host, timeout=ANSWER_S).one()
    except DRIVER_ERRORS:
        return False
    return bool(row[0] == host.host_id)


def _copies(session: Session, keyspace: str, datacenters: list[str]) -> dict[str, int] | None:
    query = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
    row = session.execute(query, (keyspace,)).one()
    if row is None:
        return None
    options = {name: int(text) for name, text in row[0].items() if text.isdecimal()}
    everywhere = options.pop("replication_factor", None)
    return options if everywhere is None else dict.fromkeys(datacenters, everywhere)
