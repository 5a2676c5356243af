"""The nodes of a cell, as one of them sees the others."""

import asyncio
import time
from collections.abc import Iterable, Mapping

import structlog

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import HOUR_MS, hour_of
from tradewire.adapters.scylla.outbox import registered
from tradewire.adapters.scylla.runs import Run
from tradewire.adapters.scylla.sessions import Key, Sessions
from tradewire.domain.errors import TradewireError
from tradewire.domain.ids import Clock, id_at, id_ms
from tradewire.ports import ROUTE_AGE_S, Refusal

LOOK_S = 0.5
RENEWAL_S = 1.0

AHEAD_MS = 60_000
"""How far the clock of a node may be ahead of this one."""

_log = structlog.get_logger(__name__)


class Nodes:
    """See ports.Cluster.

    A run counts as living until it is finished. Nobody has to look at the leases for that: a dead
    node's run is finished by another one as soon as its lease is over.
    """

    def __init__(self, engine: Engine, cell: str, clock: Clock) -> None:
        self._engine = engine
        self._cell = cell
        self._clock = clock
        self._sessions = Sessions(engine, clock)
        self._own: set[int] = set()
        self._living: dict[int, int] = {}
        self._ended: set[int] = set()
        self._looked = self._accompanied = float("-inf")
        self._run: Run | None = None

    @property
    def node(self) -> int:
        return self._run.node if self._run is not None else 0

    @property
    def run(self) -> int:
        return self._run.run if self._run is not None else 0

    @property
    def others(self) -> Mapping[int, int]:
        # Of two runs with the same number the older one is dead.
        return {node: run for run, node in sorted(self._living.items())}

    def alone_since(self, moment: float) -> bool:
        fresh = time.monotonic() - self._looked < ROUTE_AGE_S
        return fresh and not self._living and self._accompanied < moment

    def begin(self, run: Run) -> None:
        """A life of this node begins."""
        self._run = run
        self._own.add(run.run)
        self._living.pop(run.run, None)
        self._sessions.begin(run)

    async def join(self, tenant: str, user_id: str) -> None:
        await self._sessions.join((tenant, user_id))

    async def leave(self, tenant: str, user_id: str) -> None:
        await self._sessions.leave((tenant, user_id))

    def expect(self, users: Iterable[Key]) -> None:
        if self._living:
            self._sessions.expect(users)

    async def find(self, users: Iterable[Key]) -> dict[Key, frozenset[int]]:
        asked = list(users)
        if self.alone_since(time.monotonic()):
            return dict.fromkeys(asked, frozenset())
        found = await self._sessions.find(asked)
        if any(self._is_unknown(run) for runs in found.values() for run in runs):
            await self.look()
        living = self._living
        return {
            user: frozenset([living[run] for run in runs if run in living])
            for user, runs in found.items()
        }

    async def refusals(self, after: int) -> list[Refusal]:
        now = self._clock.now_ms()
        after = max(after, id_at(now - HOUR_MS))
        hours = range(hour_of(id_ms(after)), hour_of(now + AHEAD_MS) + 1)
        found = await all_of([self._engine.rows("REFUSALS", hour, after) for hour in hours])
        return [Refusal(*row) for rows in found for row in rows]

    async def look(self) -> None:
        """See which nodes live.

        Raises:
            Unavailable, Overloaded: the cluster did not answer.
        """
        asked = time.monotonic()
        runs = [
            run for run in await registered(self._engine, self._cell) if self._is_other(run.run)
        ]
        if asked < self._looked:
            return
        self._looked = asked
        for each in runs:
            self._clock.observe(each.horizon)
        self._living = {run.run: run.node for run in runs if run.finished is None}
        ended = {run.run for run in runs if run.finished is not None}
        if self._living or ended - self._ended:
            # One that has ended may have lived until it was read.
            self._accompanied = time.monotonic()
        self._ended = ended

    async def watch(self) -> None:
        """For ever: see which nodes live."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except TradewireError as error:
                _log.warning("the other nodes could not be looked for", reason=str(error))

    async def renew(self) -> None:
        """For ever: keep the users here to be found."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            try:
                await self._sessions.renew()
            except TradewireError as error:
                _log.warning("sessions could not be renewed", reason=str(error))

    def _is_other(self, run: int) -> bool:
        return run not in self._own

    def _is_unknown(self, run: int) -> bool:
        return self._is_other(run) and run not in self._living and run not in self._ended
