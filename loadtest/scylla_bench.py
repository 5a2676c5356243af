"""The bench on ScyllaDB or Cassandra: the plain driver and a node, in turns, on one engine."""

import asyncio
import os
import secrets
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any

import msgspec
import psutil
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable

from loadtest import cql_floor
from loadtest.bench import GENERATOR_SECONDS, Loops, generate, raise_file_limit, run_apart
from loadtest.plan import ClosedLoop, OpenLoop, Pair, Plan, Traffic, WritePlan, Writes
from loadtest.servers import ROOT, Server, ServerError, Tradewire, running, tradewire_on_scylla
from tradewire.testing.engines import Cassandra, EngineError, cassandra

SINGLE = {"rows": 1, "in_flight": 32}
BATCHED = {"rows": 20, "in_flight": 4}
MIGRATION_SECONDS = 120.0
ENGINE_PROGRAMS = ("java", "scylla")
"""Whatever else listens at its address only passes bytes on, to a container perhaps."""

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


class Place(msgspec.Struct, frozen=True):
    """A keyspace of the engine, and the process of the engine if it is on this machine."""

    host: str
    port: int
    keyspace: str
    engine_pid: int | None


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
        await migrate(target)
        async with running(target) as server:
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
    seconds = options.duration + GENERATOR_SECONDS
    return await run_apart("loadtest.cql_floor", plan, Writes, seconds)


async def send(
    options: Options, place: Place, server: Server, pairs: list[Pair], load: ClosedLoop | OpenLoop
) -> Traffic:
    """Send messages through the node."""
    plan = Plan([server.pid], options.protocol, pairs, load, engine_pid=place.engine_pid)
    return await generate(plan, Traffic)


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
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS lets only root look
        return None
    listening = {
        connection.pid
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    found = [pid for pid in listening if pid and psutil.Process(pid).name() in ENGINE_PROGRAMS]
    return found[0] if len(found) == 1 else None


async def migrate(target: Tradewire) -> None:
    """Make the keyspace and the tables; raises `ServerError`, or `TimeoutError` after 120 s."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradewire", "migrate", "up"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **target.environment},
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(MIGRATION_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ServerError(f"tradewire migrate up: {output.decode(errors='replace')}")
