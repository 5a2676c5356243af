"""Requests to the cluster: statements by name, deadlines, answers on the event loop.

So many requests at most are under way: beyond that the driver would block the loop.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from cassandra import ConsistencyLevel
from cassandra.cluster import ResponseFuture
from cassandra.query import BoundStatement

from tradewire.adapters.scylla import schema
from tradewire.adapters.scylla.batches import Batch, Mutation, Placement, Protocol, batches
from tradewire.adapters.scylla.cluster import Connected, connect
from tradewire.adapters.scylla.connection import OnLoop, connection_on
from tradewire.adapters.scylla.errors import translated
from tradewire.adapters.scylla.options import Options
from tradewire.adapters.scylla.prepared import PAGE_ROWS, Execution, Prepared
from tradewire.adapters.scylla.requests import DEADLINE_S, Requests, Row
from tradewire.adapters.scylla.statements import statements
from tradewire.domain.errors import Overloaded

REQUESTS_IN_FLIGHT = 1_024
BATCHES_IN_FLIGHT = 12
"""A server that is given more than it can write at once lets them time out."""

REQUESTS_WAITING = 50_000
T = TypeVar("T")
Key = TypeVar("Key", bound=tuple[Any, ...])


class Engine:
    """One cluster.

    Attributes:
        on_statement: hears the name of every statement that is run; for tests that count them.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._connected: Connected | None = None
        self._prepared: dict[str, Prepared] = {}
        self._free = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        self._batches = asyncio.Semaphore(BATCHES_IN_FLIGHT)
        self._waiting = 0
        self._written = 0
        self._shared: dict[tuple[Any, ...], asyncio.Task[Any]] = {}
        self.on_statement: Callable[[str], None] | None = None

    @property
    def connected(self) -> Connected:
        """The connection; there once it is open."""
        assert self._connected is not None
        return self._connected

    async def open(self) -> None:
        """Connect, see that the schema is there, and prepare every statement.

        Raises:
            StoreError: it cannot be used; the message says why.
        """
        self._on_loop = OnLoop()
        connection = connection_on(self._on_loop)
        options = self._options
        connected = self._connected = await asyncio.to_thread(
            connect, options, keyspace=False, connection=connection
        )
        await asyncio.to_thread(schema.require_current, connected, options)
        texts = statements(options.keyspace)
        prepared = await asyncio.to_thread(connected.prepare, texts)
        connected.session.client_protocol_handler = Protocol
        connected.session.default_fetch_size = PAGE_ROWS
        self._prepared = {name: Prepared(name, each) for name, each in prepared.items()}
        self._placement = Placement(connected, options.keyspace)
        self._requests = Requests(connected, self._placement, self._on_loop)

    async def close(self) -> None:
        """End the connection."""
        if self._connected is not None:
            await asyncio.to_thread(self._connected.close)
            self._connected = None

    async def rows(self, name: str, *values: Any) -> list[Row]:
        """All rows that a statement finds.

        Raises:
            Unavailable, Overloaded: the cluster did not answer.
        """
        return await self._request(name, Execution(self._prepared[name], values))

    async def row(self, name: str, *values: Any) -> Row | None:
        """The one row that a statement finds. Raises as `rows` does."""
        found = await self.rows(name, *values)
        return found[0] if found else None

    async def rows_at(self, place: bytes, name: str, *values: Any) -> list[Row]:
        """All rows that a statement finds in partitions that are `together`. Raises as `rows`."""
        return await self._request(name, Execution(self._prepared[name], values, place))

    def together(self, name: str, keys: Iterable[Key]) -> list[tuple[bytes, list[Key]]]:
        """Partitions in groups that are on the same replicas, with where that is.

        Args:
            name: a statement whose values begin with such keys.
        """
        prepared, placement = self._prepared[name], self._placement
        groups: dict[Hashable, tuple[bytes, list[Key]]] = {}
        for key in keys:
            place = prepared.routing_key(key)
            groups.setdefault(placement.of(place), (place, []))[1].append(key)
        return list(groups.values())

    async def settled_row(self, name: str, *values: Any) -> Row | None:
        """The one row, after any lightweight transaction on it under way has been settled."""
        bound = self._prepared[name].bound(values)
        bound.consistency_level = ConsistencyLevel.LOCAL_SERIAL
        found = await self._request(name, bound)
        return found[0] if found else None

    async def decide(self, name: str, *values: Any) -> bool:
        """Run a lightweight transaction; whether it was applied.

        Raises:
            Unavailable: its outcome is unknown; read it back with `settled_row`.
        """
        bound = self._prepared[name].bound(values)
        bound.is_idempotent = False
        return bool((await self._request(name, bound))[0][0])

    async def write(self, mutations: Sequence[Mutation]) -> None:
        """Apply writes, each idempotent: in batches by the replicas that they are for.

        Raises:
            Unavailable, Overloaded: some may not have been applied; apply all again.
        """
        if len(mutations) == 1:
            name, values = mutations[0]
            await self.rows(name, *values)
        else:
            rows = [self._prepared[name].row(values) for name, values in mutations]
            await all_of([self._write_batch(each) for each in batches(rows, self._placement)])
        self._written += 1

    async def _write_batch(self, batch: Batch) -> None:
        async with self._batches:
            await self._request("BATCH", batch)

    async def once(self, what: tuple[Any, ...], read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a read, shared with everybody who asks for the same `what` meanwhile, but
        with nobody who knows of a write that it may not have seen.
        """
        what = (*what, self._written)
        task = self._shared.get(what)
        if task is None:
            task = self._shared[what] = asyncio.create_task(read(), name=f"read {what[0]}")
            task.add_done_callback(lambda done: self._unshare(what, done))
        return await asyncio.shield(task)

    def _unshare(self, what: tuple[Any, ...], done: "asyncio.Task[Any]") -> None:
        del self._shared[what]
        if not done.cancelled():
            done.exception()

    async def _request(self, name: str, request: Execution | Batch | BoundStatement) -> list[Row]:
        if self.on_statement is not None:
            self.on_statement(name)
        if self._waiting >= REQUESTS_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            async with self._free:
                if isinstance(request, BoundStatement):
                    return await self._by_driver(request, DEADLINE_S)
                return await self._ask(request)
        finally:
            self._waiting -= 1

    async def _ask(self, request: Execution | Batch) -> list[Row]:
        begun = time.monotonic()
        found = await self._requests.ask(request)
        if found is not None:
            return found
        return await self._by_driver(request.statement(), DEADLINE_S + begun - time.monotonic())

    async def _by_driver(self, statement: Any, timeout_s: float) -> list[Row]:
        waiter: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        try:
            request = self.connected.session.execute_async(statement, timeout=timeout_s)
        except Exception as error:  # whatever the driver raises is translated
            raise translated(error) from error
        Answer(request, waiter, self._on_loop).listen()
        return await waiter


class Answer:
    """Collects the pages of one answer; failures come from threads of the driver as well.

    Once it is there the request lets go of it: a cycle of 30 objects a request would otherwise keep
    the garbage collector busy, for 25 ms at a time.
    """

    __slots__ = ("_on_loop", "_request", "_rows", "_waiter")

    def __init__(
        self,
        request: ResponseFuture,
        waiter: "asyncio.Future[list[Row]]",
        on_loop: OnLoop,
    ) -> None:
        self._request = request
        self._waiter = waiter
        self._on_loop = on_loop
        self._rows: list[Row] = []

    def listen(self) -> None:
        """Have the driver call."""
        self._request.add_callbacks(self._page, self._failed)

    def _page(self, rows: list[Row] | None) -> None:
        if self._request.has_more_pages:
            self._rows += rows or ()
            self._request.start_fetching_next_page()
            return
        found = [*self._rows, *(rows or ())] if self._rows else list(rows or ())
        self._request.clear_callbacks()
        self._on_loop(self._settle, found)

    def _failed(self, error: Exception) -> None:
        self._request.clear_callbacks()
        self._on_loop(self._refuse, error)

    def _settle(self, rows: list[Row]) -> None:
        if not self._waiter.done():
            self._waiter.set_result(rows)

    def _refuse(self, error: Exception) -> None:
        if not self._waiter.done():
            failed = translated(error)
            failed.__cause__ = error
            self._waiter.set_exception(failed)


async def all_of(awaited: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, run side by side. Raises what one of them raised, when all have ended."""
    if len(awaited) == 1:
        # It needs no task.
        return [await awaited[0]]
    results = await asyncio.gather(*awaited, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]  # what is left are results
