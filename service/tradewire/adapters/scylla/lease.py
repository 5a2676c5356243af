"""Leases: who holds a name, by lightweight transactions with a time to live.

A lease is held for less time here than in the store: who has lost it stops before another can have
it.
"""

import random
import time
from collections.abc import Callable

from tradewire.adapters.scylla.engine import Engine
from tradewire.domain.errors import TradewireError, Unavailable
from tradewire.domain.ids import NODE_BITS
from tradewire.ports import StoreError

SAFE_SHARE = 0.6
"""Of its time to live, how long a lease is relied on: the rest is for the clocks' granularity (a
second) and for a write that is still on its way."""

NODES = 1 << NODE_BITS
TRIES = 200


class Lease:
    """A name that is held.

    Args:
        lasts_s: the time to live in the store, whole seconds.
        now: seconds on a clock that never stands still or goes back.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        holder: str,
        lasts_s: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._engine = engine
        self._holder = holder
        self._lasts_s = lasts_s
        self._now = now
        self._until = float("-inf")

    @property
    def held(self) -> bool:
        """Whether it is relied on at this moment."""
        return self._now() < self._until

    async def take(self) -> bool:
        """Take it; False when somebody has it. The holder must never have had it before.

        Raises:
            Unavailable: the cluster did not answer.
        """
        asked = self._now()
        try:
            taken = await self._engine.decide("TAKE_LEASE", self.name, self._holder, self._lasts_s)
        except Unavailable:
            taken = await holder_of(self._engine, self.name) == self._holder
        return self._extend(asked, taken)

    async def keep(self) -> bool:
        """Hold it for longer; False when it is lost.

        Raises:
            Unavailable: whether it lasts longer is unknown; it is relied on for as long as it was.
        """
        asked = self._now()
        kept = (self._lasts_s, self._holder, self.name, self._holder)
        lasts = await self._engine.decide("KEEP_LEASE", *kept)
        # What ran out meanwhile stays lost: something may have been given up for it.
        return self._extend(asked, lasts and self.held)

    async def drop(self) -> None:
        """Let go of it."""
        self._until = float("-inf")
        await self._engine.decide("DROP_LEASE", self.name, self._holder)

    def _extend(self, asked: float, held: bool) -> bool:
        self._until = asked + self._lasts_s * SAFE_SHARE if held else float("-inf")
        return held


async def holder_of(engine: Engine, name: str) -> str | None:
    """Who holds a name, once every transaction on it is settled."""
    row = await engine.settled_row("LEASE", name)
    return None if row is None else row[0]


async def take_node(engine: Engine, holder: str, lasts_s: int) -> tuple[int, Lease]:
    """A node number that nobody else has, and its lease.

    Raises:
        StoreError: none is free, or the cluster did not answer.
    """
    try:
        for node in random.sample(range(NODES), TRIES):
            lease = Lease(engine, node_name(node), holder, lasts_s)
            if await lease.take():
                return node, lease
    except TradewireError as error:
        raise StoreError(f"No node number could be leased: {error}") from error
    raise StoreError(f"{TRIES} node numbers out of {NODES} are all taken.")


def node_name(node: int) -> str:
    """The name of a node number's lease, the same in all cells: none issues the id of another."""
    return f"node/{node}"


def run_name(cell: str, run: int) -> str:
    """The name under which a run is finished for a node that died."""
    return f"{cell}/run/{run}"
