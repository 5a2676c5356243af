import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from tests.engines import Keyspace, keyspace_on
from tests.fault.conftest import seed, tell
from tradewire.adapters.scylla.cluster import DRIVER_ERRORS
from tradewire.ports import StoreError
from tradewire.testing.engines import Cassandra, EngineMissing, Kafka, cassandra, kafka

__all__ = ["seed", "tell"]

DATABASE_NODES = 3
TRIES = 3

E = TypeVar("E", Cassandra, Kafka)


@pytest.fixture
def database(tmp_path: Path, tell: Callable[[str], None]) -> Iterator[Cassandra]:
    """A cluster of three that may be killed and frozen."""
    opening = cassandra(DATABASE_NODES, kinds=("process",), tell=_told)
    with _or_without(opening, tmp_path / "databases.log") as engine:
        tell(f"{engine.name} at {', '.join(engine.hosts)}")
        yield engine


@pytest.fixture
def lone_database(tmp_path: Path) -> Iterator[Cassandra]:
    """A Cassandra of this test's own."""
    with _or_without(
        cassandra(kinds=("process",), tell=_told), tmp_path / "database.log"
    ) as engine:
        yield engine


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Kafka]:
    """A Kafka that may be killed."""
    with _or_without(kafka(kinds=("process",), tell=_told), tmp_path / "kafka.log") as engine:
        yield engine


@contextmanager
def _or_without(opening: AbstractContextManager[E], log: Path) -> Iterator[E]:
    """An engine, whose log is kept; without one the test is skipped, and fails where the variable
    CI is set.
    """
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(opening)
        except EngineMissing as error:
            if os.environ.get("CI"):
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        try:
            yield engine
        finally:
            log.write_text(engine.logs())


def _told(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@pytest.fixture
def chaos_keyspace(database: Cassandra) -> Iterator[Keyspace]:
    """A keyspace with a copy on each of its nodes."""
    stack = ExitStack()
    try:
        yield _made(database.hosts, stack)
    finally:
        # The cluster as a whole is gone in a moment.
        with suppress(*DRIVER_ERRORS):
            stack.close()


def _made(hosts: tuple[str, ...], stack: ExitStack) -> Keyspace:
    """Nodes that have just found each other may take a while to agree on anything."""
    for _ in range(TRIES - 1):
        with suppress(StoreError):
            return stack.enter_context(keyspace_on(hosts, replication_factor=DATABASE_NODES))
    return stack.enter_context(keyspace_on(hosts, replication_factor=DATABASE_NODES))
