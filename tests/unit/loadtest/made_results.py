"""Results as a run leaves them, with figures that tests choose."""

import random
from typing import Any

from msgspec.structs import replace

from loadtest.results import (
    Machine,
    Result,
    Second,
    Step,
    Usage,
    encoded,
    new_histogram,
)

MIB = 2**20


def histogram(*milliseconds: float) -> str:
    """The encoded histogram of these times."""
    times = new_histogram()
    for one in milliseconds:
        times.record_value(round(1000 * one))
    return encoded(times)


def noisy(value: float, seed: int, seconds: int = 60, spread: float = 0.05) -> list[Second]:
    """A timeline whose latency and cost lie around the value."""
    chance = random.Random(seed)
    return [second(at, value * chance.gauss(1, spread)) for at in range(1, seconds + 1)]


def second(at: float, value: float = 2.0, **values: Any) -> Second:
    """A second with a p50 of ``value`` ms, in which the server used as many hundredths of a core.

    1,000 operations were done in it.
    """
    made = Second(
        at=at,
        rate=1000.0,
        in_flight=4,
        errors=0,
        p50_ms=value,
        p95_ms=2 * value,
        p99_ms=3 * value,
        cores={"server": value / 100, "generator": 0.1},
        memory={"server": 80 * MIB, "generator": 50 * MIB},
    )
    return replace(made, **values)


def step(offered: float | None = 1000.0, **values: Any) -> Step:
    """A sound step of a minute; ``values`` are put in place of what it holds."""
    made = Step(
        offered=offered,
        seconds=60.0,
        done={"send": 60_000},
        latency={"delivered": histogram(1, 2, 4), "send": histogram(0.5)},
        lateness=histogram(0.25),
        errors={},
        faults={},
        usage={"server": Usage(1.2, 80 * MIB), "generator": Usage(6.0, 50 * MIB)},
        timeline=noisy(2.0, seed=1),
        generator_core=0.37,
        invalid=[],
    )
    return replace(made, **values)


def result(*steps: Step, **values: Any) -> Result:
    """A run of these steps; ``values`` are put in place of what it holds."""
    made = Result(
        name="pairs",
        description="Buyers and sellers chat.",
        started_at="2026-11-20T10:00:00Z",
        scenario={"protocol": "json", "rate": 1000, "connections": 200},
        chief="delivered",
        objective_ms=None,
        target="one node on sqlite",
        settings={"STORE": "sqlite"},
        machine=Machine("a processor", 2, 8 * 1024 * MIB, "Linux 6.1"),
        commit="3b32a9f",
        versions={"tradewire": "0.1.0"},
        steps=list(steps),
    )
    return replace(made, **values)
