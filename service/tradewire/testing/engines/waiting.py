"""Waits with a condition, a deadline, and a line now and then."""

import time
from collections.abc import Callable
from typing import TypeVar

from tradewire.testing.engines.errors import EngineError
from tradewire.testing.engines.handles import Tell

LOOK_EVERY_S = 0.1
TELL_EVERY_S = 5.0

T = TypeVar("T")


def wait_for(
    ask: Callable[[], T],
    *,
    doing: str,
    deadline_s: float,
    tell: Tell,
    why: Callable[[], str] = str,
) -> T:
    """Ask again and again until the answer is true, and tell how long it takes.

    An OSError means not yet, as from a server that does not listen.

    Raises:
        EngineError: it took longer than `deadline_s`; the message ends with what `why` says.
    """
    started = time.monotonic()
    told = 0.0
    while not (answer := _answer(ask)):
        waited = time.monotonic() - started
        if waited > deadline_s:
            raise EngineError(f"{doing}: not done after {deadline_s:g} s\n{why()}".rstrip())
        if waited - told >= TELL_EVERY_S:
            told = waited
            tell(f"{doing} ({waited:.0f} s)")
        time.sleep(LOOK_EVERY_S)
    return answer


def _answer(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except OSError:
        return None
