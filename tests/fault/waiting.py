"""Waiting for something to become true, up to a deadline."""

import asyncio
from collections.abc import Callable

LOOK_S = 0.02


async def until(condition: Callable[[], bool], deadline_s: float) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not within the deadline.
    """
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(LOOK_S)
