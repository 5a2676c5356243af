import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.engines import Keyspace, keyspace_on
from tests.fault.conftest import seed, tell
from tradewire.adapters.scylla.cluster import DRIVER_ERRORS
from tradewire.ports import StoreError
from tradewire.testing.engines import Cassandra, EngineMissing, cassandra

__all__ = ["seed", "tell"]

DATABASE_NODES = 3
TRIES = 3


@pytest.fixture
def database(tmp_path: Path, tell: Callable[[str], None]) -> Iterator[Cassandra]:
    """A cluster of three that may be killed and frozen.

    Without one the test is skipped, and fails where the variable CI is set.
    """

    def told(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    opening = cassandra(DATABASE_NODES, kinds=("process",), tell=told)
    try:
        engine = opening.__enter__()
    except EngineMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    try:
        tell(f"{engine.name} at {', '.join(engine.hosts)}")
        yield engine
    finally:
        (tmp_path / "databases.log").write_text(engine.logs())
        opening.__exit__(None, None, None)


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
