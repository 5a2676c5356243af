"""Where an engine can come from, and which of them is taken."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from tradewire.testing.engines import artifacts, containers, cql, kafka_wire
from tradewire.testing.engines.addresses import listed
from tradewire.testing.engines.cassandra_process import cassandra_processes
from tradewire.testing.engines.errors import EngineError, EngineMissing
from tradewire.testing.engines.handles import Cassandra, Kafka, Kind, Tell
from tradewire.testing.engines.java import installed_java
from tradewire.testing.engines.kafka_process import kafka_process
from tradewire.testing.engines.versions import JAVA

SCYLLA_VARIABLE = "TRADEWIRE_SCYLLA"
KAFKA_VARIABLE = "TRADEWIRE_KAFKA"

E = TypeVar("E")


@dataclass(frozen=True)
class Source(Generic[E]):
    """A place that an engine can come from.

    - `missing`: what stands in the way, in words; None when nothing does.
    - `open`: the engine, for as long as a block runs.
    """

    kind: Kind
    missing: Callable[[], str | None]
    open: Callable[[], AbstractContextManager[E]]


def chosen(engine: str, variable: str, sources: Sequence[Source[E]]) -> Source[E]:
    """The first of the sources that can be had.

    Raises:
        EngineMissing: none can.
    """
    reasons = []
    for source in sources:
        reason = source.missing()
        if reason is None:
            return source
        reasons.append(f"  {source.kind}: {reason}")
    raise EngineMissing(
        f"NO {engine.upper()} TO TEST AGAINST.\n"
        + "\n".join(reasons)
        + f"\nDo one of these: set {variable}=host:port to one that runs; start a container engine"
        f" (Docker, Podman); install Java {JAVA} and Maven."
    )


def cassandra_sources(
    nodes: int, *, authenticated: bool, quick: bool, tell: Tell, environ: Mapping[str, str]
) -> list[Source[Cassandra]]:
    """Where a Cassandra or ScyllaDB can come from, best first."""
    return [
        Source(
            "environment",
            lambda: _not_in_environment(nodes, environ, authenticated=authenticated),
            lambda: cassandra_of_environment(environ[SCYLLA_VARIABLE]),
        ),
        Source(
            "container",
            lambda: "one node only" if nodes > 1 else containers.missing(),
            lambda: containers.scylla_container(authenticated=authenticated, tell=tell),
        ),
        Source(
            "process",
            lambda: not_as_process(artifacts.CASSANDRA, environ),
            lambda: cassandra_processes(
                nodes, authenticated=authenticated, quick=quick, environ=environ, tell=tell
            ),
        ),
    ]


def kafka_sources(*, quick: bool, tell: Tell, environ: Mapping[str, str]) -> list[Source[Kafka]]:
    """Where a Kafka can come from, best first."""
    return [
        Source(
            "environment",
            lambda: None if environ.get(KAFKA_VARIABLE) else f"{KAFKA_VARIABLE} is not set",
            lambda: kafka_of_environment(environ[KAFKA_VARIABLE]),
        ),
        Source("container", containers.missing, lambda: containers.kafka_container(tell=tell)),
        Source(
            "process",
            lambda: not_as_process(artifacts.KAFKA, environ),
            lambda: kafka_process(quick=quick, environ=environ, tell=tell),
        ),
    ]


def _not_in_environment(
    nodes: int, environ: Mapping[str, str], *, authenticated: bool
) -> str | None:
    addresses = environ.get(SCYLLA_VARIABLE)
    if not addresses:
        return f"{SCYLLA_VARIABLE} is not set"
    if authenticated:
        return f"whether {SCYLLA_VARIABLE} asks for passwords is not known"
    if len(listed(addresses)) < nodes:
        return f"{SCYLLA_VARIABLE} has fewer than {nodes} addresses"
    return None


def not_as_process(artifact: artifacts.Artifact, environ: Mapping[str, str]) -> str | None:
    """What stands in the way of a process of ours, in words."""
    reasons = [_no_java(environ), artifacts.missing(artifact, environ)]
    return ", ".join(reason for reason in reasons if reason) or None


def _no_java(environ: Mapping[str, str]) -> str | None:
    try:
        installed_java(environ)
    except EngineMissing as error:
        return str(error)
    return None


@contextmanager
def cassandra_of_environment(addresses: str) -> Iterator[Cassandra]:
    """The server that somebody else runs at these addresses.

    Raises:
        EngineError: one of the addresses does not answer; it is not passed over, for it was asked
            for.
    """
    hosts = listed(addresses)
    try:
        servers = [cql.identify(host) for host in hosts]
    except OSError as error:
        raise EngineError(f"{SCYLLA_VARIABLE}={addresses} does not answer: {error}") from error
    yield Cassandra("environment", servers[0].name, hosts, servers[0].datacenter)


@contextmanager
def kafka_of_environment(addresses: str) -> Iterator[Kafka]:
    """The broker that somebody else runs at these addresses.

    Raises:
        EngineError: one of the addresses does not answer.
    """
    for broker in listed(addresses):
        if not kafka_wire.answers(broker):
            raise EngineError(f"{KAFKA_VARIABLE}={addresses}: nothing answers at {broker}")
    yield Kafka("environment", f"Kafka at {addresses}", addresses)
