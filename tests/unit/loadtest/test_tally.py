import pytest

from loadtest.plan import ClosedLoop, OpenLoop, Plan, Tick
from loadtest.tally import Tally


def plan(load: ClosedLoop | OpenLoop, warm_up: float = 1.0) -> Plan:
    return Plan("json", [], [], load, warm_up)


def test_the_window_is_cut_into_whole_seconds() -> None:
    assert plan(ClosedLoop(1, 3.0)).edges(10.0) == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_what_is_left_of_a_window_is_a_shorter_one() -> None:
    assert plan(ClosedLoop(1, 1.5), warm_up=0.0).edges(10.0) == [10.0, 11.0, 11.5]


def test_a_ramp_comes_before_the_warm_up() -> None:
    load = OpenLoop(rate=1.0, seconds=1.0, seed=1, ramp=1.5)
    assert plan(load).lead == 2.5
    assert plan(load).edges(10.0) == [9.5, 10.5, 11.5, 12.5, 13.5]


@pytest.fixture
def ticks() -> list[Tick]:
    return []


@pytest.fixture
def tally(ticks: list[Tick]) -> Tally:
    """From 10 s to 12 s, measured since 11 s."""
    tally = Tally(ticks.append)
    tally.begin([10.0, 11.0, 12.0], measure_from=11.0)
    return tally


def test_each_second_is_told_when_it_is_over(tally: Tally, ticks: list[Tick]) -> None:
    tally.due(3)
    tally.roll(10.9)
    assert ticks == []
    tally.roll(11.0)
    tally.due(1)
    tally.roll(12.5)
    assert [(tick.due, tick.seconds) for tick in ticks] == [(3, 1.0), (1, 1.5)]


def test_nobody_waits_for_a_second_that_nothing_came_in(tally: Tally, ticks: list[Tick]) -> None:
    tally.roll(12.0)
    tally.finish(13.0)
    assert len(ticks) == 3


def test_what_was_due_before_the_window_has_no_latency(tally: Tally, ticks: list[Tick]) -> None:
    tally.done("send", due=10.9, now=11.5)
    tally.roll(12.0)
    assert ticks[-1].done == {"send": 1} or ticks[0].done == {"send": 1}
    assert all(not tick.latency for tick in ticks)


def test_what_ends_after_the_window_has_its_whole_latency(tally: Tally, ticks: list[Tick]) -> None:
    tally.roll(12.0)
    tally.done("send", due=11.5, now=13.5)
    tally.finish(14.0)
    [value] = ticks[-1].latency["send"]
    assert value == pytest.approx(2e6, rel=1e-3)


def test_what_was_refused_is_no_longer_under_way(tally: Tally, ticks: list[Tick]) -> None:
    tally.in_flight = 2
    tally.failed("overloaded")
    tally.finish(13.0)
    assert (ticks[-1].errors, ticks[-1].in_flight) == ({"overloaded": 1}, 1)


def test_in_a_storm_lateness_is_not_counted(tally: Tally, ticks: list[Tick]) -> None:
    tally.storming = True
    tally.sent(due=11.0, now=11.5)
    tally.storming = False
    tally.sent(due=11.5, now=11.5)
    tally.finish(13.0)
    assert sum(ticks[-1].lateness.values()) == 1
