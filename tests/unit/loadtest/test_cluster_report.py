import io

import msgspec
import pytest
from rich.console import Console

from loadtest.bench import Round
from loadtest.cluster_bench import Options, Results
from loadtest.cluster_report import summarize
from loadtest.figures import Figure, Report, show
from loadtest.plan import Percentiles, Traffic


def traffic(
    acknowledged: int = 1_000,
    *,
    p50: float = 5.0,
    p99: float = 20.0,
    late: float = 0.0,
    nodes: float = 0.1,
    broker: float | None = 0.02,
    **faults: int,
) -> Traffic:
    return Traffic(
        seconds=1.0,
        acknowledged=acknowledged,
        server_cpu_s=nodes,
        generator_cpu_s=0.5,
        latency_ms=Percentiles(p50, p99, p99),
        lateness_ms=Percentiles(0.0, late, late),
        faults=faults,
        engine_cpu_s=0.05,
        broker_cpu_s=broker,
    )


ONE, TWO = traffic(), traffic()


def report(closed: list[Round], opened: list[Round]) -> Report:
    return summarize(Results("a Cassandra, a Kafka", Options(), closed, opened))


def of(closed: Traffic = TWO, opened: Traffic = TWO) -> Report:
    """The report of one round on two nodes."""
    return report([Round(ONE, closed)], [Round(ONE, opened)])


def named(found: Report, name: str) -> Figure:
    [figure] = [figure for figure in found.figures if figure.name == name]
    return figure


def test_meeting_every_target_exits_with_0() -> None:
    found = of(opened=traffic(p50=7.9, p99=39.9))
    assert found.exit_code == 0
    assert [figure.met for figure in found.figures if figure.target] == [True, True]


@pytest.mark.parametrize("missed", [traffic(p50=8.0), traffic(p99=40.0)], ids=["p50", "p99"])
def test_missing_one_target_exits_with_1(missed: Traffic) -> None:
    found = of(opened=missed)
    assert found.exit_code == 1
    assert [figure.met for figure in found.figures if figure.target].count(False) == 1


def test_one_node_has_no_target() -> None:
    assert report([Round(ONE, TWO)], [Round(traffic(p50=99.0, p99=99.0), TWO)]).exit_code == 0


@pytest.mark.parametrize(
    "worthless",
    [
        report([Round(traffic(altered=1), TWO)], [Round(ONE, TWO)]),
        of(closed=traffic(altered=1)),
        of(opened=traffic(altered=1)),
        of(closed=traffic(0)),
        of(opened=traffic(late=5.1)),
    ],
    ids=["one node", "two nodes", "open loop", "nothing sent", "late"],
)
def test_a_run_that_proves_nothing_exits_with_2(worthless: Report) -> None:
    assert worthless.invalid
    assert worthless.exit_code == 2


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    rounds = [Round(ONE, traffic(n)) for n in (500, 900, 4_000)]
    assert named(report(rounds, [Round(ONE, TWO)]), "times one node").values == (1.0, 0.9)


def test_what_each_costs() -> None:
    found = of(closed=traffic(2_000, nodes=0.5, broker=0.1), opened=traffic(500))
    assert named(found, "nodes' CPU per 1,000 messages").values == (0.1, 0.25)
    assert named(found, "Cassandra's CPU per 1,000").values == (0.05, 0.025)
    assert named(found, "Kafka's CPU per 1,000").values == (0.02, 0.05)
    assert named(found, "at 500/s: nodes' CPU per 1,000 messages").values == (0.1, 0.2)
    assert named(found, "at 500/s: Kafka's CPU per 1,000").values == (0.02, 0.04)


def test_a_kafka_that_cannot_be_seen_is_left_out() -> None:
    found = of(closed=traffic(broker=None))
    assert named(found, "Kafka's CPU per 1,000").values == (0.02, None)
    assert found.exit_code == 0


def test_the_table_names_the_engines_and_shows_what_is_missed() -> None:
    output = io.StringIO()
    show(of(opened=traffic(p99=50.0, altered=2)), Console(file=output, width=120))
    text = output.getvalue()
    assert "a Cassandra, a Kafka" in text
    assert "50.00 ms" in text
    assert "missed" in text
    assert "open loop, round 1, two nodes: 2 x altered" in text


def test_results_survive_the_file() -> None:
    measured = Results("engines", Options(), [Round(ONE, TWO)], [Round(ONE, TWO)])
    assert msgspec.json.decode(msgspec.json.encode(measured), type=Results) == measured
