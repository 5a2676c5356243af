"""Lives of nodes: one begins with a node number and an id; who outlives it finishes it."""

import asyncio
import random
from collections.abc import Iterator, Sequence

import structlog

from tradewire.adapters.scylla.apply_messages import message_rows
from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.draft import Placed
from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.late import LateRecorder
from tradewire.adapters.scylla.lease import Lease, holder_of, node_name, run_name, take_node
from tradewire.adapters.scylla.loads import stored_message
from tradewire.adapters.scylla.options import MOST_GROUPS_IN_FLIGHT
from tradewire.adapters.scylla.outbox import RunRow, last_batches, registered
from tradewire.adapters.scylla.redo import pack_group, unpack_group
from tradewire.adapters.scylla.rooms import Rooms
from tradewire.domain.ids import Clock, id_at
from tradewire.domain.types import Message

LATE_S = 3.0
"""A group whose first unit was taken longer ago is not acknowledged: who then looks for its keys
must find them, and a resume goes back 10 s and no further."""
MARGIN_S = 0.5

TAKEOVER_S = 60
FORGOTTEN_AFTER_MS = 8 * 86_400_000
DROPPED_DEADLINE_S = 2.0

_log = structlog.get_logger(__name__)


Sent = tuple[str, Message, Placed]
"""A message of a group: its tenant, itself, and what its rows need besides it."""


class Run:
    """The life of this node: its node number, and the lease that it lasts by."""

    def __init__(self, engine: Engine, cell: str, run: int, node: int, lease: Lease) -> None:
        self._engine = engine
        self._cell = cell
        self.run = run
        self.node = node
        self._lease = lease

    @property
    def alive(self) -> bool:
        """Whether ids may be issued and sends acknowledged at this moment."""
        return self._lease.held

    @classmethod
    async def begin(
        cls, engine: Engine, cell: str, clock: Clock, owner: str, lease_s: int
    ) -> "Run":
        """Begin a life: the clock issues ids of its node number from now on.

        It is registered before the newest id is read, so that no event appears below one that a
        reader has seen.

        Raises:
            StoreError: there is no free node number.
            Unavailable: the cluster did not answer.
        """
        holder = f"{owner}/{random.getrandbits(64):016x}"
        node, lease = await take_node(engine, holder, lease_s)
        clock.move_to(node)
        run = clock.next_id()
        await engine.rows("ADD_RUN", cell, run, node, holder, run)
        clock.observe(await newest_batch(engine, cell))
        return cls(engine, cell, run, node, lease)

    async def keep(self) -> bool:
        """Live on; False: it is over.

        Raises:
            Unavailable: the cluster did not answer.
        """
        return await self._lease.keep()

    async def move_horizon(self, horizon: int, newest: int) -> None:
        """Tell the others up to which id all events are there, in batches up to which one.

        Raises:
            Unavailable, Overloaded: the cluster did not answer.
        """
        await self._engine.rows("MOVE_HORIZON", self._cell, self.run, horizon, newest)

    async def end(self, last_batch: int) -> None:
        """End it in good order: nobody has to finish anything."""
        async with asyncio.timeout(DROPPED_DEADLINE_S):
            await self._engine.rows("FINISH_RUN", self._cell, self.run, last_batch)
            await self._lease.drop()


async def newest_batch(engine: Engine, cell: str) -> int:
    """The greatest batch id of all runs, 0 when there is none."""
    runs = await registered(engine, cell)
    newest = await all_of([_newest_of(engine, each) for each in runs])
    return max(newest, default=0)


async def _newest_of(engine: Engine, run: RunRow) -> int:
    if run.finished is not None:
        return run.finished
    batches = await last_batches(engine, run.run, 1)
    return batches[-1][1] if batches else 0


