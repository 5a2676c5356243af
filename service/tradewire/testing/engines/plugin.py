"""Fixtures of pytest: one engine of each kind for a whole session, started when first asked for.

A test that kills nodes or needs three of them starts its own.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import pytest

from tradewire.testing.engines import Cassandra, EngineMissing, Kafka, Tell, cassandra, kafka

FIXTURES = frozenset({"cassandra_engine", "kafka_engine"})

E = TypeVar("E")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do not count the start of an engine, which has deadlines of its own, as time of a test."""
    for item in items:
        asked_for = FIXTURES.intersection(getattr(item, "fixturenames", ()))
        if asked_for and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(func_only=True))


@pytest.fixture(scope="session")
def cassandra_engine(pytestconfig: pytest.Config) -> Iterator[Cassandra]:
    """A Cassandra or ScyllaDB, shared: use a keyspace of your own.

    Without one the test is skipped, and fails where the variable CI is set.
    """
    with _or_without(cassandra(tell=_teller(pytestconfig))) as engine:
        yield engine


@pytest.fixture(scope="session")
def kafka_engine(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """A Kafka, shared: use topics of your own.

    Without one the test is skipped, and fails where the variable CI is set.
    """
    with _or_without(kafka(quick=True, tell=_teller(pytestconfig))) as engine:
        yield engine


@contextmanager
def _or_without(opening: AbstractContextManager[E]) -> Iterator[E]:
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(opening)
        except EngineMissing as error:
            if os.environ.get("CI"):
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        yield engine


def _teller(config: pytest.Config) -> Tell:
    """Writes a line that is seen at once, past whatever is captured."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"\n{line}")
            sys.stderr.flush()

    return tell
