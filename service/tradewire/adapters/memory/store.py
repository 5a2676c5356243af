"""A store in memory: for tests and trials; nothing outlives the process."""

import asyncio
import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from tradewire.adapters.memory.reads import (
    CatalogueReads,
    ConversationReads,
    MessageReads,
    PeopleReads,
)
from tradewire.adapters.memory.state import Tenant
from tradewire.adapters.memory.writes import apply
from tradewire.domain.errors import Overloaded, TradewireError
from tradewire.domain.outbox import DomainEvent, domain_event
from tradewire.domain.writes import Unit

_log = structlog.get_logger(__name__)

Done = Callable[[Sequence[Any] | TradewireError], None]


class MemoryJournal:
    """See ports.Journal: a group is what was appended in one turn of the loop."""

    def __init__(self, tenants: dict[str, Tenant], bound: int) -> None:
        self._tenants = tenants
        self._bound = bound
        self._waiting: list[tuple[Unit, Done]] = []
        self._events: list[DomainEvent] = []
        self._handled: set[tuple[str, str]] = set()
        self._newest = 0

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    def append(self, unit: Unit, done: Done) -> None:
        if len(self._waiting) >= self._bound:
            raise Overloaded
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.commit)
        self._waiting.append((unit, done))

    async def events(self, after: int, limit: int) -> list[DomainEvent]:
        return [event for event in self._events if event.id > after][:limit]

    async def newest_id(self) -> int:
        return self._newest

    def commit(self) -> None:
        """Let what was appended take effect, each unit whole or not at all."""
        group, self._waiting = self._waiting, []
        outcomes = [(self._take(unit), done) for unit, done in group]
        for outcome, done in outcomes:
            try:
                done(outcome)
            except Exception:  # noqa: BLE001  # the others are owed their answers
                _log.exception("a callback failed")

    def _take(self, unit: Unit) -> Sequence[Any] | TradewireError:
        if not unit.writes:
            return ()
        name = unit.writes[0].tenant
        state = self._tenants[name]
        if unit.handles in self._handled:
            return ()
        # A single write refuses before it changes anything.
        before = copy.deepcopy(state) if len(unit.writes) > 1 else state
        try:
            results = [apply(state, write) for write in unit.writes]
        except TradewireError as error:
            self._tenants[name] = before
            return error
        if unit.handles is not None:
            self._handled.add(unit.handles)
        for write, result in zip(unit.writes, results, strict=True):
            event = domain_event(write, result)
            if event is not None:
                self._events.append(event)
            written = event.id if event is not None else getattr(write, "change_id", 0)
            self._newest = max(self._newest, written)
        return results


class MemoryRelay:
    """See ports.Relay: there is but this process."""

    def __init__(self) -> None:
        self._cursor = 0

    async def leads(self) -> bool:
        return True

    async def cursor(self) -> int:
        return self._cursor

    async def move(self, cursor: int) -> None:
        self._cursor = max(self._cursor, cursor)


class MemoryStore:
    """See ports.Store; `now_ms`: milliseconds since 1970."""

    def __init__(self, now_ms: Callable[[], int], bound: int = 10_000) -> None:
        tenants: dict[str, Tenant] = defaultdict(Tenant)
        self.journal = MemoryJournal(tenants, bound)
        self.conversations = ConversationReads(tenants.__getitem__, now_ms)
        self.messages = MessageReads(tenants.__getitem__, lambda: tenants, now_ms)
        self.people = PeopleReads(tenants.__getitem__)
        self.catalogue = CatalogueReads(tenants.__getitem__)
        self.relay = MemoryRelay()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self.journal.commit()

    async def check(self) -> None:
        pass
