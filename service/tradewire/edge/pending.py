"""The sends of a connection that are under way, and what each of them is owed."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from tradewire.domain.commands import RequestId
from tradewire.domain.errors import TradewireError, Unavailable
from tradewire.domain.results import MessageResult

SEND_DEADLINE_S = 10.0
"""A send that the store does not answer by then is refused."""

Outcome = MessageResult | TradewireError
Answer = Callable[[RequestId | None, Outcome], None]


class PendingSends:
    """The sends of one connection that were not answered yet, the oldest first.

    Args:
        answer: called once for each of them, with the id of its command.
    """

    __slots__ = ("_answer", "_idle", "_sends")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._sends: dict[PendingSend, None] = {}
        self._idle: asyncio.Future[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._sends)

    def add(self, send: "PendingSend") -> None:
        """Count in a send that the store has taken."""
        self._sends[send] = None

    def done(self, send: "PendingSend", outcome: Outcome) -> None:
        """Answer a send, unless it was refused already."""
        if send not in self._sends:
            return
        del self._sends[send]
        if not self._sends and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        self._answer(send.request_id, outcome)

    def expire(self, now: float) -> None:
        """Refuse those whose deadline has passed; `now` in seconds of the loop."""
        while self._sends:
            oldest = next(iter(self._sends))
            if oldest.deadline > now:
                return
            self.done(oldest, Unavailable())

    async def settled(self) -> None:
        """Wait until none is left: with the deadline of the last at the latest."""
        if self._sends:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            # Several may wait for it, and one of them may give up.
            await asyncio.shield(self._idle)


class PendingSend(Struct, eq=False, gc=False):
    """A send that is to be answered; called with its outcome.

    Attributes:
        deadline: when it is refused, in seconds of the loop.
    """

    sends: PendingSends
    request_id: RequestId | None
    deadline: float

    def __call__(self, outcome: Outcome) -> None:
        self.sends.done(self, outcome)