class Takeover:
    """Finishes what dead nodes left: makes their last groups visible, and ends their runs."""

    def __init__(
        self, engine: Engine, cell: str, rooms: Rooms, clock: Clock, late: LateRecorder
    ) -> None:
        self._engine = engine
        self._cell = cell
        self._rooms = rooms
        self._clock = clock
        self._late = late

    async def look(self, own: int) -> None:
        """Finish every run whose node is dead.

        Raises:
            Unavailable, Overloaded: the cluster did not answer; look again later.
        """
        oldest = id_at(self._clock.now_ms() - FORGOTTEN_AFTER_MS)
        for run in await registered(self._engine, self._cell):
            if run.finished is None and run.run != own:
                await self._finish_if_dead(run)
            elif run.finished is not None and max(run.run, run.finished) < oldest:
                await self._engine.rows("FORGET_RUN", self._cell, run.run)

    async def _finish_if_dead(self, run: RunRow) -> None:
        name = node_name(run.node)
        if await self._holder(name) == run.owner:
            return
        # Read again, with whatever transaction is under way on it settled.
        if await holder_of(self._engine, name) == run.owner:
            return
        holder = f"{run.owner}/{random.getrandbits(64):016x}"
        lease = Lease(self._engine, run_name(self._cell, run.run), holder, TAKEOVER_S)
        if await lease.take():
            _log.warning("finishing the run of a dead node", run=run.run, node=run.node)
            await self._finish(run)

    async def _holder(self, name: str) -> str | None:
        row = await self._engine.row("LEASE", name)
        return None if row is None else row[0]

    async def _finish(self, run: RunRow) -> None:
        """Make the last groups of a run visible, then end it."""
        batches = await last_batches(self._engine, run.run, MOST_GROUPS_IN_FLIGHT + 1)
        left = [Unfinished(*row) for row in batches]
        for each in left:
            each.hidden = await self._hidden(each.hidden)
        await self.drop_retried(run.run, left)
        if claims := [row for each in left for row in each.claims()]:
            # Who looks for one of these keys from now on finds it; who has looked before has
            # written what it is about to acknowledge when this time is over.
            await self._engine.write(claims)
            await asyncio.sleep(LATE_S + MARGIN_S)
            await self.drop_retried(run.run, left)
        for each in left:
            await self._engine.write(list(each.group.rows()))
        # All of it, for what the dead node had made visible it may not have told.
        await self._late.record([each.group for each in left])
        last = batches[-1][1] if batches else 0
        await self._engine.rows("FINISH_RUN", self._cell, run.run, last)

    async def _hidden(self, sent: list[Sent]) -> list[Sent]:
        """Those that are not there."""
        there = await all_of([self._is_there(*each) for each in sent])
        return [each for each, is_there in zip(sent, there, strict=True) if not is_there]

    async def _is_there(self, tenant: str, message: Message, placed: Placed) -> bool:
        """Whether a message can be seen, and found by its key; one whose conversation is gone never
        will.
        """
        room = await self._rooms.get(tenant, message.conversation_id)
        if room is None:
            return True
        if await stored_message(self._engine, room, message.id) is None:
            return False
        return message.key is None or message.id in await self._with_key(tenant, message, placed)

    async def drop_retried(self, run: int, left: Sequence["Unfinished"]) -> None:
        """Drop messages that their senders have sent again since, on another node: nobody was told
        of these, and those may be acknowledged.

        Raises:
            Unavailable, Overloaded: the cluster did not answer; do it again.
        """
        for each in left:
            retried = await all_of([self._is_retried(*sent) for sent in each.hidden])
            dropped = [
                sent for sent, is_retried in zip(each.hidden, retried, strict=True) if is_retried
            ]
            if dropped:
                kept = each.group.without({message.id for _, message, _ in dropped})
                row = (run, each.slice, kept.batch_id, *pack_group(kept))
                await self._engine.rows("ADD_BATCH", *row)
                # What the dead node has sent and the cluster has not written yet is void by this.
                await self._engine.write([row for sent in dropped for row in void_rows(*sent)])
                # Not before: what was not done must be found again.
                each.group = kept
                each.hidden = [sent for sent in each.hidden if sent not in dropped]

    async def _is_retried(self, tenant: str, message: Message, placed: Placed) -> bool:
        """Whether a younger message has the key of this one: of two that both became visible late,
        the one stays that readers are shown.
        """
        if message.key is None:
            return False
        return max(await self._with_key(tenant, message, placed), default=0) > message.id

    async def _with_key(self, tenant: str, message: Message, placed: Placed) -> set[int]:
        """The messages that have the key of this one."""
        key = (message.sender_id, message.key)
        rows = await all_of(
            [
                self._engine.rows("KEY", tenant, message.conversation_id, bucket, *key)
                for bucket in (placed.bucket, placed.bucket + 1)
            ]
        )
        return {row[0] for found in rows for row in found}


class Unfinished:
    """A group that a dead node left, or that took a living one too long.

    Attributes:
        slice: where its outbox row is.
        hidden: those of its messages that nobody was told of.
    """

    def __init__(self, slice_: int, batch_id: int, events: bytes, redo: bytes) -> None:
        self.slice = slice_
        self.group = unpack_group(batch_id, events, redo)
        self.hidden = list(self.group.sent())

    def claims(self) -> Iterator[Mutation]:
        """The keys of what is hidden."""
        for tenant, message, placed in self.hidden:
            for row in message_rows(tenant, message, b"", placed):
                if row[0] == "ADD_KEY":
                    yield row


def void_rows(tenant: str, message: Message, placed: Placed) -> Iterator[Mutation]:
    """What makes the rows of a message void, whenever they arrive."""
    place = (placed.timestamp, tenant, message.conversation_id, placed.bucket)
    yield "REMOVE_MESSAGE", (*place, message.id)
    yield "REMOVE_KEY", (*place, message.sender_id, message.key, message.id)
