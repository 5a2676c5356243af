from collections.abc import Iterator

import pytest

from tests.engines import Keyspace, keyspace_on
from tradewire.testing.engines import Cassandra


@pytest.fixture(scope="session")
def keyspace(cassandra_engine: Cassandra) -> Iterator[Keyspace]:
    """A keyspace for all tests of this run: who needs it empty clears it."""
    with keyspace_on(cassandra_engine.hosts) as made:
        yield made
