"""The comparison of a server with the floor: alternating runs, so that noise hits both."""

import asyncio
import resource
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import msgspec

from loadtest.messages import Protocol
from loadtest.plan import (
    ClosedLoop,
    Footprint,
    Idle,
    OpenLoop,
    Pair,
    Plan,
    Traffic,
    WritePlan,
    Writes,
)
from loadtest.servers import ROOT, Server, Target, running

Result = TypeVar("Result", Traffic, Footprint, Writes)

GENERATOR_SECONDS = 120.0
"""What a run of the generator, or of another client, may take beyond its measured time."""


class GeneratorError(Exception):
    """The generator, or another client, failed; its own words are on standard error."""


class Loops(msgspec.Struct, frozen=True, kw_only=True):
    """How to load a server; ``duration`` is the measured seconds of each run."""

    duration: float = 3.0
    rounds: int
    connections: int = 200
    in_flight: int = 16
    rate: float
    protocol: Protocol = "json"


class Options(Loops, frozen=True, kw_only=True):
    """What to measure in a comparison with the floor."""

    rounds: int = 6
    rate: float = 1000.0
    idle_connections: int = 2000


class Round(msgspec.Struct, frozen=True):
    """The same load on both servers, one right after the other."""

    floor: Traffic
    subject: Traffic


class Results(msgspec.Struct, frozen=True):
    """Everything measured."""

    subject: str
    options: Options
    closed: list[Round]
    open: list[Round]
    idle_floor: Footprint
    idle_subject: Footprint


async def compare(
    options: Options, floor: Target, subject: Target, progress: Callable[[str], None]
) -> Results:
    """Measure both; raises `ServerError` or `GeneratorError`, or `TimeoutError` from a run."""
    raise_file_limit()
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(t)) for t in (floor, subject)]
        pairs = [await server.pairs(options.connections // 2) for server in servers]
        closed, opened = [], []
        for number in range(1, options.rounds + 1):
            progress(f"round {number} of {options.rounds}: greatest rate")
            closing = ClosedLoop(options.in_flight, options.duration)
            closed.append(await one_round(options, servers, pairs, closing, number))
            progress(f"round {number} of {options.rounds}: {options.rate:,.0f} messages/s")
            opening = OpenLoop(options.rate, options.duration, seed=number)
            opened.append(await one_round(options, servers, pairs, opening, number))
    progress(f"{options.idle_connections:,} idle connections")
    idle = [await footprint(options, target) for target in (floor, subject)]
    return Results(subject.name, options, closed, opened, idle[0], idle[1])


async def one_round(
    options: Options,
    servers: list[Server],
    pairs: list[list[Pair]],
    load: ClosedLoop | OpenLoop,
    number: int,
) -> Round:
    """Put the load on one server after the other; who goes first changes with each round."""
    plans = [
        Plan(server.host, server.port, server.pid, options.protocol, who, load)
        for server, who in zip(servers, pairs, strict=True)
    ]
    seconds = load.seconds + GENERATOR_SECONDS
    order = (0, 1) if number % 2 else (1, 0)
    traffic = {place: await generate(plans[place], Traffic, seconds) for place in order}
    return Round(traffic[0], traffic[1])


async def footprint(options: Options, target: Target) -> Footprint:
    """Measure idle connections on a fresh server, whose memory no load has stretched."""
    async with running(target) as server:
        pairs = server.strangers(options.idle_connections // 2)
        plan = Plan(server.host, server.port, server.pid, options.protocol, pairs, Idle())
        return await generate(plan, Footprint, GENERATOR_SECONDS)


async def generate(plan: Plan, result: type[Result], seconds: float) -> Result:
    """Run the generator in a process of its own; raises `GeneratorError` or `TimeoutError`."""
    return await run_apart("loadtest.generator", plan, result, seconds)


async def run_apart(
    module: str, plan: Plan | WritePlan, result: type[Result], seconds: float
) -> Result:
    """Run a module in a process of its own, the plan its input and the result its output.

    Raises `GeneratorError`, or `TimeoutError` after so many seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(msgspec.json.encode(plan))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise GeneratorError(f"{module} ended with {process.returncode}")
    return msgspec.json.decode(output, type=result)


def raise_file_limit() -> None:
    """Let this process and its children open as many sockets as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
