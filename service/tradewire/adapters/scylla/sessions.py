"""Which users have connections on which nodes: a row for each user and run.

Where users are is read for all who are asked for at once: a message has two members at least.

What is written has rising timestamps, in the order of the calls: a removal that arrives late hides
no row that was written after it. Rows expire, so those of users who stay are written again.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.layout import Timestamps
from tradewire.adapters.scylla.runs import Run
from tradewire.domain.errors import TradewireError, Unavailable
from tradewire.domain.ids import Clock, id_at
from tradewire.ports import ROUTE_AGE_S

RENEWED_S = 3_600.0
"""How old a row may be; the table's time to live is four times that."""

NEVER = float("-inf")
CHUNK = 500
"""Rows that are renewed at once."""

USERS_READ = 100
"""Users in one read."""

Key = tuple[str, str]
"""A tenant and a user id."""


class Here(Struct):
    """A user who is connected here; `written`: when the row was written for this run, in seconds of
    the monotonic clock.
    """

    written: float = NEVER


class Sessions:
    """The rows of this node, and reads of those of all."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._timestamps = Timestamps()
        self._run: Run | None = None
        self._here: dict[Key, Here] = {}
        self._reads: OrderedDict[Key, tuple[float, asyncio.Future[list[int]]]] = OrderedDict()
        self._asked: dict[Key, asyncio.Future[list[int]]] = {}
        self._reading: set[asyncio.Task[None]] = set()

    def begin(self, run: Run) -> None:
        """Another run: `renew` writes all rows for it."""
        self._run = run
        for here in self._here.values():
            here.written = NEVER

    async def join(self, user: Key) -> None:
        """Add a user. Raises Unavailable when it is not there yet; `renew` tries again."""
        here = self._here[user] = Here()
        if self._run is None or not self._run.alive:
            raise Unavailable
        await self._write(self._run, {user: here})

    async def leave(self, user: Key) -> None:
        """Remove a user. Raises Unavailable when it may still be there; then it expires."""
        self._here.pop(user, None)
        if self._run is not None:
            await self._engine.rows("REMOVE_SESSION", self._timestamp(), *user, self._run.run)

    async def renew(self) -> None:
        """Write the rows that are not there, or about to grow old.

        Raises:
            Unavailable, Overloaded: some were not written; do it again.
        """
        run, oldest = self._run, time.monotonic() - RENEWED_S
        if run is None or not run.alive:
            return
        due = [user for user, here in self._here.items() if here.written < oldest]
        for start in range(0, len(due), CHUNK):
            users = due[start : start + CHUNK]
            await self._write(run, {u: self._here[u] for u in users if u in self._here})

    def expect(self, users: Iterable[Key]) -> None:
        """Begin the reads that `find` will need."""
        for user in users:
            self._read(user)

    async def find(self, users: Iterable[Key]) -> dict[Key, list[int]]:
        """The runs that have, or had, connections of each user; known for ROUTE_AGE_S at most."""
        reads = {user: self._read(user) for user in users}
        pending = [read for read in reads.values() if not read.done()]
        if pending:
            await asyncio.wait(pending)
        return {user: read.result() for user, read in reads.items()}

    async def _write(self, run: Run, users: dict[Key, Here]) -> None:
        asked = time.monotonic()
        await self._engine.write(
            [("ADD_SESSION", (*user, run.run, self._timestamp())) for user in users]
        )
        if run is self._run:
            for here in users.values():
                here.written = asked

    def _timestamp(self) -> int:
        return self._timestamps.after(id_at(self._clock.now_ms()))

    def _read(self, user: Key) -> "asyncio.Future[list[int]]":
        """The runs of a user: a read that is young enough, whoever began it, or a new one."""
        now = time.monotonic()
        while self._reads and next(iter(self._reads.values()))[0] <= now - ROUTE_AGE_S:
            self._reads.popitem(last=False)
        known = self._reads.get(user)
        if known is not None:
            return known[1]
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._read_asked)
        read = self._asked[user] = loop.create_future()
        read.add_done_callback(lambda done: self._forget_failed(user, done))
        self._reads[user] = (now, read)
        return read

    def _read_asked(self) -> None:
        """Read all that was asked for since the last time, what is on the same nodes together."""
        asked, self._asked = self._asked, {}
        for place, users in self._engine.together("ADD_SESSION", asked):
            for tenant in {tenant for tenant, _ in users}:
                names = [name for other, name in users if other == tenant]
                for start in range(0, len(names), USERS_READ):
                    answers = {n: asked[tenant, n] for n in names[start : start + USERS_READ]}
                    read = asyncio.create_task(self._runs(place, tenant, answers), name="sessions")
                    self._reading.add(read)
                    read.add_done_callback(self._reading.discard)

    async def _runs(
        self, place: bytes, tenant: str, answers: Mapping[str, "asyncio.Future[list[int]]"]
    ) -> None:
        """Answer with the runs of each user of a tenant, or with what went wrong."""
        found: dict[str, list[int]] = {user_id: [] for user_id in answers}
        try:
            for user_id, run in await self._engine.rows_at(place, "SESSIONS", tenant, [*answers]):
                found[user_id].append(run)
        except TradewireError as error:
            for answer in answers.values():
                answer.set_exception(error)
        except BaseException:
            for answer in answers.values():
                answer.cancel()
            raise
        else:
            for user_id, answer in answers.items():
                answer.set_result(found[user_id])

    def _forget_failed(self, user: Key, read: "asyncio.Future[list[int]]") -> None:
        if read.cancelled() or read.exception() is not None:
            known = self._reads.get(user)
            if known is not None and known[1] is read:
                del self._reads[user]
