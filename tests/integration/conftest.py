from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from tests.engines import Keyspace
from tests.integration.test_scylla_nodes import Node, Start


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
