"""The check of correctness: what one member sent against what the other received."""

from collections import Counter


class Flow:
    """The messages of one connection to its peer, numbered from 1, each followed to its end.

    Every message must be acknowledged once and delivered once, under the same message id, and
    both the numbers and the message ids must rise as the receiver sees them. What breaks this
    is counted in ``faults``, by name.
    """

    def __init__(self, conversation_id: str, faults: Counter[str]) -> None:
        self.conversation_id = conversation_id
        self.session_id = ""
        self._faults = faults
        self._unacknowledged: set[int] = set()
        self._undelivered: dict[int, float] = {}
        self._half_seen: dict[int, str] = {}
        self._last_delivered = (0, 0)

    @property
    def settled(self) -> bool:
        """Nothing is under way."""
        return not (self._unacknowledged or self._undelivered)

    def sent(self, n: int, due: float) -> None:
        """Message ``n``, scheduled for the time ``due``, was written."""
        self._unacknowledged.add(n)
        self._undelivered[n] = due

    def acknowledged(self, n: int, message_id: str, duplicate: bool) -> None:
        """The sender got the reply to ``n``."""
        if n not in self._unacknowledged:
            self._faults["acknowledged twice"] += 1
            return
        if duplicate:
            self._faults["called a duplicate"] += 1
        self._unacknowledged.remove(n)
        self._match(n, message_id)

    def refused(self, n: int) -> None:
        """The sender got an error for ``n``; it must not be delivered."""
        self._unacknowledged.discard(n)
        self._undelivered.pop(n, None)

    def delivered(self, key: str, message_id: str) -> float | None:
        """The receiver got a message; returns when it was due, None for one not expected."""
        session_id, _, digits = key.rpartition(":")
        if session_id != self.session_id or not digits.isdecimal():
            self._faults["not of this flow"] += 1
            return None
        n = int(digits)
        due = self._undelivered.pop(n, None)
        if due is None:
            self._faults["delivered twice or never sent"] += 1
            return None
        last_n, last_id = self._last_delivered
        number = int(message_id)
        if n < last_n or number <= last_id:
            self._faults["out of order"] += 1
        self._last_delivered = (n, number)
        self._match(n, message_id)
        return due

    def finish(self) -> None:
        """Count what never arrived; no more may come."""
        self._count("never acknowledged", len(self._unacknowledged))
        self._count("never delivered", len(self._undelivered))

    def _match(self, n: int, message_id: str) -> None:
        """The reply and the event, whichever comes first, must name the same id."""
        other = self._half_seen.pop(n, None)
        if other is None:
            self._half_seen[n] = message_id
        elif other != message_id:
            self._faults["acknowledged under another id"] += 1

    def _count(self, fault: str, times: int) -> None:
        if times:
            self._faults[fault] += times
