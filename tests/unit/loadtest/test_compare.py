"""What counts as better or worse, and what cannot be compared."""

from typing import Any

import pytest

from loadtest.compare import Comparison, compare
from loadtest.results import Machine, Result, Step
from tests.unit.loadtest.made_results import histogram, noisy, result, second, step


def of(a: Step, b: Step) -> Comparison:
    return compare(result(a), result(b))


def verdicts(found: Comparison) -> dict[str, str | None]:
    return {change.name: change.verdict for one in found.steps for change in one.judged}


@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize(
    ("times", "verdict", "code"),
    [(1.2, "worse", 1), (0.8, "better", 0), (1.01, "within noise", 0)],
)
def test_a_fifth_counts_and_a_hundredth_does_not(
    seed: int, times: float, verdict: str, code: int
) -> None:
    found = of(step(), step(timeline=noisy(2.0 * times, seed)))
    assert verdicts(found)["delivered p99"] == verdict
    assert verdicts(found)["server CPU per 1,000"] == verdict
    assert verdicts(found)["server memory"] == "within noise"
    assert found.exit_code == code


def test_a_difference_within_the_spread_of_the_seconds_does_not_count() -> None:
    a, b = noisy(2.0, seed=1, seconds=12, spread=0.8), noisy(2.1, seed=2, seconds=12, spread=0.8)
    found = of(step(seconds=12.0, timeline=a), step(seconds=12.0, timeline=b))
    assert verdicts(found)["delivered p50"] == "within noise"


def test_a_steady_difference_of_two_percent_does_not_count() -> None:
    a, b = noisy(2.0, seed=1, spread=0.0), noisy(2.04, seed=2, spread=0.0)
    assert verdicts(of(step(timeline=a), step(timeline=b)))["delivered p50"] == "within noise"


def test_more_throughput_is_better() -> None:
    slow, fast = ([second(at, rate=rate + at % 3) for at in range(60)] for rate in (1000.0, 1300.0))
    assert verdicts(of(step(None, timeline=slow), step(None, timeline=fast)))["done"] == "better"
    assert verdicts(of(step(None, timeline=fast), step(None, timeline=slow)))["done"] == "worse"


def test_what_the_generator_used_is_not_judged() -> None:
    assert not [name for name in verdicts(of(step(), step())) if "generator" in name]


def test_the_cores_of_a_crowd_that_does_nothing_are_judged() -> None:
    quiet = [second(at, rate=0.0, p50_ms=None) for at in range(60)]
    busy = [second(at, 4.0, rate=0.0, p50_ms=None) for at in range(60)]
    found = of(step(done={}, timeline=quiet), step(done={}, timeline=busy))
    assert verdicts(found)["server CPU"] == "worse"
    assert verdicts(found)["delivered p50"] is None


def test_errors_count_when_there_are_more_than_chance_brings() -> None:
    few, more, many = ({"overloaded": count} for count in (10, 14, 60))
    assert verdicts(of(step(errors=few), step(errors=more)))["errors"] == "within noise"
    found = of(step(errors=few), step(errors=many))
    assert found.worse == ["1,000/s: errors 10 → 60, +500.0 %"]
    assert found.exit_code == 1


def test_figures_of_the_whole_step_stand_side_by_side() -> None:
    other = step(
        latency={"delivered": histogram(3), "send": histogram(0.5)}, figures={"KiB each": 22.4}
    )
    [both] = of(step(figures={"KiB each": 20.0}), other).steps
    figures = {change.name: change for change in both.whole}
    assert figures["delivered p50"].text == "delivered p50 2.00 → 3.00 ms, +50.0 %"
    assert figures["delivered p50"].verdict is None
    assert figures["KiB each"].text == "KiB each 20.0 → 22.4, +12.0 %"


def test_steps_are_matched_by_what_they_offered() -> None:
    a = result(step(500.0), step(1000.0), step(1000.0), step(None))
    b = result(step(None), step(1000.0), step(1000.0), step(4000.0))
    found = compare(a, b)
    assert [one.name for one in found.steps] == ["1,000/s", "1,000/s (2)", "closed loop"]
    assert found.remarks == ["500/s is in A only", "4,000/s is in B only"]
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("values", "obstacle"),
    [
        ({"name": "seller"}, "other scenario: pairs and seller"),
        ({"scenario": {"protocol": "msgpack"}}, "other scenario: connections 200 and -"),
        ({"scenario": {"protocol": "msgpack"}}, "other scenario: protocol json and msgpack"),
        ({"machine": Machine("another", 2, 2**33, "Linux 6.1")}, "other machine: cpu a"),
        ({"machine": Machine("a processor", 64, 2**33, "Linux 6.1")}, "other machine: cores 2"),
    ],
)
def test_what_cannot_be_compared_is_said(values: dict[str, Any], obstacle: str) -> None:
    found = compare(result(step()), result(step(timeline=noisy(9.0, seed=1)), **values))
    assert [line for line in found.obstacles if line.startswith(obstacle)]
    assert set(verdicts(found).values()) == {None}
    assert found.exit_code == 2


def test_rate_and_length_of_the_runs_may_differ() -> None:
    scenario = {"protocol": "json", "rate": 9, "seconds": 9, "connections": 200}
    assert compare(result(step()), result(step(), scenario=scenario)).obstacles == []


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (step(invalid=["late"]), "1,000/s is not judged: it proves nothing in A, late"),
        (step(faults={"lost": 1}), "1,000/s is not judged: receivers saw faults in A"),
        (step(timeline=noisy(2.0, 1, 9)), "1,000/s is not judged: A has fewer than 10"),
        (step(held=False), "1,000/s is not judged: neither held the objective"),
    ],
    ids=["invalid", "faults", "short", "not held"],
)
def test_a_step_of_no_worth_is_not_judged(spoilt: Step, reason: str) -> None:
    found = of(spoilt, step(held=False, timeline=noisy(9.0, seed=1)))
    assert [line for line in found.remarks if line.startswith(reason)]
    assert found.worse == []
    assert found.exit_code == 2


def test_new_faults_are_worse_however_fast_it_is() -> None:
    wrong = step(faults={"out of order": 1}, timeline=noisy(0.1, seed=1))
    found = of(step(), wrong)
    assert found.worse == ["receivers saw faults in B"]
    assert found.found("better") == []
    assert found.exit_code == 1


def search(saturation: float | None, objective_ms: float = 40.0) -> Result:
    return result(step(held=True), objective_ms=objective_ms, saturation=saturation)


@pytest.mark.parametrize(
    ("saturation", "verdict"), [(880.0, "worse"), (950.0, "within noise"), (1200.0, "better")]
)
def test_saturation_counts_beyond_what_a_search_leaves_open(
    saturation: float, verdict: str
) -> None:
    assert compare(search(1000.0), search(saturation)).saturation.verdict == verdict


@pytest.mark.parametrize(
    ("other", "remark"),
    [
        (search(None), "saturation is not judged: B looked for none, or held none"),
        (search(1000.0, 80.0), "saturation is not judged: the objectives are not the same"),
    ],
)
def test_a_saturation_without_its_like_is_not_judged(other: Result, remark: str) -> None:
    found = compare(search(2000.0), other)
    assert remark in found.remarks
    assert found.saturation.verdict is None


def test_what_differs_is_told() -> None:
    other = result(step(), commit="f00", settings={}, versions={"tradewire": "0.2.0"})
    assert compare(result(step()), other).differences == [
        "commit 3b32a9f and f00",
        "version of tradewire 0.1.0 and 0.2.0",
        "setting STORE sqlite and -",
    ]
