"""What the bench on ScyllaDB or Cassandra amounts to: medians of the rounds beside their targets.

A message of the node is compared with a row of the plain driver, though it takes several rows.
"""

from collections.abc import Callable
from statistics import median

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
from loadtest.plan import Traffic, Writes
from loadtest.scylla_bench import Results, Round

LEAST_TIMES_SINGLE = 1.2
MOST_P99_MS = 25.0
MOST_NODE_CPU_S = 0.12
"""For 1,000 messages."""

COLUMNS = ("raw single", "raw batched", "tradewire")


def summarize(results: Results) -> Report:
    """Reduce the rounds to their medians and judge them."""
    runs, writes = named_runs(results.rounds), named_writes(results.rounds)
    loops = {
        "greatest rate": [(one.closed,) for one in results.rounds],
        "open loop": [(one.open,) for one in results.rounds],
    }
    return Report(
        COLUMNS,
        [*rate_figures(results.rounds), *latency_figures(results)],
        invalid=[
            *silent(runs),
            *(f"{name}: nothing written" for name, run in writes if not run.rows),
            *faults((name, run.faults) for name, run in runs),
            *faults((name, run.faults) for name, run in writes),
            *bottlenecks(loops),
        ],
        marked=[name for name, run in runs if limited(run)],
        title=results.engine,
    )


def rate_figures(rounds: list[Round]) -> list[Figure]:
    """Rates and what they cost; the ratios are the medians of the rounds' own ratios."""
    cost = median(server_cost(one.closed) for one in rounds)
    return [
        Figure("durable rows, or messages", per_subject(rounds, row_rate, rate), "/s", 0),
        times_single(rounds),
        times_batched(rounds),
        Figure("client CPU per row", per_subject(rounds, client_cost, unknown), "µs", 1),
        Figure(
            "node CPU per 1,000 messages",
            (None, None, cost),
            "s",
            4,
            f"<= {MOST_NODE_CPU_S} s",
            cost <= MOST_NODE_CPU_S,
        ),
        Figure("engine CPU per 1,000", per_subject(rounds, engine_cost, engine_cost), "s", 4),
        Figure("cores the engine used", per_subject(rounds, engine_cores, engine_cores), "", 2),
        of_node("generator CPU per 1,000 messages", rounds, generator_cost, "s", 4),
        of_node("generator's share of its core", rounds, generator_core, "", 2),
    ]


def times_single(rounds: list[Round]) -> Figure:
    """Rates as multiples of that of rows one by one."""
    batched = median(row_rate(one.batched) / max(row_rate(one.single), 1.0) for one in rounds)
    node = median(rate(one.closed) / max(row_rate(one.single), 1.0) for one in rounds)
    met = node >= LEAST_TIMES_SINGLE
    return Figure("times raw single", (1.0, batched, node), "", 2, f">= {LEAST_TIMES_SINGLE}", met)


def times_batched(rounds: list[Round]) -> Figure:
    """Rates as multiples of that of rows in batches."""
    single = median(row_rate(one.single) / max(row_rate(one.batched), 1.0) for one in rounds)
    node = median(rate(one.closed) / max(row_rate(one.batched), 1.0) for one in rounds)
    return Figure("times raw batched", (single, 1.0, node), "", 2)


def latency_figures(results: Results) -> list[Figure]:
    """Send → delivered at the peer's socket at a fixed rate, from when each message was due."""
    rounds, name = results.rounds, f"at {results.options.rate:,.0f}/s: "
    p99 = median(latency_p99(one.open) for one in rounds)
    target = f"< {MOST_P99_MS:.0f} ms"
    return [
        of_node(name + "p50", rounds, latency_p50, "ms", 2, fixed=True),
        Figure(name + "p99", (None, None, p99), "ms", 2, target, p99 < MOST_P99_MS),
        of_node(name + "generator late, p99", rounds, lateness_p99, "ms", 2, fixed=True),
        of_node(name + "node CPU per 1,000 messages", rounds, server_cost, "s", 4, fixed=True),
        of_node(name + "generator's share of its core", rounds, generator_core, "", 2, fixed=True),
        of_node(name + "cores the engine used", rounds, engine_cores, "", 2, fixed=True),
    ]


def per_subject(
    rounds: list[Round],
    of_writes: Callable[[Writes], float | None],
    of_node: Callable[[Traffic], float | None],
) -> tuple[float | None, ...]:
    """The median over the rounds for each of the columns."""
    return (
        middle(of_writes(one.single) for one in rounds),
        middle(of_writes(one.batched) for one in rounds),
        middle(of_node(one.closed) for one in rounds),
    )


def of_node(
    name: str,
    rounds: list[Round],
    value: Callable[[Traffic], float | None],
    unit: str,
    digits: int,
    *,
    fixed: bool = False,
) -> Figure:
    """The median over the node's runs, those at its greatest or those at the fixed rate."""
    runs = [one.open if fixed else one.closed for one in rounds]
    return Figure(name, (None, None, middle(value(run) for run in runs)), unit, digits)


def row_rate(run: Writes) -> float:
    """Rows a second."""
    return run.rows / run.seconds


def client_cost(run: Writes) -> float:
    """Microseconds of the client's processor time for a row."""
    return 1e6 * run.client_cpu_s / max(run.rows, 1)


def unknown(_run: Traffic) -> None:
    """Nothing to be said."""


def engine_cost(run: Writes | Traffic) -> float | None:
    """Seconds of the engine's processor time for 1,000 rows or messages."""
    count = run.rows if isinstance(run, Writes) else run.acknowledged
    return None if run.engine_cpu_s is None else 1000 * run.engine_cpu_s / max(count, 1)


def engine_cores(run: Writes | Traffic) -> float | None:
    """The cores that the engine kept busy, its compactions included."""
    return None if run.engine_cpu_s is None else run.engine_cpu_s / run.seconds


def named_runs(rounds: list[Round]) -> list[tuple[str, Traffic]]:
    """Every loop that was run on the node, with a name for it."""
    loops = (("greatest rate", "closed"), ("open loop", "open"))
    return [
        (f"{loop}, round {number}", getattr(one, field))
        for loop, field in loops
        for number, one in enumerate(rounds, 1)
    ]


def named_writes(rounds: list[Round]) -> list[tuple[str, Writes]]:
    """Every run of the plain driver, with a name for it."""
    return [
        (f"raw {shape}, round {number}", getattr(one, shape))
        for shape in ("single", "batched")
        for number, one in enumerate(rounds, 1)
    ]
