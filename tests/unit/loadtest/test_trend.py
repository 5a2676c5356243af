import random

import pytest

from loadtest.results import Second
from loadtest.trend import memory_slope, p99_drift, slope
from loadtest.units import MIB


def second(at: float, memory: float = 100.0, p99_ms: float | None = 5.0) -> Second:
    return Second(
        at=at,
        rate=100.0,
        in_flight=0,
        errors=0,
        p50_ms=1.0,
        p95_ms=2.0,
        p99_ms=p99_ms,
        cores={"server": 0.5},
        memory={"server": int(memory * MIB)},
    )


def test_the_slope_of_a_line_is_its_own() -> None:
    assert slope([(x, 3 * x + 7) for x in range(10)]) == pytest.approx(3)
    assert slope([(0.0, 5.0), (1.0, 5.0)]) == 0


def test_memory_that_grows_is_told_in_mib_a_minute() -> None:
    noise = random.Random(1)
    timeline = [second(at, 100 + at / 30 + noise.uniform(-0.5, 0.5)) for at in range(600)]
    assert memory_slope(timeline) == pytest.approx(2.0, abs=0.05)


def test_what_a_server_takes_at_first_is_left_out() -> None:
    timeline = [second(at, min(50 + at, 150)) for at in range(600)]
    assert memory_slope(timeline) == pytest.approx(0)


def test_each_part_has_a_slope_of_its_own() -> None:
    assert memory_slope([second(at) for at in range(60)], "broker") is None


def test_a_short_run_has_no_trend() -> None:
    timeline = [second(at, 100 + at) for at in range(29)]
    assert memory_slope(timeline) is None
    assert p99_drift(timeline) is None


def test_the_drift_compares_the_last_third_with_the_first() -> None:
    timeline = [second(at, p99_ms=4.0 if at < 40 else 6.0) for at in range(90)]
    assert p99_drift(timeline) == pytest.approx(1.5)


def test_one_bad_second_is_no_drift() -> None:
    timeline = [second(at, p99_ms=500.0 if at == 80 else 4.0) for at in range(90)]
    assert p99_drift(timeline) == pytest.approx(1.0)


def test_without_latency_there_is_no_drift() -> None:
    assert p99_drift([second(at, p99_ms=None) for at in range(90)]) is None
