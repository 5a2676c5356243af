from itertools import pairwise

import pytest

from loadtest.schedule import Schedule


def test_nothing_is_due_before_the_start() -> None:
    schedule = Schedule(rate=1000, start=50.0, seed=1)
    assert schedule.take(49.999) == []
    assert schedule.take(50.0) == [50.0]


def test_each_arrival_is_taken_once_however_the_clock_moves() -> None:
    steady, jumping = (Schedule(rate=100, start=0.0, seed=7) for _ in range(2))
    ticks = [due for tick in range(1001) for due in steady.take(tick / 100)]
    assert jumping.take(10.0) == ticks
    assert jumping.take(10.0) == []


def test_a_stalled_caller_finds_the_missed_arrivals_with_their_own_times() -> None:
    schedule = Schedule(rate=10, start=0.0, seed=3)
    schedule.take(1.0)
    missed = schedule.take(3.0)
    assert missed
    assert all(1.0 < due <= 3.0 for due in missed)


def test_arrivals_rise_at_the_rate_asked_for() -> None:
    arrivals = Schedule(rate=1000, start=0.0, seed=2).take(60.0)
    assert len(arrivals) == pytest.approx(60_000, rel=0.02)
    assert all(earlier <= later for earlier, later in pairwise(arrivals))


def test_a_seed_names_one_schedule() -> None:
    one, same, other = (Schedule(rate=50, start=0.0, seed=seed).take(5.0) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_next_due_is_the_first_not_taken() -> None:
    schedule = Schedule(rate=5, start=0.0, seed=1)
    schedule.take(2.0)
    due = schedule.next_due
    assert due > 2.0
    assert schedule.take(due) == [due]


def test_in_a_ramp_the_rate_grows_evenly() -> None:
    schedule = Schedule(rate=1000, start=5.0, seed=4, ramp=10.0)
    arrivals = [len(schedule.take(5.0 + second)) for second in (2, 4, 6, 8, 10, 12)]
    assert arrivals == pytest.approx([200, 600, 1000, 1400, 1800, 2000], rel=0.15)
