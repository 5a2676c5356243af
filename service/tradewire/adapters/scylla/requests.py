"""Idempotent requests, each to a replica, on the connections that the driver keeps.

A request of the driver's own keeps what only the rare one needs: a plan over all nodes, retries,
paging, traces, locks for threads. That is two thirds of what a request costs its client. Here an
answer is waited for and nothing else: whatever is not simply an answer is left to the driver, with
its policies (docs/decisions/0008).
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from cassandra import OperationTimedOut
from cassandra.cluster import NoConnectionsAvailable
from cassandra.connection import Connection, ConnectionBusy, ConnectionException
from cassandra.pool import Host, HostConnection
from cassandra.protocol import RESULT_KIND_ROWS, RESULT_KIND_VOID, ResultMessage

from tradewire.adapters.scylla.batches import Batch, Placement, Protocol
from tradewire.adapters.scylla.cluster import SPECULATIVE_AFTER_S, Connected
from tradewire.adapters.scylla.connection import OnLoop
from tradewire.adapters.scylla.errors import translated
from tradewire.adapters.scylla.prepared import Execution

DEADLINE_S = 5.0
"""How long one request may take, its retries included."""

_PLAIN = (RESULT_KIND_ROWS, RESULT_KIND_VOID)

Row = tuple[Any, ...]


class Requests:
    """Sends requests over the pools of a session; used on one loop."""

    def __init__(self, connected: Connected, placement: Placement, on_loop: OnLoop) -> None:
        self._placement = placement
        self._turns = count()
        self.now = connected.timestamp
        self.pools = connected.pools
        self.on_loop = on_loop
        self.loop = on_loop.loop

    async def ask(self, request: Execution | Batch) -> list[Row] | None:
        """The rows that an idempotent request finds.

        A second replica is asked when the first is silent for SPECULATIVE_AFTER_S.

        Returns:
            None: there was no plain answer. Make the request again, in the driver's own way.

        Raises:
            Unavailable: no answer within DEADLINE_S.
        """
        key = request.key
        replicas = self._placement.of(key)
        turn = next(self._turns) % len(replicas) if len(replicas) > 1 else 0
        return await Asking(self, request, key, replicas[turn:] + replicas[:turn]).answer()


class Asking:
    """A request, perhaps on its way to two nodes."""

    __slots__ = ("_attempts", "_columns", "_hosts", "_key", "_message", "_requests", "_timer",
                 "_waiter")  # fmt: skip

    def __init__(
        self, requests: Requests, request: Execution | Batch, key: bytes, hosts: Iterable[Host]
    ) -> None:
        self._requests = requests
        self._message = request.message(requests.now())
        self._columns = request.columns
        self._key = key
        self._hosts = iter(hosts)
        self._attempts: list[Attempt] = []
        self._waiter: asyncio.Future[list[Row] | None] = requests.loop.create_future()

    async def answer(self) -> list[Row] | None:
        """See Requests.ask."""
        if not self._send():
            return None
        self._timer = self._requests.loop.call_later(SPECULATIVE_AFTER_S, self._silent)
        try:
            return await self._waiter
        finally:
            self._timer.cancel()
            self._attempts.clear()

    def _send(self) -> bool:
        """Send it to the next node that can be reached; whether there was one."""
        for host in self._hosts:
            pool = self._requests.pools.get(host)
            if pool is not None and not pool.is_shutdown and self._send_over(pool):
                return True
        return False

    def _send_over(self, pool: HostConnection) -> bool:
        try:
            connection, stream = pool.borrow_connection(timeout=0, routing_key=self._key)
        except (NoConnectionsAvailable, ConnectionException):
            return False
        attempt = Attempt(self._requests.on_loop, self.answered, pool, connection, stream)
        try:
            connection.send_msg(
                self._message,
                stream,
                attempt,
                encoder=Protocol.encode_message,
                decoder=Protocol.decode_message,
                result_metadata=self._columns,
            )
        except (ConnectionException, ConnectionBusy):
            pool.return_connection(connection)
            return False
        self._attempts.append(attempt)
        return True

    def answered(self, response: object) -> None:
        """A node answered, or its connection failed."""
        if self._waiter.done():
            return
        plain = isinstance(response, ResultMessage) and response.kind in _PLAIN
        if plain and response.paging_state is None:  # type: ignore[attr-defined]
            self._waiter.set_result(response.parsed_rows or [])  # type: ignore[attr-defined]
        else:
            self._waiter.set_result(None)

    def _silent(self) -> None:
        self._send()
        self._timer = self._requests.loop.call_later(DEADLINE_S - SPECULATIVE_AFTER_S, self._expire)

    def _expire(self) -> None:
        for attempt in self._attempts:
            attempt.give_up()
        if not self._waiter.done():
            self._waiter.set_exception(translated(OperationTimedOut()))


class Attempt:
    """A request on its way over one connection: what the driver calls, from any thread."""

    __slots__ = ("_answered", "_connection", "_on_loop", "_pool", "_stream", "_under_way")

    def __init__(
        self,
        on_loop: OnLoop,
        answered: Callable[[object], None],
        pool: HostConnection,
        connection: Connection,
        stream: int,
    ) -> None:
        self._on_loop = on_loop
        self._answered = answered
        self._pool = pool
        self._connection = connection
        self._stream = stream
        self._under_way = True

    def __call__(self, response: object) -> None:
        if self._under_way:
            self._under_way = False
            if not self._pool.is_shutdown:
                self._pool.return_connection(self._connection)
            self._on_loop(self._answered, response)

    def give_up(self) -> None:
        """Nobody waits any more: an answer that comes yet must not be taken for another's."""
        connection = self._connection
        if self._under_way and connection._requests.pop(self._stream, None):  # noqa: SLF001
            self._under_way = False
            with connection.lock:
                connection.orphaned_request_ids.add(self._stream)
                if len(connection.orphaned_request_ids) >= connection.orphaned_threshold:
                    connection.orphaned_threshold_reached = True
            self._pool.return_connection(connection, stream_was_orphaned=True)
