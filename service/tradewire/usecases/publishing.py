"""Publishes the log of domain events: everything, in its order, by one process of a cell."""

import asyncio
import contextlib
import time

import structlog

from tradewire.domain.errors import TradewireError
from tradewire.domain.ids import id_ms
from tradewire.ports import LEAD_S, Publisher
from tradewire.usecases.backoff import backoff
from tradewire.usecases.context import Context

BATCH = 1_000
POLL_S = 0.05
"""How soon what other nodes committed is seen; own commits wake it."""

MOVE_S = 1.0
"""How often the cursor is moved: what was published since is published again after a crash."""

STOP_S = 2.0
PENDING_MOST = 1_000

_log = structlog.get_logger(__name__)


class Publishing:
    """Reads the log, publishes it, moves the cursor. What cannot be published is tried again before
    anything later, so that events may be repeated and never overtake one another.

    Args:
        linger_s: how long commits gather before the log is read, which costs some statements.
    """

    def __init__(self, context: Context, publisher: Publisher, linger_s: float) -> None:
        self._store = context.store
        self._now_ms = context.clock.now_ms
        self._metrics = context.metrics
        self._publisher = publisher
        self._linger_s = linger_s
        self._news = asyncio.Event()
        self._published = 0
        self._leading = False
        self._failures = 0

    def wake(self) -> None:
        """Something was committed here."""
        self._news.set()

    async def run(self) -> None:
        """For ever: publish while this process is the one that does."""
        while True:
            try:
                if await self._store.relay.leads():
                    await self._lead()
                pause = LEAD_S / 2
            except TradewireError as error:
                self._failures += 1
                pause = backoff(self._failures)
                self._metrics.publish_errors.add()
                _log.warning("events wait to be published", reason=str(error), next_s=pause)
            await asyncio.sleep(pause)

    async def sample(self) -> None:
        """Measure what waits to be published."""
        cursor = self._published if self._leading else await self._store.relay.cursor()
        waiting = await self._store.journal.events(cursor, PENDING_MOST)
        age_ms = self._now_ms() - id_ms(waiting[0].id) if waiting else 0
        self._metrics.outbox_pending.value = len(waiting)
        self._metrics.outbox_oldest_seconds.value = max(age_ms, 0) / 1000

    async def _lead(self) -> None:
        """Publish until another process does."""
        relay = self._store.relay
        self._published = moved = await relay.cursor()
        self._leading = True
        asked = moved_at = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                if now - asked > LEAD_S / 2:
                    asked = now
                    if not await relay.leads():
                        return
                if now - moved_at > MOVE_S and self._published > moved:
                    moved, moved_at = self._published, now
                    await relay.move(moved)
                if not await self._publish():
                    await self._wait()
        finally:
            self._leading = False
            if self._published > moved:
                await self._note()

    async def _publish(self) -> bool:
        """Publish the next events; whether there may be more."""
        self._news.clear()
        events = await self._store.journal.events(self._published, BATCH)
        if not events:
            return False
        await self._publisher.publish(events)
        self._failures = 0
        self._published = events[-1].id
        now = self._now_ms()
        for event in events:
            self._metrics.publish_seconds.observe((now - id_ms(event.id)) / 1000)
        self._metrics.events_published.add(len(events))
        return len(events) == BATCH

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), POLL_S)
        await asyncio.sleep(self._linger_s)

    async def _note(self) -> None:
        """Move the cursor for the last time; nothing but repetition is lost if it fails."""
        try:
            async with asyncio.timeout(STOP_S):
                await self._store.relay.move(self._published)
        except (TradewireError, TimeoutError) as error:
            _log.warning("events will be published again", reason=str(error))
