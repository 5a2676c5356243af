"""The comparison of a server with the floor: alternating runs, so that noise hits both."""

import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import msgspec

from loadtest.controller import SETTLE_SECONDS, GeneratorError, Outcome, exchange, hold
from loadtest.cpu import Parts
from loadtest.histogram import percentiles_ms
from loadtest.messages import Protocol
from loadtest.plan import (
    ClosedLoop,
    Footprint,
    Idle,
    OpenLoop,
    Pair,
    Percentiles,
    Plan,
    Traffic,
    WritePlan,
    Writes,
    on_pairs,
)
from loadtest.servers import Server, Target, run_to_end, running

Side = Callable[[ClosedLoop | OpenLoop], Awaitable[tuple[Plan, Parts]]]
"""The floor or the subject: makes the plan of a run on it, and names its processes."""

CLIENT_SECONDS = 120.0
"""What a run of another client may take beyond its measured time."""
FIRST_PAIRS = 50
"""Idle connections opened before the first reading, so that one-time costs are left out."""


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
    rate: float = 2000.0
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

    async def plan(load: ClosedLoop | OpenLoop) -> tuple[Plan, Parts]:
        return Plan(options.protocol, *on_pairs(pairs), load), {"server": server.pids}

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
    traffic = {place: await generate(*await sides[place](load)) for place in order}
    return Round(traffic[0], traffic[1])


async def footprint(options: Options, target: Target) -> Footprint:
    """Measure idle connections on a fresh server, whose memory no load has stretched."""
    async with running(target) as server:
        pairs = server.strangers(options.idle_connections // 2)
        parts = {"server": server.pids}
        return await rest(options.protocol, pairs, parts)


async def rest(protocol: Protocol, pairs: list[Pair], parts: Parts) -> Footprint:
    """Have these connections idle; raises as `hold` does."""
    first, others = (
        Plan(protocol, *on_pairs(part), Idle(SETTLE_SECONDS), warm_up=0.0)
        for part in (pairs[:FIRST_PAIRS], pairs[FIRST_PAIRS:])
    )
    outcome, grown = await hold(first, [others], parts)
    connections = len(others.connections)
    return Footprint(connections, grown / 1024 / max(connections, 1), wrong(outcome))


async def generate(plan: Plan, parts: Parts) -> Traffic:
    """Run a generator; raises `GeneratorError` or `TimeoutError`."""
    outcome = await exchange([plan], parts, "delivered")
    cpu_s = {part: usage.cpu_s for part, usage in outcome.usage.items()}
    return Traffic(
        seconds=outcome.seconds,
        acknowledged=outcome.done["send"],
        server_cpu_s=cpu_s["server"],
        generator_cpu_s=cpu_s["generator"],
        latency_ms=percentiles(outcome.latency.get("delivered", {})),
        lateness_ms=percentiles(outcome.lateness),
        faults=wrong(outcome),
        engine_cpu_s=cpu_s.get("engine"),
        broker_cpu_s=cpu_s.get("broker"),
    )


def wrong(outcome: Outcome) -> dict[str, int]:
    """Faults, and refusals as such: at these rates none is in order."""
    return outcome.faults + Counter({f"refused: {code}": n for code, n in outcome.errors.items()})


def percentiles(counts: Mapping[int, int]) -> Percentiles:
    """Summarize a histogram."""
    p50, p99, most = percentiles_ms(counts, 50, 99, 100)
    return Percentiles(p50 or 0.0, p99 or 0.0, most or 0.0)


async def run_apart(module: str, plan: WritePlan, seconds: float) -> Writes:
    """Run a module in a process of its own, the plan its input and what it wrote its output.

    Raises `GeneratorError`, or `TimeoutError` after so many seconds.
    """
    code, output = await run_to_end(module, seconds=seconds, given=msgspec.json.encode(plan))
    if code != 0:
        raise GeneratorError(f"{module} ended with {code}")
    return msgspec.json.decode(output, type=Writes)


def raise_file_limit() -> None:
    """Let this process and its children open as many sockets as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
