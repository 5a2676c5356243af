"""Two nodes on one keyspace that Kafka makes one: whoever is on either hears the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.harness import Server, serving
from tests.e2e.places import Place
from tests.engines import Keyspace
from tradewire.testing.engines import Cassandra, Kafka

DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def place(keyspace: Keyspace, kafka_engine: Kafka, tmp_path_factory: Any) -> Place:
    """A cell of this module on the engines of all tests."""
    own = uuid4().hex[:12]
    kafka = {
        "KAFKA_BROKERS": kafka_engine.brokers,
        "KAFKA_REPLICATION_FACTOR": "1",
        "KAFKA_TOPIC_PREFIX": f"{own}.",
    }
    data = {"DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    return Place({**keyspace.environ, **kafka, **data}, f"cell-{own}", f"-{own}")


@pytest.fixture
async def nodes(place: Place) -> AsyncIterator[list[Server]]:
    """Two nodes that know of one another."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(place)) for _ in range(2)]
        async with asyncio.timeout(DEADLINE_S):
            while not all(len(server.node._hub._peers) for server in servers):
                await asyncio.sleep(0.05)
        yield servers


async def test_a_message_through_one_node_reaches_a_socket_on_the_other(
    nodes: list[Server],
) -> None:
    one, two = nodes
    async with one.client("alice") as alice, two.client("bob") as bob:
        room = (await alice.request("CreateConversation", user_id="bob"))["conversation"]
        await asyncio.sleep(3)
        import time

        for _ in range(20):
            a = time.perf_counter()
            sent = await alice.send(room["conversation_id"], "hello")
            async with asyncio.timeout(DEADLINE_S):
                async for event in bob.events():
                    if event["type"] == "MessageReceived":
                        print(event["message"]["message_id"], time.perf_counter() - a)
                        break
