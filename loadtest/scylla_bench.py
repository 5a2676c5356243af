"""The bench on ScyllaDB or Cassandra: the plain driver and a node, in turns, on one engine."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from loadtest.bench import CLIENT_SECONDS, Loops, generate, raise_file_limit, run_apart
from loadtest.engines import Place, keyspace, nodes_on
from loadtest.plan import ClosedLoop, OpenLoop, Pair, Plan, Traffic, WritePlan, Writes, on_pairs
from loadtest.servers import Server, ServerError, tradewire_on_scylla
from tradewire.testing.engines import Cassandra, EngineError, cassandra

SINGLE = {"rows": 1, "in_flight": 32}
BATCHED = {"rows": 20, "in_flight": 4}

Progress = Callable[[str], None]


class Options(Loops, frozen=True, kw_only=True):
    """How to load the node; the plain driver is loaded as `SINGLE` and `BATCHED` say."""

    rounds: int = 4
    rate: float = 500.0


class Round(msgspec.Struct, frozen=True):
    """Rows one by one and in batches with the plain driver; a node's greatest rate; a fixed one."""

    single: Writes
    batched: Writes
    closed: Traffic
    open: Traffic


class Results(msgspec.Struct, frozen=True):
    """Everything measured."""

    engine: str
    options: Options
    rounds: list[Round]


def measure(options: Options, progress: Progress) -> Results:
    """Start an engine, or take the one of TRADEWIRE_SCYLLA, and measure on it.

    Raises `ServerError` or `GeneratorError`, or `TimeoutError` from a run.
    """
    try:
        with cassandra(tell=progress) as engine:
            return asyncio.run(compare(options, engine, progress))
    except EngineError as error:
        raise ServerError(str(error)) from error


async def compare(options: Options, engine: Cassandra, progress: Progress) -> Results:
    """Measure in a keyspace of its own; raises as `measure` does.

    A first round warms everything up, the engine's compiler above all, and is not counted.
    """
    raise_file_limit()
    rounds = []
    async with keyspace(engine) as place:
        target = tradewire_on_scylla(engine.hosts, place.keyspace)
        async with nodes_on(target, 1) as [server]:
            pairs = await server.pairs(options.connections // 2)
            for number in range(options.rounds + 1):
                progress(f"round {number} of {options.rounds}" if number else "warming up")
                rounds.append(await one_round(options, place, server, pairs, number))
    return Results(engine.name, options, rounds[1:])


async def one_round(
    options: Options, place: Place, server: Server, pairs: list[Pair], number: int
) -> Round:
    """One run of each, one after the other; each round begins with another one."""
    closing = ClosedLoop(options.in_flight, options.duration)
    opening = OpenLoop(options.rate, options.duration, seed=number)
    runs: dict[str, Callable[[], Any]] = {
        "single": partial(write, options, place, SINGLE),
        "batched": partial(write, options, place, BATCHED),
        "closed": partial(send, options, place, server, pairs, closing),
        "open": partial(send, options, place, server, pairs, opening),
    }
    turns = deque(runs.items())
    turns.rotate(-number)
    return Round(**{name: await run() for name, run in turns})


async def write(options: Options, place: Place, shape: dict[str, int]) -> Writes:
    """Write rows with the plain driver."""
    plan = WritePlan(
        host=place.host,
        port=place.port,
        keyspace=place.keyspace,
        seconds=options.duration,
        engine_pid=place.engine_pid,
        **shape,
    )
    seconds = options.duration + CLIENT_SECONDS
    return await run_apart("loadtest.cql_floor", plan, seconds)


async def send(
    options: Options, place: Place, server: Server, pairs: list[Pair], load: ClosedLoop | OpenLoop
) -> Traffic:
    """Send messages through the node."""
    plan = Plan(options.protocol, *on_pairs(pairs), load)
    return await generate(plan, {"server": server.pids, **place.parts})
