"""The comparison of a server with the floor: alternating runs, so that noise hits both."""

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
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

Side = Callable[[ClosedLoop | OpenLoop], Awaitable[Plan]]
"""The floor or the subject: makes the plan of a run on it."""

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
    """The same load on both, one right after the other; the floor is what is compared with."""

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
        sides = [
            side(options, server, await server.pairs(options.connections // 2))
            for server in servers
        ]
        closed, opened = await all_rounds(options, sides, progress)
    progress(f"{options.idle_connections:,} idle connections")
    idle = [await footprint(options, target) for target in (floor, subject)]
    return Results(subject.name, options, closed, opened, idle[0], idle[1])


def side(options: Loops, server: Server, pairs: list[Pair]) -> Side:
    """A server on which the same users meet in every run."""

    async def plan(load: ClosedLoop | OpenLoop) -> Plan:
        return Plan([server.pid], options.protocol, pairs, load)

    return plan


async def all_rounds(
    options: Loops, sides: Sequence[Side], progress: Callable[[str], None]
) -> tuple[list[Round], list[Round]]:
    """Put both loads on the floor and on the subject in every round."""
    closed, opened = [], []
    for number in range(1, options.rounds + 1):
        progress(f"round {number} of {options.rounds}: greatest rate")
        closing = ClosedLoop(options.in_flight, options.duration)
        closed.append(await one_round(sides, closing, number))
        progress(f"round {number} of {options.rounds}: {options.rate:,.0f} messages/s")
        opening = OpenLoop(options.rate, options.duration, seed=number)
        opened.append(await one_round(sides, opening, number))
    return closed, opened


async def one_round(sides: Sequence[Side], load: ClosedLoop | OpenLoop, number: int) -> Round:
    """Put the load on one after the other; who goes first changes with each round."""
    order = (0, 1) if number % 2 else (1, 0)
    traffic = {place: await generate(await sides[place](load), Traffic) for place in order}
    return Round(traffic[0], traffic[1])


async def footprint(options: Options, target: Target) -> Footprint:
    """Measure idle connections on a fresh server, whose memory no load has stretched."""
    async with running(target) as server:
        pairs = server.strangers(options.idle_connections // 2)
        return await generate(Plan([server.pid], options.protocol, pairs, Idle()), Footprint)


async def generate(plan: Plan, result: type[Result]) -> Result:
    """Run the generator in a process of its own; raises `GeneratorError` or `TimeoutError`."""
    measured = 0.0 if isinstance(plan.load, Idle) else plan.load.seconds
    return await run_apart("loadtest.generator", plan, result, measured + GENERATOR_SECONDS)


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
