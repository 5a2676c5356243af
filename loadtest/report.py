"""What a comparison with the floor amounts to: medians of the rounds beside their targets."""

from collections.abc import Callable
from statistics import median

import msgspec

from loadtest.bench import Results, Round
from loadtest.figures import (
    Figure,
    Report,
    bottlenecks,
    faults,
    generator_core,
    generator_cost,
    latency_p50,
    latency_p99,
    lateness_p99,
    limited,
    middle,
    rate,
    server_cost,
    silent,
)
from loadtest.plan import Traffic

LEAST_SHARE_OF_FLOOR = 0.65
MOST_CPU_S = 0.06
"""For 1,000 messages."""
MOST_P99_TO_FLOOR = 1.5
MOST_IDLE_KIB = 24.0


def summarize(results: Results) -> Report:
    """Reduce the rounds to their medians and judge them."""
    runs = named_runs(results.closed, results.open, ("floor", results.subject))
    idle = (
        ("idle, floor", results.idle_floor.faults),
        (f"idle, {results.subject}", results.idle_subject.faults),
    )
    return Report(
        ("floor", results.subject),
        [*rate_figures(results), *latency_figures(results), idle_figure(results)],
        invalid=[
            *silent(runs),
            *faults([*((name, run.faults) for name, run in runs), *idle]),
            *limits(results.closed, results.open),
        ],
        marked=[name for name, run in runs if limited(run)],
    )


def rate_figures(results: Results) -> list[Figure]:
    """The greatest rate and its cost; a ratio is the median of the rounds' own ratios."""
    rounds = results.closed
    share = median(rate(one.subject) / max(rate(one.floor), 1.0) for one in rounds)
    met = share >= LEAST_SHARE_OF_FLOOR
    return [
        compared("durable sends", rounds, rate, "/s", 0),
        Figure("share of the floor", (1.0, share), "", 2, f">= {LEAST_SHARE_OF_FLOOR}", met),
        at_most(MOST_CPU_S, compared("server CPU per 1,000 messages", rounds, server_cost, "s", 4)),
        compared("generator CPU per 1,000 messages", rounds, generator_cost, "s", 4),
        compared("generator's share of its core", rounds, generator_core, "", 2),
    ]


def latency_figures(results: Results) -> list[Figure]:
    """Send → delivered at the peer's socket, from the time each message was due."""
    rounds, name = results.open, f"at {results.options.rate:,.0f}/s: "
    ratio = median(latency_p99(one.subject) / max(latency_p99(one.floor), 0.01) for one in rounds)
    return [
        compared(name + "p50", rounds, latency_p50, "ms", 2),
        compared(name + "p99", rounds, latency_p99, "ms", 2),
        at_most(MOST_P99_TO_FLOOR, Figure(name + "p99, times the floor's", (1.0, ratio), "", 2)),
        compared(name + "generator late, p99", rounds, lateness_p99, "ms", 2),
        compared(name + "server CPU per 1,000 messages", rounds, server_cost, "s", 4),
    ]


def idle_figure(results: Results) -> Figure:
    """Growth of resident memory for each idle connection."""
    floor, subject = results.idle_floor, results.idle_subject
    name = f"memory per connection, {subject.connections:,} idle"
    memory = (floor.kib_per_connection, subject.kib_per_connection)
    return at_most(MOST_IDLE_KIB, Figure(name, memory, "KiB", 1))


def at_most(most: float, figure: Figure) -> Figure:
    """The figure, judged by its last value."""
    value = figure.values[-1]
    target = f"<= {most:g} {figure.unit}".rstrip()
    return msgspec.structs.replace(figure, target=target, met=value is not None and value <= most)


def compared(
    name: str, rounds: list[Round], value: Callable[[Traffic], float | None], unit: str, digits: int
) -> Figure:
    """The median over the rounds for each side."""
    values = (
        middle(value(one.floor) for one in rounds),
        middle(value(one.subject) for one in rounds),
    )
    return Figure(name, values, unit, digits)


def named_runs(
    closed: list[Round], opened: list[Round], sides: tuple[str, str]
) -> list[tuple[str, Traffic]]:
    """Every loop that was run, with a name for it."""
    return [
        (f"{loop}, round {number}, {side}", run)
        for loop, rounds in (("greatest rate", closed), ("open loop", opened))
        for number, one in enumerate(rounds, 1)
        for side, run in zip(sides, (one.floor, one.subject), strict=True)
    ]


def limits(closed: list[Round], opened: list[Round]) -> list[str]:
    """The loops whose figures the generator may have set; see `bottlenecks`."""
    loops = {"greatest rate": closed, "open loop": opened}
    return bottlenecks(
        {name: [(one.floor, one.subject) for one in rounds] for name, rounds in loops.items()}
    )
