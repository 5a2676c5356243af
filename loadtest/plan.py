"""What the generator is told, and what it answers: lines of JSON on its standard input and output.

It gets a `Plan`, opens its connections and says `Ready`; it is told when to `Start`, tells a `Tick`
for each second, and at the end `Ended`. Moments are those of `time.perf_counter`, which all
processes of a machine share.
"""

from typing import Literal

import msgspec

from loadtest.messages import Protocol

Kind = Literal["send", "history", "inbox", "read", "typing", "order"]
"""The operations that a generator can carry out."""

Shares = dict[Kind, float]
"""How often each kind is carried out, as weights."""

Over = Literal["websocket", "http"]

Counts = dict[int, int]
"""A sparse histogram: microseconds, rounded to three digits, and how often they were seen."""

NOT_BACK = "not back after the storm"
"""What the errors of connections begin with that were cut and did not come back."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a user connects; the path holds the token."""

    host: str
    port: int
    path: str


class Pair(msgspec.Struct, frozen=True):
    """Two users of one conversation, perhaps on two servers."""

    endpoints: tuple[Endpoint, Endpoint]
    conversation_id: str


class Connection(msgspec.Struct, frozen=True):
    """A connection of a user.

    Attributes:
        acts_in: the index of the conversation that it sends into and reads; None: it only receives.
        token: for requests over HTTP.
        chats: how many conversations its user has, at least.
    """

    endpoint: Endpoint
    acts_in: int | None = None
    token: str = ""
    chats: int = 0


class Page(msgspec.Struct, frozen=True):
    """A page of history, and the first message that must be on it; both "": the newest page."""

    before: str = ""
    first: str = ""


class Conversation(msgspec.Struct, frozen=True):
    """A conversation, the indexes of the connections that hear of it, and what is read of it."""

    conversation_id: str
    receivers: list[int]
    pages: list[Page] = []


def only_sends() -> Shares:
    """The shares of a load that is nothing but messages."""
    return {"send": 1.0}


class ClosedLoop(msgspec.Struct, frozen=True, tag="closed"):
    """Each connection keeps ``in_flight`` operations under way: finds the greatest rate."""

    in_flight: int
    seconds: float
    shares: Shares = msgspec.field(default_factory=only_sends)


class OpenLoop(msgspec.Struct, frozen=True, tag="open"):
    """``rate`` operations a second arrive at random times, however the server fares.

    The rate grows from nothing over the first ``ramp`` seconds, which are not measured.
    """

    rate: float
    seconds: float
    seed: int
    ramp: float = 0.0
    shares: Shares = msgspec.field(default_factory=only_sends)


class Idle(msgspec.Struct, frozen=True, tag="idle"):
    """The connections are opened and stay silent."""

    seconds: float = 0.0


class Storm(msgspec.Struct, frozen=True):
    """These connections are cut, ``after`` seconds into the measured window, and come back."""

    after: float
    connections: list[int]


class Buyer(msgspec.Struct, frozen=True):
    """A connected buyer who orders from a seller, and their conversation."""

    connection: int
    buyer_id: str
    seller_id: str
    conversation_id: str


class Orders(msgspec.Struct, frozen=True):
    """Where orders are published, and whose; ``name`` makes their ids unlike those of others."""

    brokers: str
    topic: str
    name: str
    buyers: list[Buyer]


class Plan(msgspec.Struct, frozen=True):
    """One run of a generator.

    All connections are silent for ``settle`` seconds; then a loop runs for its ramp and
    ``warm_up`` seconds before it is measured.
    """

    protocol: Protocol
    connections: list[Connection]
    conversations: list[Conversation]
    load: ClosedLoop | OpenLoop | Idle
    warm_up: float = 1.0
    settle: float = 0.0
    page: int = 50
    inbox_page: int = 20
    over: Over = "websocket"
    storm: Storm | None = None
    orders: Orders | None = None

    @property
    def lead(self) -> float:
        """Seconds from the start to the measured window."""
        ramp = self.load.ramp if isinstance(self.load, OpenLoop) else 0.0
        return self.warm_up + ramp

    def edges(self, start: float) -> list[float]:
        """The moments between which the seconds of a run lie: those of the window are whole ones.

        The first of them may begin before the start; the window's last may be shorter.
        """
        begin = start + self.lead
        before, within = _ceil(self.lead), _ceil(self.load.seconds)
        end = begin + self.load.seconds
        return [begin + number for number in range(-before, within)] + [end]


def _ceil(seconds: float) -> int:
    return int(-(-seconds // 1))


def on_pairs(
    pairs: list[Pair], *, one_way: bool = False
) -> tuple[list[Connection], list[Conversation]]:
    """What is in a plan for pairs that chat; ``one_way``: the second of each only receives."""
    connections, conversations = [], []
    for number, pair in enumerate(pairs):
        first, second = pair.endpoints
        connections.append(Connection(first, number))
        connections.append(Connection(second, None if one_way else number))
        receivers = [2 * number, 2 * number + 1]
        conversations.append(Conversation(pair.conversation_id, receivers))
    return connections, conversations


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """All connections are open."""


class Start(msgspec.Struct, frozen=True):
    """When the loop is to start."""

    at: float


class Tick(msgspec.Struct, frozen=True, tag="tick"):
    """What came in between two edges, or after the last.

    Attributes:
        due: how many operations were scheduled.
        done: how often each kind was done.
        errors: refusals, by code, and what could not be sent.
        latency: by kind, of what was due since the window began.
        lateness: the same of the generator: from the time something was due to its sending.
        in_flight: what was unanswered at the end.
    """

    seconds: float
    due: int
    done: dict[str, int]
    errors: dict[str, int]
    latency: dict[str, Counts]
    lateness: Counts
    in_flight: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Wrong behaviour of the whole run, by name."""

    faults: dict[str, int]


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
