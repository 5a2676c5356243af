"""`tradewire serve --workers N`: several nodes on one port."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.e2e.places import Place
from tests.engines import Keyspace
from tests.fault.process import ServerProcess
from tradewire.client import Client
from tradewire.testing.engines import Kafka

DEADLINE_S = 30.0


@pytest.fixture
async def server(
    keyspace: Keyspace, kafka_engine: Kafka, tmp_path: Path
) -> AsyncIterator[ServerProcess]:
    """Two workers."""
    own = uuid4().hex[:12]
    kafka = {
        "KAFKA_BROKERS": kafka_engine.brokers,
        "KAFKA_REPLICATION_FACTOR": "1",
        "KAFKA_PARTITIONS": "1",
        "KAFKA_TOPIC_PREFIX": f"{own}.",
    }
    place = Place({**keyspace.environ, **kafka, "DATA_DIR": str(tmp_path)}, own, f"-{own}")
    environ = {"WORKERS": "2", "NODE_LEASE_SECONDS": "2"}
    async with ServerProcess(place, measured=False, environ=environ) as server:
        yield await server.start()


async def on_both(server: ServerProcess, stack: AsyncExitStack) -> tuple[Client, Client]:
    """Clients of two users on different workers: the kernel deals out connections at random."""
    first = await stack.enter_async_context(server.client("alice"))
    async with asyncio.timeout(DEADLINE_S):
        while True:
            second = server.client("bob")
            await second.__aenter__()
            if run_of(second) != run_of(first):
                stack.push_async_exit(second)
                return first, second
            await second.close()


def run_of(client: Client) -> str:
    """The node that a client is connected to."""
    run: str = client.welcome["session_id"].partition("-")[0]
    return run


@pytest.mark.timeout(180, func_only=True)
async def test_workers_are_one_and_one_that_dies_is_replaced(server: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        alice, bob = await on_both(server, stack)
        made = await alice.request("CreateConversation", user_id="bob")
        room = made["conversation"]["conversation_id"]
        await alice.send(room, "hello")
        async with asyncio.timeout(DEADLINE_S):
            async for event in bob.events():
                if event["type"] == "MessageReceived":
                    break
        workers = nodes_of(server)
        assert len(workers) == 2
        workers[0].kill()
        await alice.send(room, "still there")
        await bob.send(room, "still there")
        async with asyncio.timeout(DEADLINE_S):
            while len(nodes_of(server)) < 2 or workers[0] in nodes_of(server):
                await asyncio.sleep(0.1)
    workers = nodes_of(server)
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0, server.errors
    assert not any(worker.is_running() for worker in workers)


def nodes_of(server: ServerProcess) -> list[psutil.Process]:
    """The workers that run: those that listen."""
    children = psutil.Process(server.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
