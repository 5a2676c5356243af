"""The arrivals of an open loop: independent of how the server fares."""

import random
from math import sqrt


class Schedule:
    """Poisson arrivals at ``rate`` a second from ``start`` on; the same seed gives the same times.

    In the first ``ramp`` seconds the rate grows evenly from nothing. It knows no clock: the caller
    says what time it is.
    """

    def __init__(self, rate: float, start: float, seed: int, ramp: float = 0.0) -> None:
        self._rate = rate
        self._start = start
        self._ramp = ramp
        self._random = random.Random(seed)
        self._steady = 0.0
        self.next_due = start

    def take(self, now: float) -> list[float]:
        """The times due up to ``now`` that were not taken before, in order."""
        due = []
        while self.next_due <= now:
            due.append(self.next_due)
            self._steady += self._random.expovariate(self._rate)
            self.next_due = self._start + self._stretched(self._steady)
        return due

    def _stretched(self, steady: float) -> float:
        """When the arrival comes that came after ``steady`` seconds if there were no ramp.

        A ramp brings half as many arrivals as the full rate in the same time.
        """
        half = self._ramp / 2
        return steady + half if steady >= half else sqrt(2 * self._ramp * steady)
