"""Who publishes the outbox, by a lease; how far, by a row of the cell."""

import math
import random

from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.layout import marker_timestamp
from tradewire.adapters.scylla.lease import SAFE_SHARE, Lease
from tradewire.ports import LEAD_S

LEASE_S = math.ceil(LEAD_S / SAFE_SHARE)


class ScyllaRelay:
    """See ports.Relay; `owner`: the name of this node."""

    def __init__(self, engine: Engine, cell: str, owner: str) -> None:
        self._engine = engine
        self._cell = cell
        self._owner = owner
        self._name = f"{cell}/relay"
        self._lease = self._fresh_lease()

    @property
    def led(self) -> bool:
        """Whether this node publishes at this moment."""
        return self._lease.held

    async def leads(self) -> bool:
        if self._lease.held:
            return await self._lease.keep()
        # A plain read, since nearly always another has it.
        if await self._engine.row("LEASE", self._name) is not None:
            return False
        self._lease = self._fresh_lease()
        return await self._lease.take()

    async def cursor(self) -> int:
        row = await self._engine.row("RELAY", self._cell)
        return 0 if row is None else row[0]

    async def move(self, cursor: int) -> None:
        # With the time of the id that it holds: an older one that arrives later changes nothing.
        await self._engine.rows("MOVE_RELAY", self._cell, cursor, marker_timestamp(cursor))

    async def end(self) -> None:
        """Let another lead.

        Raises:
            Unavailable, Overloaded: the cluster did not answer; the lease runs out by itself.
        """
        if self._lease.held:
            await self._lease.drop()

    def _fresh_lease(self) -> Lease:
        holder = f"{self._owner}/{random.getrandbits(64):016x}"
        return Lease(self._engine, self._name, holder, LEASE_S)
