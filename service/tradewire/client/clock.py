"""The time as the client sees it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A clock that only goes forward, in seconds, and a way to let it run."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed."""
        ...


class MonotonicClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
