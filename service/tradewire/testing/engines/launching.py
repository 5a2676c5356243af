"""The two calls that start an engine."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tradewire.testing.engines.cassandra_process import SIZES
from tradewire.testing.engines.handles import KINDS, Cassandra, Kafka, Kind, Tell, silent
from tradewire.testing.engines.sources import (
    KAFKA_VARIABLE,
    SCYLLA_VARIABLE,
    cassandra_sources,
    chosen,
    kafka_sources,
)


@contextmanager
def cassandra(
    nodes: int = 1,
    *,
    authenticated: bool = False,
    quick: bool = False,
    kinds: tuple[Kind, ...] = KINDS,
    tell: Tell = silent,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Cassandra]:
    """A Cassandra or ScyllaDB that takes queries, for as long as the block runs.

    - `nodes`: 1, or 3 that see each other.
    - `authenticated`: it asks for a user and a password, `cassandra` both.
    - `quick`: for a few minutes of light work: it takes half the processor time to get going, and
      stays slower under load. A container or what the environment names is as it is.
    - `kinds`: where it may come from; those that kill nodes need `("process",)`.

    Raises:
        EngineMissing: there is none to be had.
        EngineError: it did not come up.
    """
    if nodes not in SIZES:
        raise ValueError(f"a cluster has 1 or 3 nodes here, not {nodes}")
    sources = cassandra_sources(
        nodes, authenticated=authenticated, quick=quick, tell=tell, environ=environ
    )
    allowed = [source for source in sources if source.kind in kinds]
    with chosen("Cassandra or ScyllaDB", SCYLLA_VARIABLE, allowed).open() as engine:
        tell(f"{engine.name}: ready at {','.join(engine.hosts)}")
        yield engine


@contextmanager
def kafka(
    *,
    quick: bool = False,
    kinds: tuple[Kind, ...] = KINDS,
    tell: Tell = silent,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Kafka]:
    """A Kafka that takes requests, for as long as the block runs.

    - `quick`: see `cassandra`.
    - `kinds`: where it may come from; those that kill it need `("process",)`.

    Raises:
        EngineMissing: there is none to be had.
        EngineError: it did not come up.
    """
    sources = kafka_sources(quick=quick, tell=tell, environ=environ)
    allowed = [source for source in sources if source.kind in kinds]
    with chosen("Kafka", KAFKA_VARIABLE, allowed).open() as engine:
        tell(f"{engine.name}: ready at {engine.brokers}")
        yield engine
