"""The search for the greatest rate that is held: decisions only, no input or output."""

from collections.abc import Generator
from typing import Literal, NamedTuple

from loadtest.results import Step, decoded

PRECISION = 0.05
"""How close the held and the missed rate must come."""
LEAST_SHARE = 0.98
"""Of what was due, so much must be done within the time."""
MOST_HALVINGS = 4
"""Of a start rate that is not held."""
CONFIRMATIONS = 5
LOWERED = 0.9
TRIALS = 3
"""Of a rate: on a busy machine a generator may be late just once."""


class Probe(NamedTuple):
    """A rate to be tried; a confirmation takes longer."""

    rate: float
    confirming: bool = False


Answer = Literal["held", "missed", "invalid"]
"""Of a probe; invalid: it says nothing, since the generator was the bottleneck."""

Search = Generator[Probe, Answer, float | None]
"""Yields what is to be tried, is sent the answer; returns the greatest rate held, None for none."""

Trial = Generator[Probe, Answer, bool]


def search(start: float) -> Search:
    """Double from the start until a rate is not held, halve the gap, confirm what is left.

    A rate that is not confirmed is lowered by a tenth, a few times.
    """
    held, missed = yield from bracket(start)
    while held and missed - held > PRECISION * held:
        middle = (held + missed) / 2
        if (yield from holds(Probe(middle))):
            held = middle
        else:
            missed = middle
    for _ in range(CONFIRMATIONS if held else 0):
        if (yield from holds(Probe(held, confirming=True))):
            return held
        held *= LOWERED
    return None


def bracket(start: float) -> Generator[Probe, Answer, tuple[float, float]]:
    """A rate that is held and twice that, which is not; (0.0, …) when none was held."""
    rate = start
    if (yield from holds(Probe(rate))):
        while (yield from holds(Probe(2 * rate))):
            rate *= 2
        return rate, 2 * rate
    for _ in range(MOST_HALVINGS):
        rate /= 2
        if (yield from holds(Probe(rate))):
            return rate, 2 * rate
    return 0.0, rate


def holds(probe: Probe) -> Trial:
    """Whether a rate is held. What says nothing is tried again, and at last counts as missed."""
    for _ in range(TRIALS):
        answer = yield probe
        if answer != "invalid":
            return answer == "held"
    return False


def shortcomings(step: Step, due: int, chief: str, p99_ms: float) -> list[str]:
    """Why a step that is valid does not hold its rate under the objective; none when it does."""
    found = [f"{times} x {name}" for name, times in {**step.errors, **step.faults}.items()]
    done = sum(step.done.values())
    if done < LEAST_SHARE * due:
        found.append(f"{done / max(due, 1):.1%} of what was due was done")
    p99 = p99_of(step, chief)
    if p99 is None or p99 > p99_ms:
        found.append(f"p99 {'-' if p99 is None else f'{p99:.1f} ms'}")
    return found


def p99_of(step: Step, kind: str) -> float | None:
    """The p99 of a latency of a step, in milliseconds; None when nothing of it was measured."""
    text = step.latency.get(kind)
    return None if text is None else float(decoded(text).get_value_at_percentile(99)) / 1000
