"""Two results side by side: what cannot be compared, and what got better or worse beyond noise.

Steps belong together when they offered the same rate, to three digits; closed loops, by their
order. Throughput, the chief latency, CPU and memory are judged by the medians of the seconds, see
`loadtest.noise`; errors by their share. The other figures of a step are shown without a verdict:
there is one value of each, which does not tell a difference from noise.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from loadtest.changes import Change, Verdict, judged, saturation, unjudged, whole
from loadtest.noise import LEAST_SECONDS
from loadtest.result_figures import load_name, short_commit
from loadtest.results import Machine, Result, Step
from loadtest.units import MIB, plain

MAY_DIFFER = frozenset({"description", "p99_ms", "rate", "seconds"})
"""Values of a scenario that do not stand in the way: steps are matched by rate, judged by second.
"""


class Matched(Struct, frozen=True):
    """Two steps with the same load: the figures that are judged, and others of the whole step."""

    name: str
    a: Step
    b: Step
    judged: list[Change]
    whole: list[Change]


class Comparison(Struct, frozen=True):
    """What a comparison of B with A amounts to.

    Attributes:
        obstacles: why the two cannot be compared at all; nothing is judged then.
        remarks: what else is not judged, and why.
        differences: what is not the same in both: the commit, versions, settings.
        saturation: of both, None where none was looked for or none was held.
    """

    a: Result
    b: Result
    obstacles: list[str]
    remarks: list[str]
    differences: list[str]
    saturation: Change
    steps: list[Matched]

    @property
    def worse(self) -> list[str]:
        """What got worse beyond noise, and faults that A did not have."""
        broken = faulty(self.b) and not faulty(self.a)
        return [*(["receivers saw faults in B"] if broken else []), *self.found("worse")]

    def found(self, verdict: Verdict) -> list[str]:
        """The changes with this verdict, each in a line."""
        steps = [(f"{step.name}: ", change) for step in self.steps for change in step.judged]
        return [
            step + change.text
            for step, change in [("", self.saturation), *steps]
            if change.verdict == verdict
        ]

    @property
    def exit_code(self) -> int:
        """0 when nothing got worse, 1 when something did, 2 when they cannot be compared."""
        if self.obstacles:
            return 2
        if self.worse:
            return 1
        return 0 if self.found("better") or self.found("within noise") else 2


def compare(a: Result, b: Result) -> Comparison:
    """Compare B with A."""
    in_the_way = obstacles(a, b)
    pairs, alone = match(a.steps, b.steps)
    reasons = {name: why_not(*pair) for name, pair in pairs.items()}
    steps = [
        matched(name, a.chief, *pair, judge=not in_the_way and not reasons[name])
        for name, pair in pairs.items()
    ]
    return Comparison(
        a,
        b,
        in_the_way,
        [
            *no_saturation(a, b),
            *alone,
            *(f"{name} is not judged: {why}" for name, why in reasons.items() if why),
        ],
        differences(a, b),
        saturation(a, b, judge=not in_the_way),
        steps,
    )


def matched(name: str, chief: str, a: Step, b: Step, *, judge: bool) -> Matched:
    """Put the figures of two steps side by side."""
    changes = judged(chief, a, b)
    return Matched(name, a, b, changes if judge else unjudged(changes), whole(a, b))


def obstacles(a: Result, b: Result) -> list[str]:
    """Why nothing of the two can be compared."""
    if a.name != b.name:
        return [f"other scenario: {a.name} and {b.name}"]
    values = [{k: v for k, v in one.scenario.items() if k not in MAY_DIFFER} for one in (a, b)]
    return [
        *unequal("other scenario: ", *values),
        *unequal("other machine: ", machine(a.machine), machine(b.machine)),
    ]


def machine(one: Machine) -> dict[str, object]:
    """What makes a machine another one."""
    return {"cpu": one.cpu, "cores": one.cores, "GiB of memory": round(one.memory / MIB / 1024)}


def differences(a: Result, b: Result) -> list[str]:
    """What may differ, and does."""
    return [
        *unequal("", *({"commit": short_commit(one), "target": one.target} for one in (a, b))),
        *unequal("", {"system": a.machine.system}, {"system": b.machine.system}),
        *unequal("version of ", a.versions, b.versions),
        *unequal("setting ", a.settings, b.settings),
    ]


def unequal(kind: str, a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """The names with other values in B than in A, and both values."""
    names = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return [f"{kind}{name} {plain(a.get(name))} and {plain(b.get(name))}" for name in names]


def match(a: Sequence[Step], b: Sequence[Step]) -> tuple[dict[str, tuple[Step, Step]], list[str]]:
    """The steps with the same load, by its name, and what is said of those without a partner."""
    of_a, of_b = by_load(a), by_load(b)
    pairs = {name: (step, of_b[name]) for name, step in of_a.items() if name in of_b}
    only_a = [f"{name} is in A only" for name in of_a if name not in of_b]
    only_b = [f"{name} is in B only" for name in of_b if name not in of_a]
    return pairs, [*only_a, *only_b]


def by_load(steps: Iterable[Step]) -> dict[str, Step]:
    """Steps by their loads; the second of the same load is told from the first."""
    times: Counter[str] = Counter()
    found = {}
    for step in steps:
        load = load_name(step)
        times[load] += 1
        found[load if times[load] == 1 else f"{load} ({times[load]})"] = step
    return found


def why_not(a: Step, b: Step) -> str:
    """Why two steps are not judged; "" when they are."""
    for name, step in (("A", a), ("B", b)):
        if step.faults:
            return f"receivers saw faults in {name}"
        if step.invalid:
            return f"it proves nothing in {name}, {step.invalid[0]}"
        if len(step.timeline) < LEAST_SECONDS:
            return f"{name} has fewer than {LEAST_SECONDS} measured seconds"
    return "neither held the objective" if a.held is False and b.held is False else ""


def no_saturation(a: Result, b: Result) -> list[str]:
    """Why a saturation that one of them found is not judged."""
    if a.saturation is None and b.saturation is None:
        return []
    if a.objective_ms != b.objective_ms:
        return ["saturation is not judged: the objectives are not the same"]
    return [
        f"saturation is not judged: {name} looked for none, or held none"
        for name, one in (("A", a), ("B", b))
        if one.saturation is None
    ]


def faulty(result: Result) -> bool:
    """Whether receivers saw anything wrong."""
    return any(step.faults for step in result.steps)
