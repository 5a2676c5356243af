"""Real engines come up, answer, and come back."""

import socket
import struct
import sys
from collections.abc import Callable
from typing import Self, TypeVar

import pytest

from tradewire.testing.engines import Cassandra, EngineError, Kafka, cassandra, kafka
from tradewire.testing.engines.handles import silent
from tradewire.testing.engines.waiting import wait_for

T = TypeVar("T")

OPTIONS, SUPPORTED = 5, 6
STARTUP, READY = 1, 2
QUERY, RESULT = 7, 8
ONE, QUORUM = 1, 4
ROWS = b"\0\0\0\2"

KEYSPACE = (
    "CREATE KEYSPACE engines WITH replication ="
    " {{'class': 'NetworkTopologyStrategy', '{datacenter}': {copies}}}"
)
TABLE = "CREATE TABLE engines.kept (name text PRIMARY KEY, value text)"
WRITE = "INSERT INTO engines.kept (name, value) VALUES ('a', 'written after the kill')"
READ = "SELECT value FROM engines.kept WHERE name = 'a'"


class Talk:
    """CQL by hand, a frame at a time."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), 10)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def ask(self, opcode: int, body: bytes = b"") -> tuple[int, bytes]:
        self._socket.sendall(struct.pack("!BBhBi", 4, 0, 0, opcode, len(body)) + body)
        version, _, _, answered, length = struct.unpack("!BBhBi", self._stream.read(9))
        assert version == 0x84
        return answered, self._stream.read(length)


class Refused(OSError):
    """The server answered by an error."""


def query(address: str, *statements: str, consistency: int = ONE) -> bytes:
    """The result of the last of them.

    Raises:
        Refused: the server did not do one of them, such as for want of time or of replicas.
    """
    with Talk(address) as talk:
        started, _ = talk.ask(STARTUP, b"\0\1\0\x0bCQL_VERSION\0\x053.0.0")
        assert started == READY
        for statement in statements:
            text = statement.encode()
            body = struct.pack("!i", len(text)) + text + struct.pack("!HB", consistency, 0)
            answered, result = talk.ask(QUERY, body)
            if answered != RESULT:
                raise Refused(result)
    return result


def agreed(hosts: tuple[str, ...]) -> bool:
    """Whether all know the same tables."""
    return len({query(host, "SELECT schema_version FROM system.local") for host in hosts}) == 1


def soon(ask: Callable[[], T]) -> T:
    """What is answered when it works at last: servers notice within seconds what became of one."""
    return wait_for(ask, doing="asking", deadline_s=60.0, tell=silent)


def test_cassandra_answers(cassandra_engine: Cassandra) -> None:
    [host] = cassandra_engine.hosts[:1]
    with Talk(host) as talk:
        answered, options = talk.ask(OPTIONS)
    assert answered == SUPPORTED
    assert b"CQL_VERSION" in options
    assert query(host, "SELECT data_center FROM system.local").endswith(
        cassandra_engine.datacenter.encode()
    )


def test_one_that_runs_is_taken_from_the_environment(cassandra_engine: Cassandra) -> None:
    environ = {"TRADEWIRE_SCYLLA": ",".join(cassandra_engine.hosts)}
    with cassandra(environ=environ) as same:
        assert same.kind == "environment"
        assert (same.hosts, same.datacenter) == (cassandra_engine.hosts, "datacenter1")
        assert same.name.startswith(("Apache Cassandra ", "ScyllaDB"))
        assert same.logs() == ""
        with pytest.raises(EngineError, match="cannot kill node 0"):
            same.kill(0)


@pytest.mark.timeout(300)
def test_a_lone_cassandra_comes_back_with_its_tables() -> None:
    told: list[str] = []
    with cassandra(quick=True, kinds=("process",), tell=told.append) as engine:
        [host] = engine.hosts
        keyspace = KEYSPACE.format(datacenter=engine.datacenter, copies=1)
        query(host, keyspace, TABLE)
        engine.kill(0)
        with pytest.raises(ConnectionRefusedError):
            Talk(host)
        with pytest.raises(EngineError, match="does not run"):
            engine.pause(0)
        engine.start(0)
        # What it had not synced yet may be gone: a lone node is as safe as its commit log.
        result = query(host, WRITE, READ)
        assert result.startswith(ROWS)
        assert b"written after the kill" in result
        assert "Starting listening for CQL clients" in engine.logs()
        with pytest.raises(EngineError, match="no node 1"):
            engine.kill(1)
    with pytest.raises(ConnectionRefusedError):
        Talk(host)
    assert any(line.endswith(": starting") for line in told)
    assert f"{engine.name}: ready at {host}" in told


@pytest.mark.fault
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no 127.0.0.2")
def test_three_cassandras_serve_without_one_of_them() -> None:
    with cassandra(3, quick=True, kinds=("process",)) as engine:
        first, second, third = engine.hosts
        keyspace = KEYSPACE.format(datacenter=engine.datacenter, copies=3)
        query(first, keyspace, TABLE)
        soon(lambda: agreed(engine.hosts))
        engine.kill(1)
        soon(lambda: query(first, WRITE, consistency=QUORUM))
        assert b"written after" in soon(lambda: query(third, READ, consistency=QUORUM))
        engine.start(1)
        engine.pause(2)
        assert b"written after" in soon(lambda: query(second, READ, consistency=QUORUM))
        engine.resume(2)


def api_versions(brokers: str) -> tuple[int, int]:
    """The correlation id and the error of the answer to a request for them."""
    host, _, port = brokers.split(",", maxsplit=1)[0].partition(":")
    with socket.create_connection((host, int(port)), 10) as raw, raw.makefile("rb") as stream:
        raw.sendall(struct.pack("!ihhih", 10, 18, 0, 4242, -1))
        _, correlation, error = struct.unpack("!iih", stream.read(10))
    return correlation, error


def test_kafka_answers(kafka_engine: Kafka) -> None:
    assert api_versions(kafka_engine.brokers) == (4242, 0)


def test_kafka_that_runs_is_taken_from_the_environment(kafka_engine: Kafka) -> None:
    with kafka(environ={"TRADEWIRE_KAFKA": kafka_engine.brokers}) as same:
        assert (same.kind, same.brokers) == ("environment", kafka_engine.brokers)


@pytest.mark.timeout(300)
def test_kafka_comes_back() -> None:
    with kafka(quick=True, kinds=("process",)) as engine:
        engine.kill()
        with pytest.raises(ConnectionRefusedError):
            api_versions(engine.brokers)
        engine.start()
        assert api_versions(engine.brokers) == (4242, 0)
        assert "Kafka Server started" in engine.logs()
    with pytest.raises(ConnectionRefusedError):
        api_versions(engine.brokers)
