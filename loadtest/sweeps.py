"""What a scenario came to at each value of a setting: the file of a sweep, and its figures."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from loadtest.figures import middle
from loadtest.result_figures import (
    chief_latency,
    cpu_per_1000,
    headline,
    step_verdict,
    throughput,
    verdict,
)
from loadtest.results import Kept, Result, ResultError, load_as

GOOD = frozenset({"sound", "held"})
"""The words for a run whose figures count, and whose objective was met if it had one."""


class Trial(Struct, frozen=True):
    """The run of a value in a round, which are counted from 1."""

    value: str
    round: int
    result: Result


class Sweep(Kept, frozen=True, kw_only=True):
    """One scenario at several values of one setting.

    Attributes:
        setting: of the server; it was each of the `values`, in rounds.
        trials: in the order in which they were carried out.
    """

    setting: str
    values: list[str]
    trials: Annotated[list[Trial], Meta(min_length=1)]

    @property
    def first(self) -> Result:
        """A result that stands for what is the same in all."""
        return self.trials[0].result

    @property
    def rounds(self) -> int:
        """How often each value was run."""
        return self.trials[-1].round

    @property
    def exit_code(self) -> int:
        """0 when all runs are sound, 1 when a server did something wrong, 2 when one proves
        nothing.
        """
        codes = {trial.result.exit_code for trial in self.trials}
        return 1 if 1 in codes else max(codes)

    def at(self, value: str) -> list[Trial]:
        """The runs of a value."""
        return [trial for trial in self.trials if trial.value == value]


Measure = Callable[[Trial], float | None]
"""A figure of a run, None where there is none."""


def sweep_at(path: Path) -> Sweep | None:
    """The sweep in a file, None when it holds none."""
    try:
        return load_as(path, Sweep)
    except ResultError:
        return None


def medians(sweep: Sweep, measure: Measure) -> list[float | None]:
    """The medians over the rounds, by value; None where a round has no figure."""
    return [middle(map(measure, sweep.at(value))) for value in sweep.values]


def rate(trial: Trial) -> float | None:
    """Operations done a second."""
    step = headline(trial.result)
    return throughput(step) if step else None


def latency(name: str) -> Measure:
    """A percentile of the chief latency, in milliseconds."""

    def of(trial: Trial) -> float | None:
        step = headline(trial.result)
        return chief_latency(trial.result, step).get(name) if step else None

    return of


def cpu(part: str) -> Measure:
    """What a part used for 1,000 operations, in seconds of CPU."""

    def of(trial: Trial) -> float | None:
        step = headline(trial.result)
        return cpu_per_1000(step).get(part) if step else None

    return of


def words(sweep: Sweep, value: str) -> dict[str, int]:
    """What came of the runs of a value: each word, and how often."""
    return Counter(map(word, sweep.at(value)))


def word(trial: Trial) -> str:
    """What came of a run: its verdict, of a sound one whether the objective was met."""
    found, step = verdict(trial.result), headline(trial.result)
    return step_verdict(step) if step and found == "sound" else found
