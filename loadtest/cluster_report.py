"""What the bench of a cell amounts to: two nodes beside one, medians of the rounds, and targets.

What is counted of nodes is that of all nodes of a cell together.
"""

from collections.abc import Callable
from statistics import median

import msgspec

from loadtest.bench import Round
from loadtest.cluster_bench import Results
from loadtest.figures import (
    Figure,
    Report,
    faults,
    generator_core,
    latency_p50,
    latency_p99,
    lateness_p99,
    limited,
    rate,
    server_cost,
    silent,
)
from loadtest.plan import Traffic
from loadtest.report import compared, limits, named_runs
from loadtest.scylla_report import engine_cost

MOST_P50_MS = 8.0
MOST_P99_MS = 40.0

COLUMNS = ("one node", "two nodes")


def summarize(results: Results) -> Report:
    """Reduce the rounds to their medians and judge them."""
    runs = named_runs(results.closed, results.open, COLUMNS)
    name = f"at {results.options.rate:,.0f}/s: "
    return Report(
        COLUMNS,
        [
            compared("durable sends", results.closed, rate, "/s", 0),
            times_one_node(results.closed),
            *cost_figures("", results.closed),
            below(MOST_P50_MS, name + "p50", results.open, latency_p50),
            below(MOST_P99_MS, name + "p99", results.open, latency_p99),
            compared(name + "generator late, p99", results.open, lateness_p99, "ms", 2),
            *cost_figures(name, results.open),
        ],
        invalid=[
            *silent(runs),
            *faults((name, run.faults) for name, run in runs),
            *limits(results.closed, results.open),
        ],
        marked=[name for name, run in runs if limited(run)],
        title=results.engines,
    )


def times_one_node(rounds: list[Round]) -> Figure:
    """Rates as multiples of that of one node; the median of the rounds' own ratios."""
    times = median(rate(one.subject) / max(rate(one.floor), 1.0) for one in rounds)
    return Figure("times one node", (1.0, times), "", 2)


def cost_figures(name: str, rounds: list[Round]) -> list[Figure]:
    """Processor time of all who take part."""
    return [
        compared(name + "nodes' CPU per 1,000 messages", rounds, server_cost, "s", 4),
        compared(name + "Cassandra's CPU per 1,000", rounds, engine_cost, "s", 4),
        compared(name + "Kafka's CPU per 1,000", rounds, broker_cost, "s", 4),
        compared(name + "generator's share of its core", rounds, generator_core, "", 2),
    ]


def below(
    most_ms: float, name: str, rounds: list[Round], value: Callable[[Traffic], float]
) -> Figure:
    """A time of the open loop, which two nodes are to stay below."""
    met = median(value(one.subject) for one in rounds) < most_ms
    figure = compared(name, rounds, value, "ms", 2)
    return msgspec.structs.replace(figure, target=f"< {most_ms:.0f} ms", met=met)


def broker_cost(run: Traffic) -> float | None:
    """Seconds of Kafka's processor time for 1,000 messages."""
    used = run.broker_cpu_s
    return None if used is None else 1000 * used / max(run.acknowledged, 1)
