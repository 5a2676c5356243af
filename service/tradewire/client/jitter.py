"""How long to wait before the next try."""

from collections.abc import Callable
from dataclasses import dataclass, field

LARGEST_EXPONENT = 30


@dataclass
class FullJitter:
    """Exponential backoff with full jitter: uniform in [0, min(cap, base * 2^n)] seconds.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    base_s: float
    cap_s: float
    random: Callable[[], float]
    tries: int = field(default=0, init=False)

    def next(self) -> float:
        """Seconds to wait before the next try."""
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(self.tries, LARGEST_EXPONENT))
        self.tries += 1
        return self.random() * ceiling

    def reset(self) -> None:
        """Begin anew: a try went well."""
        self.tries = 0
