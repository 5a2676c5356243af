"""The bench of a cell: one node, and two nodes between which every message crosses, in turns.

Both cells have a keyspace on one Cassandra, topics on one Kafka, and publish their events there.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from loadtest.bench import Loops, Round, Side, all_rounds, one_round, raise_file_limit
from loadtest.plan import ClosedLoop, OpenLoop, Plan
from loadtest.scylla_bench import engine_process, keyspace, loopback, migrate
from loadtest.servers import ServerError, running, tradewire_on_scylla
from tradewire.testing.engines import Cassandra, EngineError, Kafka, cassandra, kafka

SETTLE_SECONDS = 5.0
"""When all nodes can know of a connection, 2.5 s after it came, its user is told once more what is
of the last 10 s: each run has users of its own, who have been told nothing until then.
"""
KAFKA_SECONDS = 30.0

Progress = Callable[[str], None]


class Options(Loops, frozen=True, kw_only=True):
    """How to load the cells; half of the connections send, the others receive."""

    rounds: int = 4
    rate: float = 500.0


class Results(msgspec.Struct, frozen=True):
    """Everything measured; the floor of a round is the cell of one node."""

    engines: str
    options: Options
    closed: list[Round]
    open: list[Round]


def measure(options: Options, progress: Progress) -> Results:
    """Start the engines, or take those of TRADEWIRE_SCYLLA and TRADEWIRE_KAFKA, and measure.

    Raises `ServerError` or `GeneratorError`, or `TimeoutError` from a run.
    """
    try:
        with cassandra(tell=progress) as engine, kafka(tell=progress) as broker:
            return asyncio.run(compare(options, engine, broker, progress))
    except EngineError as error:
        raise ServerError(str(error)) from error


async def compare(
    options: Options, engine: Cassandra, broker: Kafka, progress: Progress
) -> Results:
    """Measure the cells; raises as `measure` does.

    A first round warms everything up, the engines' compilers above all, and is not counted.
    """
    raise_file_limit()
    async with AsyncExitStack() as stack:
        cells = [
            await stack.enter_async_context(cell(options, engine, broker, nodes))
            for nodes in (1, 2)
        ]
        progress("warming up")
        await one_round(cells, ClosedLoop(options.in_flight, options.duration), 0)
        closed, opened = await all_rounds(options, cells, progress)
    return Results(f"{engine.name}, {broker.name}", options, closed, opened)


@asynccontextmanager
async def cell(
    options: Options, engine: Cassandra, broker: Kafka, nodes: int
) -> AsyncIterator[Side]:
    """Nodes with a keyspace and topics of their own, which are dropped at the end.

    All who send are on the first node, all who receive on the last.
    """
    _, kafka_port = loopback(broker.brokers)
    async with keyspace(engine) as place, topics(broker, f"{place.keyspace}.") as prefix:
        target = tradewire_on_scylla(
            engine.hosts,
            place.keyspace,
            EVENTS="kafka",
            KAFKA_BROKERS=broker.brokers,
            KAFKA_TOPIC_PREFIX=prefix,
            KAFKA_REPLICATION_FACTOR="1",
        )
        await migrate(target)
        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(running(target)) for _ in range(nodes)]
            count = options.connections // 2
            numbers = itertools.count(0, count)

            async def plan(load: ClosedLoop | OpenLoop) -> Plan:
                return Plan(
                    [server.pid for server in servers],
                    options.protocol,
                    await servers[0].pairs(count, next(numbers), peers_on=servers[-1]),
                    load,
                    settle=SETTLE_SECONDS,
                    engine_pid=place.engine_pid,
                    broker_pid=engine_process(kafka_port),
                    one_way=True,
                )

            yield plan


@asynccontextmanager
async def topics(broker: Kafka, prefix: str) -> AsyncIterator[str]:
    """A prefix for topics that are deleted at the end; raises `ServerError` when they stay."""
    try:
        yield prefix
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
