"""Engines in containers: ScyllaDB and Kafka by testcontainers, which is imported when needed."""

import importlib.util
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from tradewire.testing.engines import cql, kafka_wire, versions
from tradewire.testing.engines.addresses import free_ports
from tradewire.testing.engines.errors import EngineError
from tradewire.testing.engines.handles import Cassandra, Kafka, Tell
from tradewire.testing.engines.waiting import wait_for

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

T = TypeVar("T")

PROBE_TIMEOUT_S = 2.0
START_DEADLINE_S = 180.0
TAIL_LINES = 60
CQL_PORT = 9042
KAFKA_PORT = 9092
DEFAULT_ENGINE = "unix:///var/run/docker.sock"

_SCYLLA_OPTIONS = (
    *("--smp", "1", "--memory", "1G", "--overprovisioned", "1", "--developer-mode", "1"),
    *("--skip-wait-for-gossip-to-settle", "0"),
    # A lone node that is killed must still have what it acknowledged.
    *("--commitlog-sync", "batch", "--commitlog-sync-batch-window-in-ms", "2"),
)
_WITH_PASSWORDS = (
    *("--authenticator", "PasswordAuthenticator", "--authorizer", "CassandraAuthorizer"),
)


def missing() -> str | None:
    """What stands in the way of containers, in words. Takes at most two seconds."""
    if importlib.util.find_spec("testcontainers") is None:
        return "testcontainers is not installed"
    address = _engine_address()
    try:
        _knock(address)
    except OSError as error:
        return f"no container engine answers at {address} ({error})"
    return None


def _engine_address() -> str:
    from testcontainers.core.docker_client import get_docker_host  # noqa: PLC0415 (slow, optional)

    return get_docker_host() or DEFAULT_ENGINE


def _knock(address: str) -> None:
    """Connect, and hang up. What is reached by other means is taken to be there.

    Raises:
        OSError: nobody listens.
    """
    url = urlsplit(address)
    if url.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PROBE_TIMEOUT_S)
            probe.connect(url.path)
    elif url.scheme in {"tcp", "http", "https"} and url.hostname:
        socket.create_connection((url.hostname, url.port or 2375), PROBE_TIMEOUT_S).close()


@contextmanager
def _running(container: "DockerContainer", image: str, tell: Tell) -> Iterator[None]:
    from docker.errors import (  # type: ignore[import-untyped] # noqa: PLC0415 (optional)
        DockerException,
    )

    tell(f"{image}: starting, and fetching it first if it is not here")
    try:
        try:
            container.start()
        except (DockerException, OSError) as error:
            raise EngineError(f"{image} did not start: {error}") from error
        yield
    finally:
        container.stop()


def _ready(container: "DockerContainer", image: str, tell: Tell, ask: Callable[[], T]) -> T:
    """What is answered to `ask` once it is true; an OSError means not yet."""

    def looked_at() -> T:
        container.reload()
        if container.status == "exited":
            raise EngineError(f"{image} has ended:\n{_tail(container)}")
        return ask()

    return wait_for(
        looked_at,
        doing=f"{image}: starting",
        deadline_s=START_DEADLINE_S,
        tell=tell,
        why=lambda: _tail(container),
    )


def _tail(container: "DockerContainer") -> str:
    return "\n".join(_logs(container).splitlines()[-TAIL_LINES:])


def _logs(container: "DockerContainer") -> str:
    return "".join(part.decode(errors="replace") for part in container.get_logs())


@dataclass(frozen=True)
class _ScyllaContainer(Cassandra):
    container: "DockerContainer" = field(repr=False)

    def logs(self) -> str:
        return _logs(self.container)


@dataclass(frozen=True)
class _KafkaContainer(Kafka):
    container: "DockerContainer" = field(repr=False)

    def logs(self) -> str:
        return _logs(self.container)


@contextmanager
def scylla_container(*, authenticated: bool, tell: Tell) -> Iterator[Cassandra]:
    """A ScyllaDB of one node that runs while the block does.

    Raises:
        EngineError: it did not come up.
    """
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 (slow, optional)

    options = _SCYLLA_OPTIONS + (_WITH_PASSWORDS if authenticated else ())
    container = DockerContainer(versions.SCYLLA_IMAGE, ports=[CQL_PORT])
    with _running(container.with_command(list(options)), versions.SCYLLA_IMAGE, tell):
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(CQL_PORT)}"
        server = _ready(container, versions.SCYLLA_IMAGE, tell, lambda: cql.identify(address))
        yield _ScyllaContainer(
            kind="container",
            name=f"{server.name} ({versions.SCYLLA_IMAGE})",
            hosts=(address,),
            datacenter=server.datacenter,
            container=container,
        )


@contextmanager
def kafka_container(*, tell: Tell) -> Iterator[Kafka]:
    """A Kafka of one broker that runs while the block does.

    Raises:
        EngineError: it did not come up.
    """
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 (slow, optional)

    container = DockerContainer(versions.KAFKA_IMAGE)
    # A broker tells its clients where to find it, so its port must be known before it starts.
    [port] = free_ports(("127.0.0.1",), 1)
    address = f"{container.get_docker_client().host()}:{port}"
    container.with_bind_ports(KAFKA_PORT, port)
    for name, value in _kafka_settings(address).items():
        container.with_env(name, value)
    with _running(container, versions.KAFKA_IMAGE, tell):
        _ready(container, versions.KAFKA_IMAGE, tell, lambda: kafka_wire.answers(address))
        yield _KafkaContainer(
            kind="container",
            name=f"Apache Kafka {versions.KAFKA} ({versions.KAFKA_IMAGE})",
            brokers=address,
            container=container,
        )


def _kafka_settings(address: str) -> dict[str, str]:
    """The environment of the image; once one is set, it takes none of its defaults."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"CLIENT://:{KAFKA_PORT},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"CLIENT://{address}",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "CLIENT",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
