"""What the generator is told, and what it answers: JSON over its standard input and output."""

import msgspec

from loadtest.messages import Protocol


class Endpoint(msgspec.Struct, frozen=True):
    """Where a user connects; the path holds the token."""

    host: str
    port: int
    path: str


class Pair(msgspec.Struct, frozen=True):
    """Two users of one conversation, perhaps on two servers."""

    endpoints: tuple[Endpoint, Endpoint]
    conversation_id: str


class ClosedLoop(msgspec.Struct, frozen=True, tag="closed"):
    """Each connection keeps ``in_flight`` messages under way: finds the greatest rate."""

    in_flight: int
    seconds: float


class OpenLoop(msgspec.Struct, frozen=True, tag="open"):
    """``rate`` messages a second arrive at random times, however the server fares."""

    rate: float
    seconds: float
    seed: int


class Idle(msgspec.Struct, frozen=True, tag="idle"):
    """The connections are opened and stay silent."""


class Plan(msgspec.Struct, frozen=True):
    """One run of the generator against the servers with the process ids ``server_pids``.

    All connections are silent for ``settle`` seconds; then a loop runs for ``warm_up`` seconds
    before it is measured. ``engine_pid`` is the database that
    the servers store in, ``broker_pid`` their Kafka, where those are processes of this machine.
    When ``one_way``, the first of each pair sends and the second only receives.
    """

    server_pids: list[int]
    protocol: Protocol
    pairs: list[Pair]
    load: ClosedLoop | OpenLoop | Idle
    warm_up: float = 1.0
    settle: float = 0.0
    engine_pid: int | None = None
    broker_pid: int | None = None
    one_way: bool = False


class Percentiles(msgspec.Struct, frozen=True):
    """Times in milliseconds."""

    p50: float
    p99: float
    max: float


class Traffic(msgspec.Struct, frozen=True, tag="traffic"):
    """What a loop measured, over the same window for all processes; those of servers are added up.

    ``latency_ms`` runs from the time a message was due to its arrival at the peer's socket,
    ``lateness_ms`` from the time it was due to its sending.
    """

    seconds: float
    acknowledged: int
    server_cpu_s: float
    generator_cpu_s: float
    latency_ms: Percentiles
    lateness_ms: Percentiles
    faults: dict[str, int]
    engine_cpu_s: float | None = None
    broker_cpu_s: float | None = None


class Footprint(msgspec.Struct, frozen=True, tag="footprint"):
    """What idle connections cost the server: KiB of resident memory each."""

    connections: int
    kib_per_connection: float
    faults: dict[str, int]


class WritePlan(msgspec.Struct, frozen=True):
    """One run of `loadtest.cql_floor` against an engine that has the schema in this keyspace.

    ``rows`` go into one request, and ``in_flight`` requests are under way at any time.
    """

    host: str
    port: int
    keyspace: str
    rows: int
    in_flight: int
    seconds: float
    warm_up: float = 1.0
    engine_pid: int | None = None


class Writes(msgspec.Struct, frozen=True, tag="writes"):
    """What such a run measured, over the same window for both processes."""

    seconds: float
    rows: int
    client_cpu_s: float
    faults: dict[str, int]
    engine_cpu_s: float | None = None
