from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from tests.engines import Keyspace
from tests.fault.proxy import Proxy
from tests.integration.test_scylla_nodes import Node, Start
from tests.kafka import Bus, bus_on
from tradewire.testing.engines import Kafka


@pytest.fixture
async def bus(kafka_engine: Kafka) -> AsyncIterator[Bus]:
    """The topics of this test, and the other services that use them."""
    async with bus_on(kafka_engine.brokers) as made:
        yield made


@pytest.fixture
async def in_the_open(keyspace: Keyspace) -> AsyncIterator[Proxy]:
    """The engine behind connections that can be cut and held up."""
    async with Proxy() as proxy:
        proxy.upstreams = [keyspace.options.hosts[0][1]]
        yield proxy


@pytest.fixture
async def start(keyspace: Keyspace) -> AsyncIterator[Start]:
    """Starts nodes of a cell and a tenant of this test."""
    cell = f"cell-{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:

        async def started() -> Node:
            node = Node(keyspace, cell)
            await node.store.open()
            stack.push_async_callback(node.store.close)
            return node

        yield started
