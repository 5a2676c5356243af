"""What a result amounts to: its verdict, and the figures of its steps."""

import binascii
import zlib
from pathlib import Path
from typing import Literal

from hdrh.codec import HdrCookieException, HdrLengthException
from hdrh.histogram import HdrHistogram
from msgspec import Struct

from loadtest.results import Result, ResultError, Step, decoded, load
from loadtest.units import quantity

Verdict = Literal["sound", "wrong", "proves nothing"]

VERDICTS: tuple[Verdict, ...] = ("sound", "wrong", "proves nothing")
"""By the exit code of a result."""
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}
LATENCIES = (*PERCENTILES, "max")
GENERATOR = "generator"
COMMIT_DIGITS = 10
UNREADABLE = (binascii.Error, UnicodeError, zlib.error, HdrCookieException, HdrLengthException)
"""What the decoding of a histogram raises."""


class Latency(Struct, frozen=True):
    """How long operations of a kind took: by the names of `LATENCIES`, in milliseconds.

    ``ms`` is empty when ``count`` is 0.
    """

    count: int
    ms: dict[str, float]


def verdict(result: Result) -> Verdict:
    """Sound, wrong (receivers saw faults), or of no worth as a measurement."""
    return VERDICTS[result.exit_code]


def step_verdict(step: Step) -> str:
    """What came of a step, in a word or two."""
    if step.faults:
        return "wrong"
    if step.invalid:
        return "proves nothing"
    return {None: "sound", True: "held", False: "not held"}[step.held]


def headline(result: Result) -> Step | None:
    """The step that stands for the run: the last one held if a saturation was found, or the last.

    None when there is no step at all.
    """
    held = [step for step in result.steps if step.held and result.saturation is not None]
    return next(reversed(held or result.steps), None)


def load_name(step: Step) -> str:
    """The load of a step: its offered rate, a closed loop, or none where nothing was done."""
    if step.offered is not None:
        return quantity(step.offered, "/s")
    return "closed loop" if step.done else "no load"


def short_commit(result: Result) -> str:
    """The first digits of the commit, with "+" when the tree was changed."""
    return result.commit[:COMMIT_DIGITS] + "+" * result.commit.endswith("+")


def read(path: Path) -> Result:
    """Load a result whose histograms can be read. Raises `ResultError`, which names the fault."""
    result = load(path)
    for number, step in enumerate(result.steps, 1):
        encoded = {f"latency of {kind}": text for kind, text in step.latency.items()}
        for name, text in {**encoded, "lateness": step.lateness}.items():
            try:
                decoded(text)
            except UNREADABLE as error:
                raise ResultError(f"{path}: step {number}, {name}: no histogram") from error
    return result


def latency_histograms(step: Step) -> dict[str, HdrHistogram]:
    """Of each kind that was done at least once."""
    found = {kind: decoded(text) for kind, text in step.latency.items()}
    return {kind: one for kind, one in found.items() if one.get_total_count()}


def latencies(step: Step) -> dict[str, Latency]:
    """The latency of each kind."""
    return {kind: figures(decoded(text)) for kind, text in step.latency.items()}


def chief_latency(result: Result, step: Step) -> dict[str, float]:
    """The chief latency of a step, as `Latency.ms`."""
    found = latencies(step).get(result.chief)
    return found.ms if found else {}


def lateness(step: Step) -> Latency:
    """How late the generator was."""
    return figures(decoded(step.lateness))


def figures(times: HdrHistogram) -> Latency:
    """The percentiles of a histogram of microseconds."""
    count = int(times.get_total_count())
    if not count:
        return Latency(0, {})
    values = times.get_percentile_to_value_dict(list(PERCENTILES.values()))
    ms = {name: values[percentile] / 1000 for name, percentile in PERCENTILES.items()}
    return Latency(count, {**ms, "max": times.get_max_value() / 1000})


def operations(step: Step) -> int:
    """How many were done, of all kinds."""
    return sum(step.done.values())


def throughput(step: Step) -> float:
    """Operations done a second."""
    return operations(step) / step.seconds if step.seconds else 0.0


def cpu_per_1000(step: Step) -> dict[str, float]:
    """Seconds of CPU for 1,000 operations, by part; empty when nothing was done."""
    done = operations(step)
    return {part: 1000 * used.cpu_s / done for part, used in step.usage.items()} if done else {}


def parts(result: Result) -> list[str]:
    """Whose use of the machine is known, the generator last."""
    names = {part: None for step in result.steps for part in step.usage}
    return sorted(names, key=GENERATOR.__eq__)
