"""What the client has heard: the cursor to resume from, and the ids not to hand over twice.

An id of protocol §3 holds its time: its upper 41 bits are milliseconds.
"""

from tradewire.client.codec import Json

TIME_SHIFT = 22
REMEMBERED_MS = 600_000
"""How far before `since` ids are remembered. A resume reaches back 10 s, but who finishes what a
dead node left announces it once more, and that may have been heard long before: the takeover waits
for a lease, and for a cluster that may be slow.
"""
MOST_REMEMBERED = 100_000


def event_id(event: Json) -> int | None:
    """The id of an event, its place in the order of all; None for typing, presence and the
    connection's own events.
    """
    if event["type"] == "MessageReceived":
        return int(event["message"]["message_id"])
    return int(event["change_id"]) if "change_id" in event else None


class Cursor:
    """The id to resume from: all that happened up to it was handed to the consumer.

    While a resume is in progress older events may still come, so nothing moves the cursor before
    `completed`. After an event was withheld nothing moves it until the next connection resumes.
    """

    def __init__(self, since: int | None) -> None:
        self.since = since
        self.withholding = False
        self._settled = False
        self._highest = 0

    @property
    def settled(self) -> bool:
        """Whether the cursor follows what is handed over."""
        return self._settled

    def opened(self, welcome_cursor: int) -> None:
        """A connection was opened with `since`; without one, it begins where `Welcome` says."""
        self.withholding = False
        self._settled = self.since is None
        self._highest = welcome_cursor if self.since is None else self.since
        self._advance()

    def handed_over(self, event_id: int) -> None:
        """An event was handed to the consumer."""
        self._highest = max(self._highest, event_id)
        self._advance()

    def told(self, cursor: int) -> None:
        """The server answered a Ping: all up to `cursor` was sent, or is being resumed."""
        if self._settled:
            self.handed_over(cursor)

    def completed(self, cursor: int) -> None:
        """The resume is over, and the consumer was told."""
        self._settled = not self.withholding
        self.handed_over(cursor)

    def withhold(self) -> None:
        """An event could not be handed over."""
        self.withholding = True
        self._settled = False

    def _advance(self) -> None:
        if self._settled:
            self.since = max(self.since or 0, self._highest)


class SeenIds:
    """The ids that were handed over and may still be repeated."""

    def __init__(self, capacity: int = MOST_REMEMBERED) -> None:
        self._capacity = capacity
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, event_id: int) -> bool:
        return event_id in self._ids

    def add(self, event_id: int) -> None:
        """Remember an id. When full, the older half is forgotten."""
        self._ids.add(event_id)
        if len(self._ids) > self._capacity:
            self._ids = set(sorted(self._ids)[len(self._ids) // 2 :])

    def forget_before(self, since: int) -> None:
        """Forget what no resume from `since` or later can repeat."""
        floor = since - (REMEMBERED_MS << TIME_SHIFT)
        self._ids = {event_id for event_id in self._ids if event_id >= floor}
