from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import hdr
from loadtest.results import Step, encoded
from loadtest.search import Answer, Probe, search, shortcomings

Server = Callable[[Probe], Answer]


def find(start: float, server: Server) -> tuple[float | None, list[Probe]]:
    """What a search finds, and what it tried."""
    steps, tried = search(start), []
    probe = next(steps)
    while True:
        tried.append(probe)
        try:
            probe = steps.send(server(probe))
        except StopIteration as found:
            return found.value, tried


def holding(capacity: float) -> Server:
    return lambda probe: "held" if probe.rate <= capacity else "missed"


@given(capacity=st.floats(10, 1e5), start=st.floats(10, 1e5))
def test_the_greatest_rate_is_found_to_five_percent(capacity: float, start: float) -> None:
    found, tried = find(start, holding(capacity))
    if start > 16 * capacity:
        return
    assert found is not None
    assert found <= capacity <= 1.05 * found
    assert tried[-1] == Probe(found, confirming=True)
    assert not any(probe.confirming for probe in tried[:-1])


def test_it_doubles_first_and_halves_the_gap_then() -> None:
    _, tried = find(100, holding(1000))
    rates = [probe.rate for probe in tried]
    assert rates[:7] == [100, 200, 400, 800, 1600, 1200, 1000]


def test_a_rate_that_does_not_last_is_lowered() -> None:
    def server(probe: Probe) -> Answer:
        return "held" if probe.rate <= (900 if probe.confirming else 1000) else "missed"

    found, _ = find(100, server)
    assert found is not None
    assert 850 < found <= 900


def test_a_server_that_holds_nothing_is_given_up() -> None:
    found, tried = find(100, holding(0))
    assert found is None
    assert len(tried) < 10


def test_a_rate_that_is_never_confirmed_is_none() -> None:
    found, _ = find(100, lambda p: "held" if p.rate <= 1000 and not p.confirming else "missed")
    assert found is None


def test_what_says_nothing_is_tried_again() -> None:
    late = iter(["invalid", "invalid"])
    found, tried = find(100, lambda p: next(late, holding(150)(p)))  # type: ignore[arg-type]
    assert found == pytest.approx(150, rel=0.05)
    assert [probe.rate for probe in tried[:3]] == [100, 100, 100]


def test_a_generator_that_is_the_bottleneck_ends_the_way_up() -> None:
    found, tried = find(100, lambda p: "held" if p.rate <= 300 else "invalid")
    assert found == pytest.approx(300, rel=0.05)
    assert [probe.rate for probe in tried].count(400) == 3


def step(*, done: int = 1000, p99_ms: float = 5.0, **changed: object) -> Step:
    values = {
        "offered": 100.0,
        "seconds": 10.0,
        "done": {"send": done},
        "latency": {"delivered": encoded(hdr({int(p99_ms * 1000): 1000}))},
        "lateness": encoded(hdr({})),
        "errors": {},
        "faults": {},
        "usage": {},
        "timeline": [],
        "generator_core": 0.1,
        "invalid": [],
    }
    return Step(**{**values, **changed})  # type: ignore[arg-type]


def test_a_step_that_meets_the_objective_lacks_nothing() -> None:
    assert shortcomings(step(done=980), 1000, "delivered", 10.0) == []


@pytest.mark.parametrize(
    ("missed", "reason"),
    [
        (step(p99_ms=11.0), "p99 11.0"),
        (step(done=979), "97.9% of what was due"),
        (step(errors={"overloaded": 3}), "3 x overloaded"),
        (step(faults={"never delivered": 1}), "1 x never delivered"),
        (step(latency={}), "p99 -"),
    ],
)
def test_why_a_step_is_not_held(missed: Step, reason: str) -> None:
    [found] = shortcomings(missed, 1000, "delivered", 10.0)
    assert reason in found
