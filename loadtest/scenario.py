"""Scenarios: what is to be carried out, as TOML files say it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from loadtest.messages import Protocol
from loadtest.plan import ClosedLoop, Idle, OpenLoop, Over, Shares

FOLDER = Path(__file__).parent / "scenarios"

Amount = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Page = Annotated[int, Meta(ge=1, le=200)]

Load = ClosedLoop | OpenLoop | Idle


class ScenarioError(Exception):
    """A scenario is not known or makes no sense; the field is named."""


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds have.

    Attributes:
        connections: how many WebSockets, or readers over HTTP, take part.
        rate: operations a second of an open loop; this or `in_flight` is given.
        in_flight: operations that each connection keeps under way, in a closed loop.
        ramp: seconds in which the rate grows, before the `warm_up`.
        seconds: the measured ones, after the warm-up.
        processes: generators; None: as many as the cores allow.
        p99_ms: the objective for the chief latency.
        chief: the kind of latency that the objective is about.
        searchable: whether there is a greatest rate to be looked for.
        on_kafka: whether the server must be on Kafka.
        receives: whether connections check what others send.
    """

    name: str
    description: str
    connections: Count
    rate: Amount | None = None
    in_flight: Count | None = None
    seconds: Amount = 20.0
    warm_up: Seconds = 2.0
    ramp: Seconds = 0.0
    processes: Count | None = None
    protocol: Protocol = "json"
    p99_ms: Amount | None = None

    chief: ClassVar[str] = "delivered"
    searchable: ClassVar[bool] = True
    on_kafka: ClassVar[bool] = False
    receives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError for fields that contradict each other."""
        if (self.rate is None) == (self.in_flight is None):
            raise ValueError("`rate` or `in_flight` must be given, and not both")

    def shares(self, rate: float) -> Shares:
        """How often each kind is carried out at a rate: operations a second."""
        return {"send": rate}

    def reading(self) -> dict[str, Any]:
        """How a generator is to read: fields of its `Plan`."""
        return {}

    def load(self, seconds: float, rate: float | None) -> Load:
        """The load at a rate; of a closed loop that has none."""
        if rate is None:
            return ClosedLoop(self.in_flight or 1, seconds, self.shares(1.0))
        shares = self.shares(rate)
        return OpenLoop(sum(shares.values()), seconds, 1, self.ramp, shares)

    def loads(self) -> list[Load]:
        """What is carried out, one after another."""
        return [self.load(self.seconds, self.rate)]


class Pairs(Scenario, frozen=True, kw_only=True, tag="pairs"):
    """Two and two chat."""

    def __post_init__(self) -> None:
        """Raise ValueError for an odd one."""
        super().__post_init__()
        if self.connections % 2:
            raise ValueError("`connections` must be even: each two are a pair")


class Seller(Scenario, frozen=True, kw_only=True, tag="seller"):
    """Buyers, who are the `connections`, write to one seller, who has some devices."""

    devices: Count = 3


class Group(Scenario, frozen=True, kw_only=True, tag="group"):
    """The `connections` are the members of one group; some of them send."""

    senders: Count

    def __post_init__(self) -> None:
        """Raise ValueError for more senders than members."""
        super().__post_init__()
        if self.senders > self.connections:
            raise ValueError("`senders` must be members: no more than `connections`")


class IdleCrowd(Scenario, frozen=True, kw_only=True, tag="idle"):
    """Connections that are open and silent."""

    searchable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError for a load."""
        if self.rate is not None or self.in_flight is not None:
            raise ValueError("`rate` and `in_flight` have no meaning in an idle crowd")

    def load(self, seconds: float, rate: float | None) -> Load:
        """Nothing."""
        del rate
        return Idle(seconds)


class ReconnectStorm(Scenario, frozen=True, kw_only=True, tag="reconnect-storm"):
    """All `connections` are cut, after the part `cut_at` of the window, and come back at once.

    They are in groups of `group_size`, each with one more member, who sends and is not cut.
    """

    group_size: Count = 20
    cut_at: Annotated[float, Meta(ge=0, lt=1)] = 0.25

    searchable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError for a group that is not full."""
        super().__post_init__()
        if self.connections % self.group_size:
            raise ValueError("`connections` must be a multiple of `group_size`")


class History(Scenario, frozen=True, kw_only=True, tag="history"):
    """Pages of a conversation of so many messages are read, at random places."""

    messages: Count
    page: Page = 50
    over: Over = "websocket"

    chief: ClassVar[str] = "history"
    receives: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError when there is no page."""
        super().__post_init__()
        if self.messages < self.page:
            raise ValueError("`messages` must fill a `page`")

    def reading(self) -> dict[str, Any]:
        """The pages, and by which way they are read."""
        return {"page": self.page, "over": self.over}

    def shares(self, rate: float) -> Shares:
        """Nothing but history."""
        return {"history": rate}


