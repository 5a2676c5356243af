"""How often something may happen; the caller brings the time."""


class TokenBucket:
    """Lets `rate` things a second happen, `burst` of them at once; a rate of 0 lets all happen."""

    __slots__ = ("_burst", "_level", "_rate", "_then")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._level = self._burst
        self._then = 0.0

    def take(self, now: float) -> float:
        """Seconds to wait until one more may happen; 0.0 when it may happen now, and then it has.

        `now` is in seconds of any clock that never goes back.
        """
        if self._rate == 0:
            return 0.0
        level = min(self._burst, self._level + (now - self._then) * self._rate)
        self._then = now
        if level >= 1.0:
            self._level = level - 1.0
            return 0.0
        self._level = level
        return (1.0 - level) / self._rate
