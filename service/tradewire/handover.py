"""The way from other threads back to the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

_log = structlog.get_logger(__name__)

Call = tuple[Callable[[Any], None], Any]


class Handover:
    """Calls that threads hand to the loop, in order, many for one wake-up of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Call] = deque()
        self._armed = False

    def give(self, call: Callable[[Any], None], argument: Any) -> None:
        """Have the loop make this call; from any thread."""
        self._calls.append((call, argument))
        # Cleared before the calls are taken, so a call that finds it set is taken too.
        if not self._armed:
            self._armed = True
            self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._armed = False
        calls = self._calls
        while calls:
            call, argument = calls.popleft()
            try:
                call(argument)
            except Exception:  # noqa: BLE001  # the others are owed their calls
                _log.exception("a callback of another thread failed")
