"""From the socket to the consumer: each event once, in a bounded queue, with the cursor behind."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from tradewire.client.codec import Json
from tradewire.client.cursor import Cursor, SeenIds, event_id
from tradewire.client.errors import ClientError


class EventQueue(AsyncIterator[Json]):
    """The events that wait for the consumer, each with the cursor as it stood before it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._events: deque[tuple[Json, int | None]] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: ClientError | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Json, cursor: int | None) -> bool:
        """Append an event, unless the queue is full."""
        if len(self) >= self._capacity:
            self._room.clear()
            return False
        self._events.append((event, cursor))
        self._changed.set()
        return True

    def taken_up_to(self, cursor: int | None) -> int | None:
        """`cursor`, or what it was before the oldest event that nobody has taken yet."""
        return self._events[0][1] if self._events else cursor

    async def half_empty(self) -> None:
        """Wait until the consumer has caught up with half of what made the queue full."""
        await self._room.wait()

    def end(self, error: ClientError | None) -> None:
        """No event will follow: the iteration ends, at once or with `error` after what waits."""
        self._ended, self._error = True, error
        self._changed.set()

    async def __anext__(self) -> Json:
        while not self._events and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if self._ended and (self._error is None or not self._events):
            raise self._error.with_traceback(None) if self._error else StopAsyncIteration
        event, _ = self._events.popleft()
        if len(self) <= self._capacity // 2:
            self._room.set()
        return event


class Feed:
    """What is heard on all connections of a client, one after another.

    A consumer that is too slow fills the queue. From then on events are withheld: those with an id
    are not lost, since the cursor stays where it was and `caught_up` asks for a new resume once
    half of the queue is free; typing and presence are dropped. Replies flow on meanwhile, so a
    consumer may await a command inside its loop.
    """

    def __init__(self, since: int | None, capacity: int) -> None:
        self.queue = EventQueue(capacity)
        self._cursor = Cursor(since)
        self._seen = SeenIds()
        self._withheld = asyncio.Event()

    @property
    def since(self) -> int | None:
        """Where the next connection resumes from; None: it begins with what happens then."""
        return self._cursor.since

    @property
    def taken(self) -> int | None:
        """The cursor of what the consumer has taken from the queue."""
        return self.queue.taken_up_to(self._cursor.since)

    @property
    def settled(self) -> bool:
        """Whether nothing that was missed is still to come."""
        return self._cursor.settled

    def opened(self, welcome: Json) -> None:
        """A connection was opened with the present `since`."""
        self._withheld.clear()
        self._cursor.opened(int(welcome["cursor"]))

    def told(self, cursor: int) -> None:
        """The server answered a Ping."""
        self._cursor.told(cursor)

    def accept(self, event: Json) -> bool:
        """Hand an event over; False if it was withheld. A repeated one counts as handed over."""
        if event["type"] == "SyncCompleted":
            return self._complete(event)
        id_ = event_id(event)
        if id_ is None:
            return self.queue.put(event, self._cursor.since)
        if id_ not in self._seen:
            if self._cursor.withholding:
                return False
            if not self.queue.put(event, self._cursor.since):
                self._withhold()
                return False
        self._seen.add(id_)
        self._cursor.handed_over(id_)
        return True

    def forget(self) -> None:
        """Let go of ids that cannot be repeated any more; call it every half minute or so."""
        self._seen.forget_before(self._cursor.since or 0)

    async def caught_up(self) -> None:
        """Wait until something was withheld and the consumer has room for it again."""
        await self._withheld.wait()
        await self.queue.half_empty()

    def _complete(self, event: Json) -> bool:
        if self._cursor.withholding:
            return False
        if not self.queue.put(event, self._cursor.since):
            self._withhold()
            return False
        self._cursor.completed(int(event["cursor"]))
        return True

    def _withhold(self) -> None:
        self._cursor.withhold()
        self._withheld.set()
