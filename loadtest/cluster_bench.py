"""The bench of a cell: one node, and two nodes between which every message crosses, in turns.

Both cells have a keyspace on one Cassandra, topics on one Kafka, and publish their events there.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from loadtest.bench import Loops, Round, Side, all_rounds, one_round, raise_file_limit
from loadtest.cpu import Parts
from loadtest.deployment import SETTLE_SECONDS
from loadtest.engines import broker_parts, keyspace, nodes_on, topics
from loadtest.plan import ClosedLoop, OpenLoop, Plan, on_pairs
from loadtest.servers import ServerError, tradewire_on_scylla
from tradewire.testing.engines import Cassandra, EngineError, Kafka, cassandra, kafka

WARM_UP_SECONDS = 15.0
"""At the fixed rate; a round at the greatest rate comes before it."""

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

    A first round warms everything up, the engines' compilers above all, and is not counted: at the
    fixed rate each record is a request of its own, and a fresh Kafka takes twice the CPU for it.
    """
    raise_file_limit()
    async with AsyncExitStack() as stack:
        cells = [
            await stack.enter_async_context(cell(options, engine, broker, nodes))
            for nodes in (1, 2)
        ]
        progress("warming up")
        await one_round(cells, ClosedLoop(options.in_flight, options.duration), 0)
        await one_round(cells, OpenLoop(options.rate, WARM_UP_SECONDS, seed=0), 0)
        closed, opened = await all_rounds(options, cells, progress)
    return Results(f"{engine.name}, {broker.name}", options, closed, opened)


@asynccontextmanager
async def cell(
    options: Options, engine: Cassandra, broker: Kafka, nodes: int
) -> AsyncIterator[Side]:
    """Nodes with a keyspace and topics of their own, which are dropped at the end.

    All who send are on the first node, all who receive on the last.
    """
    async with (
        keyspace(engine) as place,
        topics(broker, f"{place.keyspace}.") as settings,
        nodes_on(tradewire_on_scylla(engine.hosts, place.keyspace, **settings), nodes) as servers,
    ):
        count = options.connections // 2
        numbers = itertools.count(0, count)
        pids = [pid for server in servers for pid in server.pids]
        parts = {"server": pids, **place.parts, **broker_parts(broker)}

        async def plan(load: ClosedLoop | OpenLoop) -> tuple[Plan, Parts]:
            pairs = await servers[0].pairs(count, next(numbers), peers_on=servers[-1])
            who = on_pairs(pairs, one_way=True)
            return Plan(options.protocol, *who, load, settle=SETTLE_SECONDS), parts

        yield plan
