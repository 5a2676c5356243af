"""What a run of a scenario leaves behind: a JSON file that reports and comparisons are made of."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hdrh.histogram import HdrHistogram
from msgspec import Struct

FORMAT = 1
LEAST_US, GREATEST_US, DIGITS = 1, 600_000_000, 3
"""Every histogram holds microseconds, from one to ten minutes, to three digits."""


class ResultError(Exception):
    """A file is not a result, or one of another format."""


class Machine(Struct, frozen=True):
    """Where it ran; memory in bytes."""

    cpu: str
    cores: int
    memory: int
    system: str


class Usage(Struct, frozen=True):
    """What the processes of one part used in a window: seconds of CPU, and bytes of resident
    memory at its end, of all of them together.
    """

    cpu_s: float
    memory: int


class Second(Struct, frozen=True):
    """One second of a run, as it was shown live.

    Attributes:
        at: seconds since the first of its step was due.
        rate: operations done a second.
        p50_ms, p95_ms, p99_ms: of the scenario's chief latency; None when nothing was done.
        cores: of each part ("server", "engine", "broker", "generator") how many cores it used.
        memory: of each part, bytes.
    """

    at: float
    rate: float
    in_flight: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cores: dict[str, float]
    memory: dict[str, int]


class Step(Struct, frozen=True, kw_only=True):
    """A load that was held for a while, and what came of it.

    Attributes:
        offered: operations a second that were scheduled; None for a closed loop.
        seconds: the length of the window that was measured.
        done: how often each kind of operation was done ("send", "history", "inbox", …).
        latency: of each kind, encoded (`encoded`): from the time it was due to its end; of "send"
            to the reply, of "delivered" to the arrival at a receiver.
        lateness: from the time something was due to its sending, encoded.
        errors: refusals, by code.
        faults: wrong behaviour seen by receivers (lost, twice, out of order), by name.
        usage: by part, see `Second.cores`.
        timeline: the window, second by second.
        generator_core: the greatest share of its core that a generator process used.
        invalid: why this step proves nothing, if so.
        held: whether the objective was met; None without one.
        figures: what only this scenario has, by a name with its unit ("KiB per connection").
    """

    offered: float | None
    seconds: float
    done: dict[str, int]
    latency: dict[str, str]
    lateness: str
    errors: dict[str, int]
    faults: dict[str, int]
    usage: dict[str, Usage]
    timeline: list[Second]
    generator_core: float
    invalid: list[str]
    held: bool | None = None
    figures: dict[str, float] = msgspec.field(default_factory=dict)


class Kept(Struct, frozen=True, kw_only=True):
    """What is a file of its own."""

    format: int = FORMAT


class Result(Kept, frozen=True, kw_only=True):
    """A whole run.

    Attributes:
        scenario: the scenario as it was run, with all its values.
        chief: the kind whose latency the objective is about.
        objective_ms: the p99 that `saturation` is about; None without one.
        target: what was loaded, in words ("one node on sqlite").
        settings: of the server, where they are known; no secrets.
        commit: of the project, with "+" when the tree was changed.
        versions: of the product, the interpreter and the engines.
        saturation: the greatest rate, in operations a second, that was held; None when none was
            looked for or none was held.
    """

    name: str
    description: str
    started_at: str
    scenario: dict[str, Any]
    chief: str
    objective_ms: float | None
    target: str
    settings: dict[str, str]
    machine: Machine
    commit: str
    versions: dict[str, str]
    steps: list[Step]
    saturation: float | None = None

    @property
    def exit_code(self) -> int:
        """0 when it is sound, 1 when the server did something wrong, 2 when it proves nothing."""
        if any(step.faults for step in self.steps):
            return 1
        return 2 if any(step.invalid for step in self.decisive) else 0

    @property
    def decisive(self) -> list[Step]:
        """The steps that the verdict rests on: of a search that found something its confirmation
        and the lowest rate that was missed, once if it was tried again; else all.
        """
        if self.saturation is None:
            return self.steps
        confirmed = self.steps[-1]
        above = [each for each in self.steps if (each.offered or 0) > (confirmed.offered or 0)]
        above.sort(key=lambda each: (each.held, each.offered, len(each.invalid)))
        return [confirmed, *above[:1]]


AnyKept = TypeVar("AnyKept", bound=Kept)


def new_histogram() -> HdrHistogram:
    """An empty one, of microseconds."""
    return HdrHistogram(LEAST_US, GREATEST_US, DIGITS)


def encoded(histogram: HdrHistogram) -> str:
    """A histogram in the compressed form of HdrHistogram (V2), in base64."""
    text: str = histogram.encode().decode("ascii")
    return text


def decoded(text: str) -> HdrHistogram:
    """A histogram from its encoded form."""
    return HdrHistogram.decode(text.encode("ascii"))


def save(result: Kept, path: Path) -> None:
    """Write a result, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)))


def load(path: Path) -> Result:
    """Read a result. Raises `ResultError`, which names the file."""
    return load_as(path, Result)


def load_as(path: Path, kind: type[AnyKept]) -> AnyKept:
    """Read what is kept in a file. Raises `ResultError`, which names the file."""
    try:
        result = msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultError(f"{path}: {error}") from error
    if result.format != FORMAT:
        raise ResultError(f"{path}: format {result.format}, and this reads {FORMAT}")
    return result
