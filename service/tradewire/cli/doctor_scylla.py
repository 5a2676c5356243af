"""The checks of `tradewire doctor` on a cluster of ScyllaDB or Cassandra."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tradewire.cli.findings import Finding
from tradewire.cli.settings import MISSING_DRIVER, has_driver
from tradewire.config import Settings, scylla_options
from tradewire.ports import StoreError

if TYPE_CHECKING:
    from tradewire.adapters.scylla.survey import Survey

COPIES_WANTED = 3


def cluster_findings(settings: Settings) -> list[Finding]:
    """What is to be said of the cluster and its keyspace; blocks for some seconds at most."""
    if not has_driver():
        return [Finding("fail", "cluster", MISSING_DRIVER)]
    from tradewire.adapters.scylla.survey import survey  # noqa: PLC0415  # needs the driver

    try:
        found = survey(scylla_options(settings))
    except StoreError as error:
        return [Finding("fail", "cluster", str(error))]
    return list(judged(found, settings))


def judged(found: "Survey", settings: Settings) -> Iterator[Finding]:
    """The findings of a survey."""
    yield Finding("ok", "cluster", f"{found.engine}, keyspace {settings.scylla_keyspace}")
    for name, (up, known) in found.nodes.items():
        yield _nodes(name, up, known)
    yield _schema(found)
    yield from _replication(found, settings)


def _nodes(datacenter: str, up: int, known: int) -> Finding:
    told = f"{up} of {known} up in {datacenter}"
    if up < known:
        return Finding("warn", "nodes", told, "see why the others do not answer")
    return Finding("ok", "nodes", told)


def _schema(found: "Survey") -> Finding:
    if found.schema is None:
        return Finding("fail", "schema", "none yet", "run tradewire migrate up")
    if found.schema > found.newest:
        told = f"{found.schema}, newer than {found.newest} known here"
        return Finding("fail", "schema", told, "run the newer program")
    told = f"{found.schema} of {found.newest}"
    if found.schema < found.newest:
        return Finding("fail", "schema", told, "run tradewire migrate up")
    return Finding("ok", "schema", told)


def _replication(found: "Survey", settings: Settings) -> Iterator[Finding]:
    copies = found.copies
    mine = settings.scylla_datacenter
    if copies is None:
        wanted = [mine] if mine else list(found.nodes)
        copies = dict.fromkeys(wanted, settings.scylla_replication_factor)
    if mine and mine not in copies:
        advice = "set SCYLLA_DATACENTER, or alter the keyspace"
        yield Finding("fail", "replication", f"no copy in {mine}", advice)
    for name, factor in copies.items():
        up, known = found.nodes.get(name, (0, 0))
        yield _factor(name, factor, up, known)


def _factor(datacenter: str, factor: int, up: int, known: int) -> Finding:
    told = f"factor {factor} in {datacenter}"
    if up < (quorum := factor // 2 + 1):
        told += f", where {quorum} nodes must be up"
        return Finding("fail", "replication", told, "start nodes, or alter the keyspace")
    if factor > known:
        told += f", which has {known} nodes"
        return Finding("warn", "replication", told, "add nodes, or alter the keyspace")
    if factor < COPIES_WANTED:
        advice = f"a node that is lost or restarted is missed; {COPIES_WANTED} is for production"
        return Finding("warn", "replication", told, advice)
    return Finding("ok", "replication", told)
