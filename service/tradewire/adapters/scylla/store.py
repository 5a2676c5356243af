"""The store on ScyllaDB or Apache Cassandra: the ports on one keyspace."""

import asyncio
import math
import os
import platform
from collections.abc import Callable

import structlog

from tradewire.adapters.scylla.draft import Memory
from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.journal import OnGroup, ScyllaJournal
from tradewire.adapters.scylla.late import LateRecorder, OnLate
from tradewire.adapters.scylla.nodes import Nodes
from tradewire.adapters.scylla.options import GROUP_UNITS, GROUPS_IN_FLIGHT, Options
from tradewire.adapters.scylla.reads import (
    CatalogueReads,
    ConversationReads,
    MessageReads,
    PeopleReads,
)
from tradewire.adapters.scylla.relay import ScyllaRelay
from tradewire.adapters.scylla.rooms import Rooms
from tradewire.adapters.scylla.runs import Run, Takeover, newest_batch
from tradewire.domain.errors import TradewireError, Unavailable
from tradewire.domain.ids import Clock
from tradewire.ports import StoreError
from tradewire.telemetry.tasks import Tasks

STOP_DEADLINE_S = 15.0
CHECK_DEADLINE_S = 2.0
"""Sooner than who asks whether this node is ready gives up, and is not told what is away."""
KEEPS_A_LEASE = 5
"""How often a lease is renewed, and dead nodes are looked for, within its time to live."""
PROMPT_HORIZON_S = 0.05

_log = structlog.get_logger(__name__)


def _ignore(*_: object) -> None:
    """Nobody listens."""


class ScyllaStore:
    """See ports.Store; the ports are there once it is open.

    Args:
        cell: whose nodes share runs and node numbers: the name of the installation.
        clock: issues the ids of this node; it gets the node number that is leased.
        lease_s: how long a node may be silent before another one finishes its work.
        group_units: units in a commit group at most; None: 512.
        groups_in_flight: commit groups under way at once, 1 to 8.
        on_group: called after each commit group with its number of units and seconds.
        on_late: called with what became visible after younger things.
        on_failure: called when a task that must run for ever has failed: the node is of no use.
        relayed: the log is published: nodes tell one another 20 times a second, not with each
            renewal of a lease, up to where it is complete.
    """

    def __init__(
        self,
        options: Options,
        *,
        cell: str,
        clock: Clock,
        lease_s: float = 10.0,
        group_units: int | None = None,
        groups_in_flight: int = GROUPS_IN_FLIGHT,
        on_group: OnGroup = _ignore,
        on_late: OnLate = _ignore,
        on_failure: Callable[[str, BaseException | None], None] = _ignore,
        relayed: bool = False,
    ) -> None:
        self._options = options
        self._cell = cell
        self._clock = clock
        self._lease_s = math.ceil(lease_s)
        self._horizon_s = PROMPT_HORIZON_S if relayed else self._lease_s / KEEPS_A_LEASE
        self._owner = f"{platform.node()}/{os.getpid()}"
        self._tasks = Tasks(on_failure)
        self._run: Run | None = None
        now_ms = clock.now_ms
        self.engine = Engine(options)
        rooms = Rooms(self.engine)
        memory = Memory(rooms)
        late = LateRecorder(self.engine, rooms, clock, memory.timestamps, on_late)
        takeover = self._takeover = Takeover(self.engine, cell, rooms, clock, late)
        self.journal = ScyllaJournal(
            self.engine,
            cell,
            memory,
            clock,
            on_group,
            takeover.drop_retried,
            late.record,
            group_units=group_units or GROUP_UNITS,
            groups_in_flight=groups_in_flight,
        )
        self.cluster = Nodes(self.engine, cell, clock)
        self.conversations = ConversationReads(self.engine, rooms, now_ms)
        self.messages = MessageReads(self.engine, rooms, now_ms)
        self.people = PeopleReads(self.engine)
        self.catalogue = CatalogueReads(self.engine)
        self.relay = ScyllaRelay(self.engine, cell, self._owner)

    async def open(self) -> None:
        try:
            await self.engine.open()
            await self._begin()
            await self.cluster.look()
        except TradewireError as error:
            await self.engine.close()
            raise StoreError(f"The cluster does not answer: {error}") from error
        except StoreError:
            await self.engine.close()
            raise
        self._tasks.start("commit groups", self.journal.work(), forever=True)
        self._tasks.start("lease", self._live(), forever=True)
        self._tasks.start("horizon", self._tell_horizon(), forever=True)
        self._tasks.start("takeover", self._watch(), forever=True)
        self._tasks.start("nodes", self.cluster.watch(), forever=True)
        self._tasks.start("sessions", self.cluster.renew(), forever=True)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self.journal.drained()
        except TimeoutError:
            _log.error("units in flight were given up", units=self.journal.in_flight)
        run, self._run = self._run, None
        finished = not self.journal.in_flight
        self.journal.end()
        await self._tasks.stop(STOP_DEADLINE_S)
        if run is not None and run.alive and finished:
            await self._end(run)
        await self._end_relay()
        await self.engine.close()

    async def check(self) -> None:
        if self._run is None or not self._run.alive:
            raise Unavailable("This node has lost its lease, or has none yet.")
        try:
            async with asyncio.timeout(CHECK_DEADLINE_S):
                await self.engine.row("LEASE", self._cell)
        except TimeoutError as error:
            raise Unavailable(f"No answer within {CHECK_DEADLINE_S:g} s.") from error

    async def _begin(self) -> None:
        run = await Run.begin(self.engine, self._cell, self._clock, self._owner, self._lease_s)
        self.journal.begin(run, await newest_batch(self.engine, self._cell))
        self.cluster.begin(run)
        self._run = run

    async def _end(self, run: Run) -> None:
        try:
            await run.end(self.journal.last_batch)
        except (TradewireError, TimeoutError) as error:
            _log.warning("the run was not ended; another node will", reason=str(error))

    async def _end_relay(self) -> None:
        try:
            await self.relay.end()
        except TradewireError as error:
            _log.warning("another node publishes once the lease has run out", reason=str(error))

    async def _live(self) -> None:
        """For ever: keep the lease; when it is lost, begin another life."""
        while True:
            await asyncio.sleep(self._lease_s / KEEPS_A_LEASE)
            try:
                if self._run is None:
                    await self._begin()
                elif not await self._keep(self._run):
                    _log.error("the lease is lost: beginning anew")
                    self._run = None
                    self.journal.end()
            except (TradewireError, StoreError) as error:
                _log.warning("the lease could not be kept", reason=str(error))

    async def _keep(self, run: Run) -> bool:
        if not run.alive:
            # It may have been taken over: whatever is in flight was not acknowledged.
            return False
        return await run.keep()

    async def _tell_horizon(self) -> None:
        """For ever: tell up to where the log is complete, unless who publishes is alone."""
        while True:
            await asyncio.sleep(self._horizon_s)
            run, journal = self._run, self.journal
            if run is None or not run.alive or (self.relay.led and not self.cluster.others):
                continue
            try:
                horizon = journal.horizon(self._clock.next_id())
                await run.move_horizon(horizon, journal.last_batch)
            except TradewireError as error:
                _log.debug("the horizon could not be moved", reason=str(error))

    async def _watch(self) -> None:
        """For ever: finish what dead nodes left."""
        while True:
            await asyncio.sleep(self._lease_s / KEEPS_A_LEASE)
            run = self._run
            if run is None or not run.alive:
                continue
            try:
                await self._takeover.look(run.run)
            except TradewireError as error:
                _log.warning("dead nodes could not be looked for", reason=str(error))
