"""Starts generators, has them begin together, and puts together what they tell."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import TypeVar

import msgspec

from loadtest.cpu import Meter, Parts, Reading, cores, shares
from loadtest.histogram import add, percentiles_ms
from loadtest.plan import Ended, Plan, Ready, Start, Tick
from loadtest.results import Second, Usage
from loadtest.servers import ROOT

OPENING_SECONDS = 120.0
"""What a generator may take until all its connections are open."""
TELLING_SECONDS = 90.0
"""What it may take to tell what it must by then; it drains for a minute at most."""
LINE_BYTES = 16 << 20
SETTLE_SECONDS = 1.0
"""How long the server may tidy up before its memory is read."""
LEAST_SECONDS = 0.001
"""A generator that was held up tells of a second afterwards, as one of no length."""
BEFOREHAND_SECONDS = 0.1
"""How long before its start a generator is told of it."""

Line = TypeVar("Line", Ready, Tick, Ended)
OnSecond = Callable[[Second], None]

_read = msgspec.json.Decoder(Ready | Tick | Ended).decode


class GeneratorError(Exception):
    """The generator, or another client, failed; its own words are on standard error."""


@dataclass
class Outcome:
    """What generators came to; see `loadtest.results.Step`. ``due`` is what was scheduled."""

    chief: str
    generators: int
    seconds: float = 0.0
    due: int = 0
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    latency: dict[str, Counter[int]] = field(default_factory=dict)
    lateness: Counter[int] = field(default_factory=Counter)
    usage: dict[str, Usage] = field(default_factory=dict)
    timeline: list[Second] = field(default_factory=list)
    generator_core: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def busiest(self) -> float:
        """The share of their cores that the generators used in the second in which it was most."""
        return max(second.cores["generator"] for second in self.timeline) / self.generators

    @property
    def operations(self) -> int:
        """All that was done, of whatever kind."""
        return self.done.total()

    def count(self, ticks: Sequence[Tick]) -> None:
        """Add a second of the window, of all generators."""
        self.seconds += sum(tick.seconds for tick in ticks) / len(ticks)
        for tick in ticks:
            self.due += tick.due
            self.done.update(tick.done)

    def keep(self, ticks: Sequence[Tick]) -> None:
        """Add what counts whenever it came."""
        for tick in ticks:
            self.errors.update(tick.errors)
            self.lateness.update(tick.lateness)
            add(self.latency, tick.latency)


class Generator:
    """A generator process that was given its plan."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, line: Plan | Start) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(line) + b"\n")

    async def hear(self, kind: type[Line], seconds: float = TELLING_SECONDS) -> Line:
        """The next line; raises `GeneratorError`, or `TimeoutError` after so many seconds."""
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        if not line:
            raise GeneratorError(f"the generator ended with {await self._process.wait()}")
        heard = _read(line)
        if not isinstance(heard, kind):
            raise GeneratorError(f"the generator said {type(heard).__name__} too early")
        return heard


@asynccontextmanager
async def generators(plans: Sequence[Plan]) -> AsyncIterator[list[Generator]]:
    """A generator for each plan, all connections open; raises as `Generator.hear` does."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(_generator(plan)) for plan in plans]
        for each, plan in zip(made, plans, strict=True):
            await each.hear(Ready, OPENING_SECONDS + plan.settle)
        yield made


@asynccontextmanager
async def _generator(plan: Plan) -> AsyncIterator[Generator]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.generator"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=LINE_BYTES,
    )
    try:
        made = Generator(process)
        made.tell(plan)
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def exchange(
    plans: Sequence[Plan], parts: Parts, chief: str, on_second: OnSecond = lambda _: None
) -> Outcome:
    """Run the plans at the same time, a generator each, and measure them and all parts.

    Raises `GeneratorError` or `TimeoutError`.
    """
    async with generators(plans) as made:
        meter = Meter({**parts, "generator": [each.pid for each in made]})
        return await _follow(plans[0], made, meter, Outcome(chief, len(made)), on_second)


async def hold(
    first: Plan, plans: Sequence[Plan], parts: Parts, on_second: OnSecond = lambda _: None
) -> tuple[Outcome, int]:
    """Hold idle connections; also returns by how many bytes those of ``plans`` made servers grow.

    Those of ``first`` are opened before the first reading, so that one-time costs are left out.
    Raises as `exchange` does.
    """
    async with generators([first]) as one:
        await asyncio.sleep(SETTLE_SECONDS)
        before = Meter(parts).read().memory.get("server", 0)
        async with generators(plans) as others:
            made = [*one, *others]
            meter = Meter({**parts, "generator": [each.pid for each in made]})
            outcome = await _follow(plans[0], made, meter, Outcome("", len(made)), on_second)
    after = outcome.usage["server"].memory if "server" in outcome.usage else 0
    return outcome, after - before


async def _follow(
    plan: Plan,
    made: Sequence[Generator],
    meter: Meter,
    outcome: Outcome,
    on_second: OnSecond,
) -> Outcome:
    """Have them start, and listen until they ended."""
    start = perf_counter() + BEFOREHAND_SECONDS
    for each in made:
        each.tell(Start(start))
    edges = plan.edges(start)
    await asyncio.sleep(edges[0] - perf_counter())
    last = begin = meter.read()
    for edge, until in pairwise(edges):
        await asyncio.sleep(until - perf_counter())
        before, last = last, meter.read()
        ticks = await _hear_all(made, Tick)
        outcome.keep(ticks)
        second = _second(edge - start, outcome.chief, ticks, before, last)
        if edge >= start + plan.lead:
            outcome.count(ticks)
            outcome.timeline.append(second)
        else:
            begin = last
        on_second(second)
    outcome.keep(await _hear_all(made, Tick))
    for ended in await _hear_all(made, Ended):
        outcome.faults.update(ended.faults)
    outcome.usage = _usage(begin, last)
    outcome.generator_core = max(shares(begin, last, "generator"))
    return outcome


async def _hear_all(made: Sequence[Generator], kind: type[Line]) -> list[Line]:
    return [await each.hear(kind) for each in made]


def _second(
    at: float, chief: str, ticks: Sequence[Tick], before: Reading, after: Reading
) -> Second:
    latency: dict[str, Counter[int]] = {}
    for tick in ticks:
        add(latency, tick.latency)
    p50, p95, p99 = percentiles_ms(latency.get(chief, {}), 50, 95, 99)
    return Second(
        at,
        sum(sum(tick.done.values()) / max(tick.seconds, LEAST_SECONDS) for tick in ticks),
        sum(tick.in_flight for tick in ticks),
        sum(sum(tick.errors.values()) for tick in ticks),
        p50,
        p95,
        p99,
        {part: cores(before, after, part) for part in after.memory},
        after.memory,
    )


def _usage(begin: Reading, end: Reading) -> dict[str, Usage]:
    return {
        part: Usage(sum(end.cpu_s[part]) - sum(begin.cpu_s[part]), memory)
        for part, memory in end.memory.items()
    }
