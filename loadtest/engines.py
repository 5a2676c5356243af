"""Nodes on a Cassandra or ScyllaDB and on a Kafka, in a keyspace and topics of their own."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address

import msgspec
import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable

from loadtest import cql_floor
from loadtest.cpu import listeners
from loadtest.servers import Server, ServerError, Tradewire, run_to_end, running
from tradewire.testing.engines import Cassandra, Kafka

MIGRATION_SECONDS = 120.0
KAFKA_SECONDS = 30.0
ENGINE_PROGRAMS = ("java", "scylla")
"""Whatever else listens at its address only passes bytes on, to a container perhaps."""


class Place(msgspec.Struct, frozen=True):
    """A keyspace of the engine, and the process of the engine if it is on this machine."""

    host: str
    port: int
    keyspace: str
    engine_pid: int | None

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """The engine, where its process is known."""
        return {} if self.engine_pid is None else {"engine": (self.engine_pid,)}


@asynccontextmanager
async def keyspace(engine: Cassandra) -> AsyncIterator[Place]:
    """A name that nobody uses, for a keyspace that is dropped at the end.

    Raises `ServerError` when the engine is not on this machine, or the keyspace stays.
    """
    host, port = loopback(engine.hosts[0])
    place = Place(host, port, f"bench_{secrets.token_hex(6)}", engine_process(port))
    try:
        yield place
    finally:
        try:
            await asyncio.to_thread(cql_floor.drop_keyspace, host, port, place.keyspace)
        except (DriverException, NoHostAvailable, OSError) as error:
            raise ServerError(f"the keyspace {place.keyspace} was not dropped: {error}") from error


@asynccontextmanager
async def topics(broker: Kafka, prefix: str) -> AsyncIterator[dict[str, str]]:
    """The settings of a node whose topics begin so; they are deleted at the end.

    Raises `ServerError` when they stay.
    """
    try:
        yield {
            "EVENTS": "kafka",
            "KAFKA_BROKERS": broker.brokers,
            "KAFKA_TOPIC_PREFIX": prefix,
            "KAFKA_REPLICATION_FACTOR": "1",
        }
    finally:
        try:
            async with asyncio.timeout(KAFKA_SECONDS):
                await delete_topics(broker, prefix)
        except (KafkaError, TimeoutError, OSError) as error:
            raise ServerError(f"the topics {prefix}* were not deleted: {error}") from error


async def delete_topics(broker: Kafka, prefix: str) -> None:
    """Delete all whose names begin with the prefix; raises as the client does."""
    client = AIOKafkaAdminClient(bootstrap_servers=broker.brokers)
    try:
        await client.start()
        await client.delete_topics([t for t in await client.list_topics() if t.startswith(prefix)])
    finally:
        await client.close()


def broker_parts(broker: Kafka) -> dict[str, tuple[int, ...]]:
    """The broker, where its process is known; raises `ServerError` for another machine's."""
    _, port = loopback(broker.brokers)
    pid = engine_process(port)
    return {} if pid is None else {"broker": (pid,)}


@asynccontextmanager
async def nodes_on(target: Tradewire, count: int) -> AsyncIterator[list[Server]]:
    """So many nodes of a cell whose keyspace is made first; raises `ServerError`."""
    await migrate(target)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(target)) for _ in range(count)]


def loopback(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; raises `ServerError` for one of another machine."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.gethostbyname(host)
    except OSError as error:
        raise ServerError(f"{host} is not known: {error}") from error
    if not ip_address(found).is_loopback:
        raise ServerError(f"{host} is another machine: what is measured must be on this one")
    return found, int(port)


def engine_process(port: int) -> int | None:
    """The id of the engine that listens on a port of this machine, if it can be seen."""
    found = [pid for pid in listeners(port) if psutil.Process(pid).name() in ENGINE_PROGRAMS]
    return found[0] if len(found) == 1 else None


async def migrate(target: Tradewire) -> None:
    """Make the keyspace and the tables; raises `ServerError`, or `TimeoutError` after 120 s."""
    code, output = await run_to_end(
        *("tradewire", "migrate", "up"),
        seconds=MIGRATION_SECONDS,
        environment=target.environment,
        errors=asyncio.subprocess.STDOUT,
    )
    if code != 0:
        raise ServerError(f"tradewire migrate up: {output.decode(errors='replace')}")
