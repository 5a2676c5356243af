import io

import msgspec
import pytest
from rich.console import Console

from loadtest.figures import Figure, Report, show
from loadtest.plan import Percentiles, Traffic, Writes
from loadtest.scylla_bench import Options, Results, Round
from loadtest.scylla_report import summarize


def writes(rows: int = 5_000, engine: float | None = 1.0, **faults: int) -> Writes:
    return Writes(1.0, rows, client_cpu_s=0.5, faults=faults, engine_cpu_s=engine)


def traffic(
    acknowledged: int = 10_000,
    *,
    p99: float = 5.0,
    late: float = 0.0,
    server_cpu_s: float = 1.0,
    engine: float | None = 0.5,
    **faults: int,
) -> Traffic:
    return Traffic(
        seconds=1.0,
        acknowledged=acknowledged,
        server_cpu_s=server_cpu_s,
        generator_cpu_s=0.5,
        latency_ms=Percentiles(1.0, p99, p99),
        lateness_ms=Percentiles(0.0, late, late),
        faults=faults,
        engine_cpu_s=engine,
    )


SINGLE, BATCHED = writes(), writes(20_000)
CLOSED, OPEN = traffic(), traffic(500)


def report(*rounds: Round) -> Report:
    return summarize(Results("Apache Cassandra 5.0.5", Options(), list(rounds)))


def named(found: Report, name: str) -> Figure:
    [figure] = [figure for figure in found.figures if figure.name == name]
    return figure


def test_meeting_every_target_exits_with_0() -> None:
    closed = traffic(6_000, server_cpu_s=0.72)
    found = report(Round(SINGLE, BATCHED, closed, traffic(500, p99=24.9)))
    assert found.exit_code == 0
    assert [figure.met for figure in found.figures if figure.target] == [True, True, True]


@pytest.mark.parametrize(
    "missed",
    [
        Round(SINGLE, BATCHED, traffic(5_999, server_cpu_s=0.5), OPEN),
        Round(SINGLE, BATCHED, CLOSED, traffic(500, p99=25.0)),
        Round(SINGLE, BATCHED, traffic(server_cpu_s=1.21), OPEN),
    ],
    ids=["rate", "p99", "CPU"],
)
def test_missing_one_target_exits_with_1(missed: Round) -> None:
    found = report(missed)
    assert found.exit_code == 1
    assert [figure.met for figure in found.figures if figure.target].count(False) == 1


@pytest.mark.parametrize(
    "worthless",
    [
        Round(writes(OperationTimedOut=1), BATCHED, CLOSED, OPEN),
        Round(SINGLE, writes(20_000, WriteTimeout=1), CLOSED, OPEN),
        Round(writes(0), BATCHED, CLOSED, OPEN),
        Round(SINGLE, BATCHED, traffic(altered=1), OPEN),
        Round(SINGLE, BATCHED, CLOSED, traffic(500, altered=1)),
        Round(SINGLE, BATCHED, CLOSED, traffic(0)),
        Round(SINGLE, BATCHED, CLOSED, traffic(500, late=5.1)),
    ],
    ids=["single", "batched", "nothing written", "node", "open loop", "nothing sent", "late"],
)
def test_a_run_that_proves_nothing_exits_with_2(worthless: Round) -> None:
    found = report(worthless)
    assert found.invalid
    assert found.exit_code == 2


def test_ratios_are_the_medians_of_the_rounds() -> None:
    rounds = [Round(SINGLE, BATCHED, traffic(n), OPEN) for n in (5_000, 10_000, 40_000)]
    found = report(*rounds)
    assert named(found, "times raw single").values == (1.0, 4.0, 2.0)
    assert named(found, "times raw batched").values == (0.25, 1.0, 0.5)
    assert named(found, "times raw batched").met is None


def test_what_each_costs() -> None:
    found = report(Round(SINGLE, BATCHED, CLOSED, OPEN))
    assert named(found, "client CPU per row").values == (100.0, 25.0, None)
    assert named(found, "node CPU per 1,000 messages").values == (None, None, 0.1)
    assert named(found, "engine CPU per 1,000").values == (0.2, 0.05, 0.05)
    assert named(found, "cores the engine used").values == (1.0, 1.0, 0.5)


def test_an_engine_that_cannot_be_seen_is_left_out() -> None:
    hidden = Round(
        writes(engine=None), writes(engine=None), traffic(engine=None), traffic(engine=None)
    )
    found = report(hidden, Round(SINGLE, BATCHED, CLOSED, OPEN))
    assert named(found, "cores the engine used").values == (None, None, None)
    assert found.exit_code == 0


def test_a_lone_limited_round_is_marked_and_does_not_spoil_the_run() -> None:
    good = Round(SINGLE, BATCHED, CLOSED, OPEN)
    found = report(good, Round(SINGLE, BATCHED, CLOSED, traffic(500, late=9.0)), good)
    assert found.marked == ["open loop, round 2"]
    assert found.exit_code == 0


def test_the_table_names_the_engine_and_shows_what_is_missed() -> None:
    output = io.StringIO()
    found = report(Round(writes(WriteTimeout=2), BATCHED, traffic(2_000), OPEN))
    show(found, Console(file=output, width=120))
    text = output.getvalue()
    assert "Apache Cassandra 5.0.5" in text
    assert "20,000 /s" in text
    assert "100.0 µs" in text
    assert "missed" in text
    assert "raw single, round 1: 2 x WriteTimeout" in text


def test_results_survive_the_file() -> None:
    measured = Results("an engine", Options(), [Round(SINGLE, BATCHED, CLOSED, OPEN)])
    assert msgspec.json.decode(msgspec.json.encode(measured), type=Results) == measured
