"""The arrivals of an open loop: independent of how the server fares."""

import random


class Schedule:
    """Poisson arrivals at ``rate`` a second from ``start`` on; the same seed gives the same times.

    It knows no clock: the caller says what time it is.
    """

    def __init__(self, rate: float, start: float, seed: int) -> None:
        self._rate = rate
        self._random = random.Random(seed)
        self.next_due = start

    def take(self, now: float) -> list[float]:
        """The times due up to ``now`` that were not taken before, in order."""
        due = []
        while self.next_due <= now:
            due.append(self.next_due)
            self.next_due += self._random.expovariate(self._rate)
        return due
