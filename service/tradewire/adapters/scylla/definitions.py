"""Changes of a cluster's schema that all nodes have when they are done; everything here blocks."""

from collections.abc import Callable

import cassandra
from cassandra.cluster import Session
from cassandra.protocol import ConfigurationException, SyntaxException
from cassandra.query import SimpleStatement

from tradewire.adapters.scylla.cluster import CONNECT_S, SCHEMA_AGREEMENT_S, Connected
from tradewire.adapters.scylla.options import Options
from tradewire.ports import StoreError

STATEMENT_S = SCHEMA_AGREEMENT_S + CONNECT_S

_REFUSED = (SyntaxException, ConfigurationException, cassandra.InvalidRequest)


def define(session: Session, statement: str) -> None:
    """Change the schema.

    Raises:
        StoreError: not all nodes have the change in time.
        DRIVER_ERRORS of the cluster: it was refused, or nobody knows.
    """
    request = session.execute_async(SimpleStatement(statement), timeout=STATEMENT_S)
    request.result()
    # The driver waits after a change, but not after one that was there already: see `agree`.
    if not request.is_schema_agreed:
        raise _disagreement()


def agree(session: Session) -> None:
    """Wait until all nodes have one schema.

    Raises:
        StoreError: they have not in time.
    """
    try:
        session.cluster.refresh_schema_metadata(max_schema_agreement_wait=SCHEMA_AGREEMENT_S)
    except cassandra.DriverException as error:
        raise _disagreement() from error


def _disagreement() -> StoreError:
    return StoreError(
        "The nodes of the cluster do not come to agree on its schema: see that all are up"
        " (nodetool describecluster), and try again."
    )


def nodes_known(connected: Connected) -> dict[str, int]:
    """How many nodes each datacenter has, be they up or not."""
    names = [host.datacenter for host in connected.session.cluster.metadata.all_hosts()]
    return {name: names.count(name) for name in sorted(names)}


def make_keyspace(connected: Connected, options: Options, tell: Callable[[str], None]) -> None:
    """Make the keyspace if it is missing: in the datacenter of the options, else in all.

    Raises:
        StoreError: there are too few nodes for a quorum of so many copies.
        DRIVER_ERRORS of the cluster: it was refused.
    """
    if _has_keyspace(connected.session, options.keyspace):
        return
    nodes, copies = nodes_known(connected), options.replication_factor
    chosen = [options.datacenter] if options.datacenter else list(nodes)
    for name in chosen:
        _check_quorum(name, nodes[name], copies)
        tell(f"keyspace {options.keyspace}: replication factor {copies} in {name}")
    replication = {"class": "NetworkTopologyStrategy", **dict.fromkeys(chosen, str(copies))}
    text = f"CREATE KEYSPACE IF NOT EXISTS {options.keyspace} WITH replication = {replication}"
    if connected.dialect == "scylla":
        _define_without_tablets(connected.session, text)
    else:
        define(connected.session, text)


def _has_keyspace(session: Session, keyspace: str) -> bool:
    query = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s"
    return session.execute(query, (keyspace,)).one() is not None


def _check_quorum(datacenter: str, nodes: int, copies: int) -> None:
    if nodes < (quorum := copies // 2 + 1):
        raise StoreError(
            f"Nodes in the datacenter {datacenter}: {nodes}; a replication factor of {copies}"
            f" needs {quorum} at least: start more, or set SCYLLA_REPLICATION_FACTOR."
        )


def _define_without_tablets(session: Session, text: str) -> None:
    """ScyllaDB 2025.1 to 2025.3 would put the keyspace on tablets, and refuses lightweight
    transactions there; one that has no tablets, or nothing else, refuses the option.
    """
    try:
        define(session, f"{text} AND tablets = {{'enabled': false}}")
    except _REFUSED:
        define(session, text)
