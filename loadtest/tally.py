"""What all connections of a generator share: the counts of the present second, and the faults."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from loadtest.histogram import microseconds
from loadtest.plan import Tick

if TYPE_CHECKING:
    from loadtest.session import Actor

Refill = Callable[["Actor", int, float], None]
"""Takes who got replies, how many, and when."""


@dataclass(slots=True)
class Second:
    """The counts between two edges."""

    due: int = 0
    done: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    errors: Counter[str] = field(default_factory=Counter)
    latency: defaultdict[str, defaultdict[int, int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    lateness: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))


class Tally:
    """Counts by the second, each handed to ``tell`` when it is over.

    Latencies are those of what was due since ``measure_from``, however late it ends.

    Attributes:
        refill: what a closed loop does about replies; None in an open one.
        edge: when the present second ends; whoever notices that it is past calls `roll`.
        in_flight: operations that were sent and are not done.
        heard_at: when something last came.
        storming: while all connect at once nothing can be sent on time; lateness is not counted.
    """

    def __init__(self, tell: Callable[[Tick], None]) -> None:
        self._tell = tell
        self._second = Second()
        self._edges: list[float] = []
        self._began = 0.0
        self.refill: Refill | None = None
        self.measure_from = inf
        self.edge = inf
        self.in_flight = 0
        self.heard_at = 0.0
        self.storming = False
        self.faults: Counter[str] = Counter()

    def begin(self, edges: Sequence[float], measure_from: float) -> None:
        """Count between these moments from now on."""
        self._began, *self._edges = edges
        self.edge = self._edges.pop(0)
        self.measure_from = measure_from

    def roll(self, now: float) -> None:
        """End each second that is over."""
        while now >= self.edge:
            self._turn(now)
            self.edge = self._edges.pop(0) if self._edges else inf

    def finish(self, now: float) -> None:
        """End what came after the last edge."""
        self._turn(now)

    def due(self, times: int) -> None:
        """Operations were scheduled."""
        self._second.due += times

    def sent(self, due: float, now: float) -> None:
        """An open loop sent what was due."""
        if due >= self.measure_from and not self.storming:
            self._second.lateness[microseconds(now - due)] += 1

    def done(self, kind: str, due: float, now: float) -> None:
        """An operation that was due then is done."""
        self.in_flight -= 1
        second = self._second
        second.done[kind] += 1
        if due >= self.measure_from:
            second.latency[kind][microseconds(now - due)] += 1

    def took(self, kind: str, due: float, now: float) -> None:
        """Something came that was due then."""
        if due >= self.measure_from:
            self._second.latency[kind][microseconds(now - due)] += 1

    def failed(self, code: str) -> None:
        """An operation was refused or lost its connection."""
        self.in_flight -= 1
        self.error(code)

    def error(self, code: str, times: int = 1) -> None:
        """Something did not happen."""
        self._second.errors[code] += times

    def _turn(self, now: float) -> None:
        second, self._second = self._second, Second()
        self._tell(
            Tick(
                now - self._began,
                second.due,
                second.done,
                second.errors,
                dict(second.latency),
                second.lateness,
                self.in_flight,
            )
        )
        self._began = now