class Inbox(Scenario, frozen=True, kw_only=True, tag="inbox"):
    """The first inbox page of users who have so many chats each.

    Attributes:
        unread: in so many of the chats, the latest, the other side wrote last, in the rest the user
            did; None: in all.
    """

    chats: Count
    unread: Annotated[int, Meta(ge=0)] | None = None
    page: Annotated[int, Meta(ge=1, le=100)] = 20

    chief: ClassVar[str] = "inbox"
    receives: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError when more chats are unread than there are."""
        super().__post_init__()
        if self.unread is not None and self.unread > self.chats:
            raise ValueError("`unread` must not be above `chats`")

    def reading(self) -> dict[str, Any]:
        """The page."""
        return {"inbox_page": self.page}

    def shares(self, rate: float) -> Shares:
        """Nothing but inboxes."""
        return {"inbox": rate}


class OrderEvents(Scenario, frozen=True, kw_only=True, tag="order-events"):
    """`rate` orders a second of so many buyers, beside the chat of the `connections`.

    The chat is measured alone first, then with the orders.
    """

    buyers: Count
    chat_rate: Amount

    chief: ClassVar[str] = "order"
    on_kafka: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError for an odd one, or a closed loop."""
        super().__post_init__()
        if self.in_flight is not None:
            raise ValueError("`in_flight` has no meaning for events: give a `rate`")
        if self.connections % 2:
            raise ValueError("`connections` must be even: each two are a pair")

    def shares(self, rate: float) -> Shares:
        """Orders at the rate, and the chat."""
        return {"send": self.chat_rate, "order": rate}

    def loads(self) -> list[Load]:
        """The chat alone, then both."""
        alone = OpenLoop(self.chat_rate, self.seconds, 1, self.ramp)
        return [alone, *super().loads()]


class Mix(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of all operations, how many are of each kind, relative to each other."""

    send: Share = 0.0
    history: Share = 0.0
    inbox: Share = 0.0
    read: Share = 0.0
    typing: Share = 0.0


class MarketplaceDay(Scenario, frozen=True, kw_only=True, tag="marketplace-day"):
    """Two and two chat, read their history and their inbox, and say what they have read.

    Each two have `messages` between them beforehand, and each one has `chats` with others.
    """

    messages: Count
    chats: Count
    page: Page = 50
    mix: Mix

    def __post_init__(self) -> None:
        """Raise ValueError for an odd one, a missing page or no operations."""
        super().__post_init__()
        if self.connections % 2:
            raise ValueError("`connections` must be even: each two are a pair")
        if self.messages < self.page:
            raise ValueError("`messages` must fill a `page`")
        if not self.mix.send:
            raise ValueError("`mix.send` must be above 0: without it nothing is delivered")

    def reading(self) -> dict[str, Any]:
        """The page of history."""
        return {"page": self.page}

    def shares(self, rate: float) -> Shares:
        """The rate, as it is mixed."""
        weights: dict[Any, float] = msgspec.structs.asdict(self.mix)
        total = sum(weights.values())
        return {kind: rate * weight / total for kind, weight in weights.items() if weight}


AnyScenario = (
    Pairs
    | Seller
    | Group
    | IdleCrowd
    | ReconnectStorm
    | History
    | Inbox
    | OrderEvents
    | MarketplaceDay
)


def load_scenario(name: str, overrides: Mapping[str, object] | None = None) -> AnyScenario:
    """A bundled scenario by its name, or that of a TOML file by its path; overrides replace values.

    A rate makes an open loop of a closed one, `in_flight` a closed loop of an open one.

    Raises `ScenarioError`.
    """
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(each.stem for each in bundled())
        raise ScenarioError(f"{name} is neither a file nor one of {known}")
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    overrides = overrides or {}
    if "rate" in overrides:
        values.pop("in_flight", None)
    if "in_flight" in overrides:
        values.pop("rate", None)
    try:
        scenario: AnyScenario = msgspec.convert({**values, **overrides}, AnyScenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{path}: {error}") from error
    return scenario


def bundled() -> list[Path]:
    """The files of the scenarios that come along."""
    return sorted(FOLDER.glob("*.toml"))
