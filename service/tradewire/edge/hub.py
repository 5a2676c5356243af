"""The connections of this node, by user, and the way of an event to them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from math import inf
from uuid import uuid4

from tradewire.domain.caller import Caller
from tradewire.domain.errors import Close
from tradewire.domain.events import Event
from tradewire.domain.types import Presence
from tradewire.edge.outbound import Outbound
from tradewire.protocol.frames import Encoded
from tradewire.protocol.session import Session
from tradewire.telemetry.metrics import Metrics

RETRY_S = 0.02
"""How soon a queue whose transport had no room is tried again."""

Key = tuple[str, str]


class Connection:
    """What the hub knows of one connection.

    Attributes:
        user: (tenant, user_id).
        caller: as the present token tells it.
        watched: whose presence it hears of.
        keys_fresh: whether rising keys of this session are known to be new.
        resume: tells it soon, once more, all that its user was to be told since an id.
    """

    __slots__ = (
        "_close", "_hub", "_session", "device_id", "keys_fresh", "outbound", "resume", "session_id",
        "user",
        "watched",
    )  # fmt: skip

    def __init__(
        self,
        hub: "LocalHub",
        session: Session,
        device_id: str,
        outbound: Outbound,
        close: Callable[[Close], None],
        resume: Callable[[int], None],
    ) -> None:
        self._hub = hub
        self._session = session
        self.session_id = session.session_id
        self.user = (session.caller.tenant, session.caller.user_id)
        self.device_id = device_id
        self.outbound = outbound
        self.watched: tuple[Key, ...] = ()
        self.keys_fresh = True
        self._close = close
        self.resume = resume

    @property
    def caller(self) -> Caller:
        return self._session.caller

    def watch(self, user_ids: Sequence[str]) -> None:
        """Events about just these users follow on this connection."""
        self._hub.watch(self, tuple((self.user[0], user_id) for user_id in user_ids))

    def close(self, code: Close) -> None:
        """Close it as soon as what waits is written."""
        self._close(code)


class LocalHub:
    """Implements ports.Hub for the connections of this process.

    Queues that were put to are flushed together, once, when the loop has run what is ready: all
    that one commit group brings a connection goes out in one write.

    Attributes:
        cursor: the greatest id that was published; all up to it is in the connections' queues.
    """

    def __init__(self, metrics: Metrics, *, per_device: int) -> None:
        self._metrics = metrics
        self._per_device = per_device
        self._by_user: dict[Key, list[Connection]] = {}
        self._by_session: dict[str, Connection] = {}
        self._watchers: dict[Key, set[Connection]] = {}
        self._touched: dict[Connection, None] = {}
        self._stalled: dict[Connection, None] = {}
        self._flushing = False
        self._retrying = False
        self.cursor = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def __iter__(self) -> Iterator[Connection]:
        for connections in list(self._by_user.values()):
            yield from list(connections)

    def of_user(self, user: Key) -> Sequence[Connection]:
        """The connections of one user, oldest first."""
        return self._by_user.get(user, ())

    def join(self, connection: Connection) -> None:
        """Take a connection in; an older one of the same device gives way beyond the limit."""
        connections = self._by_user.setdefault(connection.user, [])
        same = [other for other in connections if other.device_id == connection.device_id]
        connections.append(connection)
        self._by_session[connection.session_id] = connection
        for old in same[: max(len(same) + 1 - self._per_device, 0)]:
            self.leave(old)
            old.close(Close.REPLACED)

    def leave(self, connection: Connection) -> None:
        """Forget a connection; harmless when it is not here."""
        self.watch(connection, ())
        self._metrics.events_dropped.add(connection.outbound.dropped)
        connection.outbound.dropped = 0
        self._touched.pop(connection, None)
        self._stalled.pop(connection, None)
        self._by_session.pop(connection.session_id, None)
        connections = self._by_user.get(connection.user)
        if connections is None or connection not in connections:
            return
        connections.remove(connection)
        if not connections:
            del self._by_user[connection.user]

    def publish(
        self,
        tenant: str,
        user_ids: Iterable[str],
        event: Event,
        *,
        event_id: int = 0,
        skip: str | None = None,
    ) -> None:
        """See ports.Hub."""
        self.cursor = max(self.cursor, event_id)
        encoded = Encoded(event)
        delivered = 0
        for user_id in user_ids:
            for connection in self._by_user.get((tenant, user_id), ()):
                if connection.session_id != skip:
                    connection.outbound.put(encoded)
                    self._touched[connection] = None
                    delivered += 1
        if delivered:
            self._flush_soon()
            self._metrics.events_delivered.add(delivered)

    def tell_watchers(
        self, tenant: str, user_id: str, event: Event, hidden: frozenset[str]
    ) -> None:
        """See ports.Hub."""
        encoded = Encoded(event)
        for connection in self._watchers.get((tenant, user_id), ()):
            if connection.user[1] not in hidden:
                connection.outbound.put(encoded)
                self.touch(connection)

    def resume(self, users: Collection[Key], since: int) -> None:
        """Have every device of these users told once more, soon, what it was to be told since an
        id.
        """
        for user in users:
            for connection in self.of_user(user):
                connection.resume(since)

    def doubt_keys(self, session_id: str) -> Awaitable[None] | None:
        """See ports.Hub."""
        connection = self._by_session.get(session_id)
        if connection is not None:
            connection.keys_fresh = False
        return None

    def connected(self, tenant: str, user_id: str) -> bool:
        """See ports.Hub."""
        return (tenant, user_id) in self._by_user

    def expect(self, tenant: str, user_ids: Iterable[str]) -> None:
        """See ports.Hub: there is no other node."""

    async def elsewhere(self, tenant: str, user_ids: Sequence[str]) -> frozenset[str]:
        """See ports.Hub: there is no other node."""
        del tenant, user_ids
        return frozenset()

    def changed(self, cache: str, tenant: str, key: str) -> None:
        """See ports.Hub: there is no other node."""

    def appears(self, tenant: str, user_id: str, status: Presence | None) -> None:
        """See ports.Hub: there is no other node."""

    def new_session_id(self) -> str:
        """A name for a connection that no other has."""
        return uuid4().hex

    async def stop(self) -> None:
        """Nothing is told any more."""

    async def placed(self, user: Key) -> None:
        """Wait until no other node is wrong about whether this user has connections here.

        Raises:
            Unavailable: the others cannot be told.
        """

    def disconnect(
        self, tenant: str, user_id: str, code: Close, *, issued_before: float = inf
    ) -> int:
        """See ports.Hub."""
        return self._turn_away(
            [
                connection
                for connection in self.of_user((tenant, user_id))
                if connection.caller.issued_at < issued_before
            ],
            code,
        )

    def disconnect_token(self, tenant: str, token_id: str) -> int:
        """See ports.Hub."""
        return self._turn_away(
            [
                connection
                for connection in self
                if connection.caller.token_id == token_id and connection.user[0] == tenant
            ],
            Close.UNAUTHENTICATED,
        )

    def _turn_away(self, connections: Sequence[Connection], code: Close) -> int:
        for connection in connections:
            self.leave(connection)
            connection.close(code)
        return len(connections)

    def watch(self, connection: Connection, users: tuple[Key, ...]) -> None:
        """Let a connection hear of just these users."""
        for user in connection.watched:
            watchers = self._watchers.get(user)
            if watchers is not None:
                watchers.discard(connection)
                if not watchers:
                    del self._watchers[user]
        connection.watched = users
        for user in users:
            self._watchers.setdefault(user, set()).add(connection)

    def touch(self, connection: Connection) -> None:
        """Something was put into this connection's queue: flush it soon."""
        self._touched[connection] = None
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        touched, self._touched = self._touched, {}
        now = asyncio.get_running_loop().time()
        for connection in touched:
            written = connection.outbound.flush(now)
            if connection.outbound.overrun:
                self._overrun(connection)
            elif not written:
                self._retry_later(connection)

    def _retry_later(self, connection: Connection) -> None:
        """Those without room have a timer of their own: the others do not wait for them."""
        self._stalled[connection] = None
        if not self._retrying:
            self._retrying = True
            asyncio.get_running_loop().call_later(RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        stalled, self._stalled = self._stalled, {}
        for connection in stalled:
            self.touch(connection)

    def _overrun(self, connection: Connection) -> None:
        self._metrics.slow_consumers_closed.add()
        self.leave(connection)
        connection.close(Close.TOO_SLOW)
