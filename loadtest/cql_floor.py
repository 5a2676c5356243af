"""The floor on ScyllaDB and Cassandra: message rows written with the plain driver, nothing else.

A process of its own: reads a `WritePlan`, prints `Writes`. The driver is set up as well as a node
sets it up, and the next request is made where the answer to the last one arrives, in the thread of
the driver, which costs least. The rows are those of ``messages`` alone: a node writes more for each
message.
"""

import gc
import itertools
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import psutil
from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import FallthroughRetryPolicy, RoundRobinPolicy
from cassandra.query import BatchStatement, BatchType, BoundStatement

from loadtest.cpu import engine_cpu_s, engine_process, own_cpu_s, used
from loadtest.plan import WritePlan, Writes

REQUEST_SECONDS = 10.0
CONNECT_SECONDS = 10.0
DDL_SECONDS = 60.0
PROTOCOL = 4
CONVERSATIONS = 100
"""As many as the generator's 200 connections have; the rows take turns among them."""
BODY = b"Is the lamp still available? I could pick it up on Saturday." + bytes(90)
"""A packed message has about 150 bytes."""
TENANT, BUCKET, SENDER = "floor", 0, "a12"
INSERT = (
    "INSERT INTO {keyspace}.messages"
    " (tenant, conversation_id, bucket, message_id, sender_id, body)"
    " VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)

Row = tuple[str, str, int, int, str, bytes, int]


@contextmanager
def session(host: str, port: int) -> Iterator[Session]:
    """A connection to the engine; raises what the driver raises."""
    profile = ExecutionProfile(
        load_balancing_policy=RoundRobinPolicy(),
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=REQUEST_SECONDS,
    )
    cluster = Cluster(
        contact_points=[host],
        port=port,
        protocol_version=PROTOCOL,
        compression=False,
        connection_class=LibevConnection,
        # The driver leaves Nagle's algorithm on, which holds a batch up by 40 ms.
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=CONNECT_SECONDS,
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def drop_keyspace(host: str, port: int, keyspace: str) -> None:
    """Remove a keyspace with all that is in it; raises what the driver raises."""
    with session(host, port) as connected:
        connected.execute(f"DROP KEYSPACE IF EXISTS {keyspace}", timeout=DDL_SECONDS)


class Requests:
    """Makes requests of so many rows, each row a new one."""

    def __init__(self, connected: Session, keyspace: str, rows: int) -> None:
        self._insert = connected.prepare(INSERT.format(keyspace=keyspace))
        self._conversations = [str(uuid.uuid4()) for _ in range(CONVERSATIONS)]
        self._numbers = itertools.count(time.time_ns() // 1_000_000 << 20)
        self._rows = rows

    def make(self) -> BoundStatement | BatchStatement:
        """The next one; for any thread."""
        if self._rows == 1:
            return self._insert.bind(self._row())
        batch = BatchStatement(BatchType.UNLOGGED)
        for _ in range(self._rows):
            batch.add(self._insert, self._row())
        return batch

    def _row(self) -> Row:
        number = next(self._numbers)
        conversation = self._conversations[number % CONVERSATIONS]
        return (TENANT, conversation, BUCKET, number, SENDER, BODY, number >> 10)


class Flight:
    """Keeps requests under way: each answer makes the next one."""

    def __init__(self, connected: Session, requests: Requests, in_flight: int) -> None:
        self._session = connected
        self._requests = requests
        self._in_flight = in_flight
        self._going = False
        self._landed = threading.Semaphore(0)
        self.answered = 0
        self.faults: Counter[str] = Counter()

    def start(self) -> None:
        """Send the first ones."""
        self._going = True
        for _ in range(self._in_flight):
            self._send()

    def land(self) -> None:
        """Send no more, and wait until the driver has heard an answer to all, or given up."""
        self._going = False
        deadline = time.perf_counter() + 2 * REQUEST_SECONDS
        for _ in range(self._in_flight):
            if not self._landed.acquire(timeout=max(0.0, deadline - time.perf_counter())):
                self.faults["never answered"] += 1

    def _send(self) -> None:
        request = self._session.execute_async(self._requests.make())
        request.add_callbacks(self._answered, self._failed)

    def _answered(self, _rows: object) -> None:
        self.answered += 1
        if self._going:
            self._send()
        else:
            self._landed.release()

    def _failed(self, error: Exception) -> None:
        """One that failed is followed by none, so that a lost engine is not asked for ever."""
        self.faults[type(error).__name__] += 1
        self._landed.release()


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of both processes at one moment."""

    time: float
    answered: int
    client_cpu_s: float
    engine_cpu_s: float | None

    @classmethod
    def take(cls, flight: Flight, engine: psutil.Process | None) -> "Reading":
        """Read the clocks now."""
        return cls(time.perf_counter(), flight.answered, own_cpu_s(), engine_cpu_s(engine))


def write(plan: WritePlan) -> Writes:
    """Keep writing, and measure it once it is warm; raises what the driver raises."""
    engine = engine_process(plan.engine_pid)
    with session(plan.host, plan.port) as connected:
        requests = Requests(connected, plan.keyspace, plan.rows)
        flight = Flight(connected, requests, plan.in_flight)
        gc.freeze()
        flight.start()
        time.sleep(plan.warm_up)
        before = Reading.take(flight, engine)
        time.sleep(plan.seconds)
        after = Reading.take(flight, engine)
        flight.land()
    return Writes(
        seconds=after.time - before.time,
        rows=plan.rows * (after.answered - before.answered),
        client_cpu_s=after.client_cpu_s - before.client_cpu_s,
        faults=flight.faults,
        engine_cpu_s=used(before.engine_cpu_s, after.engine_cpu_s),
    )


def main() -> None:
    """Read the plan from standard input, write the result to standard output."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=WritePlan)
    sys.stdout.buffer.write(msgspec.json.encode(write(plan)))


if __name__ == "__main__":
    main()
