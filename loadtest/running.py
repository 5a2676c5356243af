"""Carries out a scenario on a deployment, step by step."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from loadtest.controller import Outcome, exchange, hold
from loadtest.deployment import Deployment
from loadtest.figures import MOST_GENERATOR_CORE, MOST_LATENESS_P99_MS
from loadtest.histogram import hdr, percentiles_ms
from loadtest.plan import NOT_BACK, Idle, OpenLoop
from loadtest.planning import plans_of
from loadtest.results import Second, Step, encoded
from loadtest.rooms import Room, make_rooms
from loadtest.scenario import AnyScenario, Load
from loadtest.search import Answer, Probe, Search, search, shortcomings

FIRST_ROOMS = 100
"""Idle connections opened before the first reading, so that one-time costs are left out."""
WARM_UP_SECONDS = 10.0
"""What the compilers of engines take until they have seen the load."""
LEAST_PROBE_SECONDS = 2.0
"""A step of a search takes a quarter of its confirmation, but no less."""

Tell = Callable[[str], None]
OnSecond = Callable[[Second], None]


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes: a line for what happens, and each second of a step."""

    tell: Tell
    on_second: OnSecond


class Runner:
    """One scenario on one deployment.

    Attributes:
        steps: what was carried out so far.
    """

    def __init__(self, scenario: AnyScenario, deployment: Deployment, watch: Watch) -> None:
        self._scenario = scenario
        self._deployment = deployment
        self._watch = watch
        self._rooms: list[Room] = []
        self.steps: list[Step] = []

    async def run(self) -> None:
        """Carry out all loads, one after another; raises as `step` does."""
        for load in self._scenario.loads():
            self._watch.tell(words(load))
            await self.step(load)

    async def search(self) -> float | None:
        """Look for the greatest rate that meets the objective; raises as `step` does."""
        assert self._scenario.rate is not None
        steps: Search = search(self._scenario.rate)
        probe = next(steps)
        while True:
            answer = await self._try(probe)
            try:
                probe = steps.send(answer)
            except StopIteration as found:
                rate: float | None = found.value
                break
        if rate is None:
            self._watch.tell(f"no rate was held and confirmed in {len(self.steps)} steps")
        return rate

    async def step(self, load: Load) -> Step:
        """Hold a load; engines are warmed up by it before the first.

        Raises `ServerError`, `GeneratorError` or `TimeoutError`, or as connecting does.
        """
        if self._deployment.cold and not self.steps and not isinstance(load, Idle):
            self._watch.tell("warming up")
            await self._carry_out(msgspec.structs.replace(load, seconds=WARM_UP_SECONDS))
        outcome = await self._carry_out(load)
        step = self._judged(step_of(outcome, load), load, outcome.due)
        self.steps.append(step)
        return step

    async def _carry_out(self, load: Load) -> Outcome:
        scenario, deployment = self._scenario, self._deployment
        if not self._rooms or (deployment.settle and scenario.receives):
            self._watch.tell("preparing")
            self._rooms = await make_rooms(scenario, deployment)
        if isinstance(load, Idle):
            return await self._hold(load)
        plans = plans_of(scenario, self._rooms, load, deployment)
        return await exchange(plans, deployment.parts, scenario.chief, self._watch.on_second)

    async def _try(self, probe: Probe) -> Answer:
        whole = self._scenario.seconds
        seconds = whole if probe.confirming else min(whole, max(whole / 4, LEAST_PROBE_SECONDS))
        what = "confirming" if probe.confirming else "trying"
        self._watch.tell(f"{what} {probe.rate:,.0f}/s")
        step = await self.step(self._scenario.load(seconds, probe.rate))
        if step.invalid:
            return "invalid"
        return "held" if step.held else "missed"

    async def _hold(self, load: Idle) -> Outcome:
        """Idle connections, and what memory each takes."""
        scenario, deployment = self._scenario, self._deployment
        first, rest = self._rooms[:FIRST_ROOMS], self._rooms[FIRST_ROOMS:]
        [before] = plans_of(scenario, first if rest else [], load, deployment, at_most=1)
        plans = plans_of(scenario, rest or first, load, deployment)
        outcome, grown = await hold(before, plans, deployment.parts, self._watch.on_second)
        outcome.figures["connections"] = float(len(self._rooms))
        if "server" in deployment.parts:
            connections = sum(len(plan.connections) for plan in plans)
            outcome.figures["KiB per connection"] = grown / 1024 / connections
        return outcome

    def _judged(self, step: Step, load: Load, due: int) -> Step:
        """The step, with what its objective says of it if it is about this load."""
        objective, chief = self._scenario.p99_ms, self._scenario.chief
        if objective is None or not isinstance(load, OpenLoop) or not about(chief, load):
            return step
        reasons = step.invalid or shortcomings(step, due, chief, objective)
        self._watch.tell(f"not held: {'; '.join(reasons)}" if reasons else "held")
        return msgspec.structs.replace(step, held=not reasons)


def about(chief: str, load: OpenLoop) -> bool:
    """Whether the chief latency comes of what is carried out."""
    return ("send" if chief == "delivered" else chief) in load.shares


def step_of(outcome: Outcome, load: Load) -> Step:
    """What a run came to, as it is written down."""
    latency = {kind: encoded(hdr(counts)) for kind, counts in sorted(outcome.latency.items())}
    return Step(
        offered=load.rate if isinstance(load, OpenLoop) else None,
        seconds=outcome.seconds,
        done=dict(outcome.done),
        latency=latency,
        lateness=encoded(hdr(outcome.lateness)),
        errors=dict(outcome.errors),
        faults=dict(outcome.faults),
        usage=outcome.usage,
        timeline=outcome.timeline,
        generator_core=outcome.generator_core,
        invalid=worthless(outcome, load),
        figures={**outcome.figures, **resumed(outcome)},
    )


def worthless(outcome: Outcome, load: Load) -> list[str]:
    """Why a run proves nothing."""
    [late] = percentiles_ms(outcome.lateness, 99)
    reasons = []
    # In a storm the work of a whole run is done in a second or two.
    core = outcome.busiest if "resume" in outcome.latency else outcome.generator_core
    if core > MOST_GENERATOR_CORE:
        reasons.append(f"the generator used {core:.2f} of its core")
    if late is not None and late > MOST_LATENESS_P99_MS:
        reasons.append(f"the generator was late: p99 {late:.1f} ms")
    away = sum(times for name, times in outcome.errors.items() if name.startswith(NOT_BACK))
    if away:
        reasons.append(f"{away:,} connections did not come back")
    if not outcome.operations and not isinstance(load, Idle):
        reasons.append("nothing was done")
    return reasons


def resumed(outcome: Outcome) -> dict[str, float]:
    """After which time the last connection of a storm was welcome, and had resumed."""
    names = {"welcome": "s until the last was welcome", "resume": "s until the last had resumed"}
    return {
        name: max(outcome.latency[kind]) / 1e6
        for kind, name in names.items()
        if kind in outcome.latency
    }


def words(load: Load) -> str:
    """A load, in words."""
    if isinstance(load, OpenLoop):
        return f"{load.rate:,.0f}/s for {load.seconds:g} s"
    if isinstance(load, Idle):
        return f"idle for {load.seconds:g} s"
    return f"{load.in_flight} in flight each for {load.seconds:g} s"
