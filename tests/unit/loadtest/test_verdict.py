"""What a result amounts to, and how it is told."""

import io
from collections import Counter

import pytest
from rich.console import Console

from loadtest.controller import Outcome
from loadtest.histogram import hdr
from loadtest.live import line_of, panel
from loadtest.plan import NOT_BACK, OpenLoop
from loadtest.results import Machine, Result, Second, Step, Usage, encoded
from loadtest.running import step_of
from loadtest.summary import show


def step(
    offered: float = 100.0, *, held: bool | None = None, invalid: bool = False, wrong: bool = False
) -> Step:
    return Step(
        offered=offered,
        seconds=10.0,
        done={"send": 1000},
        latency={"delivered": encoded(hdr({7000: 1000}))},
        lateness=encoded(hdr({})),
        errors={"[overloaded]": 2},
        faults={"never delivered": 3} if wrong else {},
        usage={"server": Usage(cpu_s=5.0, memory=64 << 20)},
        timeline=[],
        generator_core=0.2,
        invalid=["the generator was late"] if invalid else [],
        held=held,
        figures={"KiB per connection": 21.0},
    )


def result(*steps: Step, saturation: float | None = None) -> Result:
    return Result(
        name="pairs",
        description="",
        started_at="2026-11-20T10:00:00Z",
        scenario={},
        chief="delivered",
        objective_ms=10.0,
        target="one node",
        settings={},
        machine=Machine("cpu", 2, 1 << 30, "system"),
        commit="abc",
        versions={},
        steps=list(steps),
        saturation=saturation,
    )


HELD, MISSED, LATE = (
    step(100, held=True),
    step(200, held=False),
    step(200, held=False, invalid=True),
)


@pytest.mark.parametrize(
    ("judged", "code"),
    [
        (result(step()), 0),
        (result(step(wrong=True)), 1),
        (result(step(invalid=True)), 2),
        (result(step(wrong=True), step(invalid=True)), 1),
        (result(HELD, MISSED, HELD, saturation=100), 0),
        (result(HELD, LATE, MISSED, HELD, saturation=100), 0),
        (result(HELD, LATE, LATE, HELD, saturation=100), 2),
        (result(HELD, step(400, held=False, invalid=True), MISSED, HELD, saturation=100), 0),
        (result(LATE, MISSED), 2),
    ],
    ids=[
        "sound", "wrong", "late", "wrong and late", "searched", "late once", "late at the edge",
        "late far above", "nothing found",
    ],
)  # fmt: skip
def test_what_a_result_amounts_to(judged: Result, code: int) -> None:
    assert judged.exit_code == code


def told(judged: Result) -> str:
    output = io.StringIO()
    show(judged, Console(file=output, width=140))
    return output.getvalue()


def test_the_tables_show_what_was_measured_and_what_it_took() -> None:
    text = told(result(step()))
    for figure in ("100/s", "7.00", "0.50", "5.000 s", "64 MiB", "21.00 KiB per connection"):
        assert figure in text


def test_what_went_wrong_is_told_in_words() -> None:
    text = told(result(step(wrong=True, invalid=True)))
    assert "3 x never delivered" in text
    assert "2 x [overloaded]" in text
    assert "proves nothing: the generator was late" in text


def test_a_search_says_what_it_concludes() -> None:
    text = told(result(HELD, MISSED, HELD, saturation=100))
    assert "100/s is the greatest rate that was held" in text
    assert "not held" in text


def test_a_second_is_shown_as_it_was() -> None:
    second = Second(
        at=3.0, rate=1234.0, in_flight=56, errors=1, p50_ms=1.0, p95_ms=2.0, p99_ms=None,
        cores={"server": 0.75}, memory={"server": 64 << 20},
    )  # fmt: skip
    output = io.StringIO()
    Console(file=output, width=140).print(panel(second))
    for text in (line_of(second), output.getvalue()):
        for figure in ("1,234/s", "56", "1.0 ms", "0.75"):
            assert figure in text


def test_a_storm_after_which_some_are_not_back_proves_nothing() -> None:
    errors = Counter({f"{NOT_BACK}: refused": 2, f"{NOT_BACK}: no answer": 1, "reconnect: late": 5})
    outcome = Outcome("delivered", generators=1, done=Counter(send=1), errors=errors)
    found = step_of(outcome, OpenLoop(rate=1.0, seconds=1.0, seed=1))
    assert found.invalid == ["3 connections did not come back"]
