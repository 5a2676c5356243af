import io

import msgspec
import pytest
from rich.console import Console

from loadtest.bench import Options, Results, Round
from loadtest.figures import show
from loadtest.plan import Footprint, Percentiles, Traffic
from loadtest.report import summarize


def traffic(
    *,
    acknowledged: int = 10_000,
    server_cpu_s: float = 0.3,
    p99: float = 5.0,
    late: float = 0.0,
    generator_cpu_s: float = 0.5,
    faults: dict[str, int] | None = None,
) -> Traffic:
    return Traffic(
        seconds=1.0,
        acknowledged=acknowledged,
        server_cpu_s=server_cpu_s,
        generator_cpu_s=generator_cpu_s,
        latency_ms=Percentiles(1.0, p99, p99),
        lateness_ms=Percentiles(0.0, late, late),
        faults=faults or {},
    )


FLOOR = traffic()


def results(
    closed: list[Traffic], opened: list[Traffic], kib: float = 20.0, floor: Traffic = FLOOR
) -> Results:
    return Results(
        "tradewire",
        Options(),
        [Round(floor, run) for run in closed],
        [Round(FLOOR, run) for run in opened],
        Footprint(1900, 15.0, {}),
        Footprint(1900, kib, {}),
    )


def test_meeting_every_target_exits_with_0() -> None:
    report = summarize(results([traffic(acknowledged=6_500)], [traffic(p99=7.5)], kib=24.0))
    assert report.exit_code == 0
    assert [figure.met for figure in report.figures if figure.target] == [True, True, True, True]


@pytest.mark.parametrize(
    "missed",
    [
        results([traffic(acknowledged=6_499)], [traffic()]),
        results([traffic(server_cpu_s=0.61)], [traffic()]),
        results([traffic()], [traffic(p99=7.6)]),
        results([traffic()], [traffic()], kib=24.1),
    ],
    ids=["rate", "cpu", "p99", "memory"],
)
def test_missing_one_target_exits_with_1(missed: Results) -> None:
    report = summarize(missed)
    assert report.exit_code == 1
    assert [figure.met for figure in report.figures if figure.target].count(False) == 1


@pytest.mark.parametrize(
    "worthless",
    [
        results([traffic(faults={"out of order": 1})], [traffic()]),
        results([traffic()], [traffic(faults={"never delivered": 1})]),
        results([traffic()], [traffic()], floor=traffic(faults={"altered": 1})),
        results([traffic(generator_cpu_s=0.95)], [traffic()]),
        results([traffic()], [traffic(late=5.1)]),
        results([traffic(acknowledged=1, faults={"refused: overloaded": 1})], [traffic()]),
        results([traffic(acknowledged=0)], [traffic()], floor=traffic(acknowledged=0)),
    ],
    ids=["subject", "open loop", "floor", "core", "late", "missed too", "nothing sent"],
)
def test_a_run_that_proves_nothing_exits_with_2(worthless: Results) -> None:
    report = summarize(worthless)
    assert report.invalid
    assert report.exit_code == 2


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    runs = [traffic(acknowledged=n) for n in (1_000, 7_000, 9_000)]
    share = summarize(results(runs, [traffic()])).figures[1]
    assert share.values == (1.0, 0.7)
    assert share.met


def test_a_lone_limited_round_is_marked_and_does_not_spoil_the_run() -> None:
    runs = [traffic(generator_cpu_s=0.95), traffic(), traffic()]
    report = summarize(results(runs, [traffic()]))
    assert report.marked == ["greatest rate, round 1, tradewire"]
    assert report.exit_code == 0


def test_the_table_shows_figures_targets_and_reasons() -> None:
    output = io.StringIO()
    report = summarize(results([traffic(acknowledged=2_000, faults={"altered": 3})], [traffic()]))
    show(report, Console(file=output, width=120))
    text = output.getvalue()
    assert "10,000 /s" in text
    assert "missed" in text
    assert "greatest rate, round 1, tradewire: 3 x altered" in text


def test_results_survive_the_file() -> None:
    measured = results([traffic()], [traffic()])
    assert msgspec.json.decode(msgspec.json.encode(measured), type=Results) == measured
