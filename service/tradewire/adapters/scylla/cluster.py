"""The connection to a cluster: how it is made, and the policies of its requests."""

import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import cassandra
import structlog
from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.connection import Connection
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    HostDistance,
    RetryPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.pool import Host, HostConnection
from cassandra.query import PreparedStatement, tuple_factory

from tradewire.adapters.scylla.options import Options
from tradewire.ports import StoreError

CONNECT_S = 10.0
SCHEMA_AGREEMENT_S = 30.0
HEARTBEAT_S = 5.0
RECONNECT_S = (0.25, 5.0)
SPECULATIVE_AFTER_S = 1.0
RETRIES = 1
PREPARED_AT_ONCE = 8
PROTOCOL = 4
"""A fifth cheaper for the client than version 5, and both engines speak it."""

_log = structlog.get_logger(__name__)


class Retries(RetryPolicy):  # type: ignore[misc]  # the driver has no types
    """Asks another node, once: every statement that is retried may be applied twice.

    An unavailable error came before anything was done; a timeout of a write leaves it unknown,
    and writing it again is harmless. A lightweight transaction is never retried: whether it was
    applied must be read.
    """

    def on_read_timeout(self, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        return self._again(retry_num)

    def on_write_timeout(self, query: Any, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        if not query.is_idempotent:
            return self.RETHROW, None
        return self._again(retry_num)

    def on_unavailable(self, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        return self._again(retry_num)

    def on_request_error(self, query: Any, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        if not query.is_idempotent:
            return self.RETHROW, None
        return self._again(retry_num)

    def _again(self, retry_num: int) -> tuple[int, None]:
        return (self.RETRY_NEXT_HOST if retry_num < RETRIES else self.RETHROW), None


class Connected:
    """A session on a cluster's keyspace, or on none."""

    def __init__(self, cluster: Cluster, session: Session, options: Options) -> None:
        self._cluster = cluster
        self._options = options
        self.session = session

    @property
    def dialect(self) -> str:
        """`scylla` or `cassandra`, as the server says itself: its options name it."""
        connection = self._cluster.control_connection._connection  # noqa: SLF001
        features = getattr(connection, "features", None)
        sharding = getattr(features, "sharding_info", None)
        return "scylla" if sharding is not None else "cassandra"

    @property
    def ring(self) -> object:
        """Another object whenever the ring has changed."""
        return self._cluster.metadata.token_map

    @property
    def only(self) -> tuple[Host, ...] | None:
        """The node that has everything, when there is one alone."""
        hosts = self._cluster.metadata.all_hosts()
        return tuple(hosts) if len(hosts) == 1 else None

    def replicas(self, key: bytes) -> tuple[Host, ...]:
        """The nodes that hold the partition of a routing key and may be asked for it."""
        found = self._cluster.metadata.get_replicas(self._options.keyspace, key)
        distance = self._cluster.profile_manager.distance
        near = [host for host in found if distance(host) != HostDistance.IGNORED]
        return tuple(sorted(near, key=lambda host: str(host.host_id)))

    @property
    def pools(self) -> Mapping[Host, HostConnection]:
        """The connections to each node that can be reached; it changes by itself."""
        pools: Mapping[Host, HostConnection] = self.session._pools  # noqa: SLF001
        return pools

    def timestamp(self) -> int:
        """Now, in microseconds, and later each time."""
        now: int = self._cluster.timestamp_generator()
        return now

    def prepare(self, texts: Mapping[str, str]) -> dict[str, PreparedStatement]:
        """Prepare statements by name; blocks.

        Raises:
            StoreError: the keyspace has not the schema that they need.
        """
        with ThreadPoolExecutor(PREPARED_AT_ONCE) as threads:
            found = threads.map(self._prepare, texts, texts.values())
            return dict(zip(texts, found, strict=True))

    def _prepare(self, name: str, text: str) -> PreparedStatement:
        try:
            statement = self.session.prepare(text)
        except cassandra.InvalidRequest as error:
            raise StoreError(
                f"The keyspace {self._options.keyspace} lacks what {name} needs ({error}):"
                " run `tradewire migrate up`."
            ) from error
        except DRIVER_ERRORS as error:
            raise StoreError(_why(error, self._options)) from error
        statement.is_idempotent = True
        return statement

    def close(self) -> None:
        """End the connection; blocks."""
        self._cluster.shutdown()


DRIVER_ERRORS = (NoHostAvailable, cassandra.DriverException, OSError)
"""All that the driver raises when a cluster cannot be used."""


def connect(
    options: Options, *, keyspace: bool = True, connection: type[Connection] = LibevConnection
) -> Connected:
    """Connect; blocks for some seconds at most.

    Args:
        connection: how its sockets are watched, by default in a thread of the driver's own. The
            thread that waits here must not be the one that watches them.

    Raises:
        StoreError: it cannot be reached, refuses the password, or has no such keyspace.
    """
    try:
        cluster = _cluster(options, connection)
    except DRIVER_ERRORS as error:
        raise StoreError(_why(error, options)) from error
    try:
        with _silence():
            session = cluster.connect(options.keyspace if keyspace else None)
    except DRIVER_ERRORS as error:
        cluster.shutdown()
        raise StoreError(_why(error, options)) from error
    return Connected(cluster, session, options)


@contextmanager
def _silence() -> Iterator[None]:
    """What goes wrong at the start is told once, by the error; the driver would log traces."""
    driver = logging.getLogger("cassandra")
    before = driver.level
    driver.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        driver.setLevel(before)


def _cluster(options: Options, connection: type[Connection]) -> Cluster:
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(
            DCAwareRoundRobinPolicy(options.datacenter)
            if options.datacenter
            else RoundRobinPolicy()
        ),
        retry_policy=Retries(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        row_factory=tuple_factory,
        request_timeout=CONNECT_S,
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(SPECULATIVE_AFTER_S, 1),
    )
    return Cluster(
        contact_points=[host for host, _ in options.hosts],
        port=options.hosts[0][1],
        auth_provider=PlainTextAuthProvider(options.username, options.password)
        if options.username
        else None,
        ssl_context=_tls(options),
        protocol_version=PROTOCOL,
        compression=False,
        connection_class=connection,
        # The driver leaves Nagle's algorithm on, which holds a batch up by 40 ms.
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=CONNECT_S,
        control_connection_timeout=CONNECT_S,
        max_schema_agreement_wait=SCHEMA_AGREEMENT_S,
        idle_heartbeat_interval=HEARTBEAT_S,
        idle_heartbeat_timeout=HEARTBEAT_S,
        reconnection_policy=ExponentialReconnectionPolicy(*RECONNECT_S),
    )


def _tls(options: Options) -> ssl.SSLContext | None:
    if not options.tls:
        return None
    context = ssl.create_default_context(cafile=options.ca_file or None)
    # Nodes are known by address; their certificates are checked against the authority.
    context.check_hostname = False
    return context


def _why(error: BaseException, options: Options) -> str:
    """What to tell an operator of a cluster that cannot be used."""
    where = ", ".join(f"{host}:{port}" for host, port in options.hosts)
    causes = [error]
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):
        causes += error.errors.values()
    for cause in causes:
        if isinstance(cause, cassandra.AuthenticationFailed):
            return f"The cluster at {where} refuses SCYLLA_USERNAME and SCYLLA_PASSWORD: {cause}"
        if isinstance(cause, cassandra.InvalidRequest) or "does not exist" in str(cause):
            return f"There is no keyspace {options.keyspace}: run `tradewire migrate up`."
    reason = "; ".join(str(cause) for cause in causes[1:]) or str(error)
    return f"No node of the cluster at {where} (SCYLLA_HOSTS) can be used: {reason}"
