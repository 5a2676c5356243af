"""What the use cases need from outside, and what an implementer owes.

Calls are made on the event loop and never block it. Everything is of one tenant: a call for one
tenant never sees another's data, even by id. Any call may raise `Unavailable` (the engine is away,
or did not answer within its deadline) and, where it writes, `Overloaded`.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Literal, Protocol

from msgspec import Struct

from tradewire.domain.errors import Close, TradewireError
from tradewire.domain.events import Event
from tradewire.domain.outbox import DomainEvent
from tradewire.domain.receipts import Receipt
from tradewire.domain.types import (
    Conversation,
    ConversationStatus,
    Edit,
    Member,
    Message,
    OrderCard,
    Presence,
    ProductCard,
    Role,
)
from tradewire.domain.writes import Unit

BUS_RECORD_BYTES = 512 << 10

ROUTE_AGE_S = 1.0
"""How old what is known of where users are connected may be."""


class Access(Struct, frozen=True):
    """What policy needs to know of a conversation.

    Attributes:
        conversation: without members, last message or any reader's own settings.
        roles: every member's role by user id.
    """

    conversation: Conversation
    roles: Mapping[str, Role]


class InboxQuery(Struct, frozen=True, kw_only=True):
    """Which page of an inbox; a filter that is None lets all through. `now`: ms since 1970."""

    limit: int
    now: int
    archived: bool | None = False
    muted: bool | None = None
    status: ConversationStatus | None = None
    listing_id: str | None = None
    unread: bool | None = None
    sort: Literal["last_activity", "created_at"] = "last_activity"
    descending: bool = True
    cursor: str | None = None


class InboxPage(Struct, frozen=True):
    """Conversations as their reader sees them; `cursor` is None at the end."""

    conversations: list[Conversation]
    cursor: str | None


class Unread(Struct, frozen=True):
    """Unread messages by conversation, those with none left out, and whether a count stopped."""

    by_conversation: dict[str, int]
    capped: bool


class MissedChange(Struct, frozen=True):
    """A change to tell a resuming client of; what it says is read from the present state.

    Attributes:
        kind: name of the event, one of domain.events.Change; or `MessageReceived`, of a message
            that became visible after younger ones.
        subject: what changed: a message, user, order or product id, "" for the conversation.
        detail: the marker of a receipt, "1" or "0" of UserBlocked, else "".
    """

    change_id: int
    conversation_id: str
    kind: str
    subject: str
    detail: str


class Missed(Struct, frozen=True):
    """What a user missed, each list in the order of ids; of several changes of one kind and
    subject only the last is kept. `truncated`: there was more than the limit, and the rest is
    left out.
    """

    messages: list[Message]
    changes: list[MissedChange]
    truncated: bool


class Block(Struct, frozen=True):
    """A user blocked by another, since when (ms since 1970)."""

    user_id: str
    since: int


class Suspension(Struct, frozen=True):
    """A user blocked on the platform; `until` in ms since 1970, None for good."""

    until: int | None
    reason: str | None

    def holds(self, now: int) -> bool:
        """Whether the user is still blocked at this time, in ms since 1970."""
        return self.until is None or self.until > now


class Refusal(Struct, frozen=True):
    """A decision that turns away who was let in: all nodes must hear of it.

    Attributes:
        id: that of the write, so it tells when.
        user_id: who is blocked on the platform, or whose tokens are revoked.
        token_id: the one token that is revoked.
        blocked: a block on the platform, else a revocation.
    """

    id: int
    tenant: str
    user_id: str | None = None
    token_id: str | None = None
    blocked: bool = False


class Journal(Protocol):
    """The one way to write: units join commit groups, durable before they are answered."""

    @property
    def in_flight(self) -> int:
        """Units that were appended and are not done."""

    def append(self, unit: Unit, done: Callable[[Sequence[Any] | TradewireError], None]) -> None:
        """Add a unit to the commit group that is being gathered.

        `done` is called once, on the loop, with the results of the writes in their order, or with
        the error that left all of them undone. Units of one conversation are committed, and their
        `done` called, in the order of appending; once `done` has results, a read sees the writes,
        no crash undoes them and their domain events are in the log. Units of one process that were
        in flight when the store failed get `Unavailable`: whether they took effect is unknown.
        A unit without writes is done when all before it are.

        Raises:
            Overloaded: the bound on units in flight is reached; nothing was taken.
        """

    async def events(self, after: int, limit: int) -> list[DomainEvent]:
        """Domain events of all tenants with ids above `after`, in the order of ids.

        Ids never appear below one that a read has returned: no event is skipped by reading on.
        """

    async def newest_id(self) -> int:
        """The greatest id in the store, to start the clock from; 0 when it is empty."""


class Conversations(Protocol):
    """Reads of conversations and of who is in them."""

    async def access(self, tenant: str, conversation_id: str) -> Access | None:
        """What policy needs; None when there is no such conversation."""

    async def view(
        self, tenant: str, user_id: str, conversation_id: str, now: int
    ) -> Conversation | None:
        """A conversation as a user sees it, with the first 50 members by time of joining, the last
        message and the user's own settings; without these settings for one who is no member.
        """

    async def inbox(self, tenant: str, user_id: str, query: InboxQuery) -> InboxPage:
        """A page of a user's conversations, in a number of statements that does not grow with
        their number. Hidden ones are left out.

        Raises:
            InvalidField: the cursor is none of this query's.
        """

    async def unread(self, tenant: str, user_id: str, now: int) -> Unread:
        """Messages by others after the read marker, deleted ones left out, counted to
        limits.UNREAD_PER_CONVERSATION each in the limits.UNREAD_CONVERSATIONS newest.
        """

    async def unread_total(self, tenant: str, user_id: str, now: int) -> int:
        """The sum of such counts over the conversations that are neither archived nor muted, the
        limits.UNREAD_CONVERSATIONS newest of them with unread messages. An adapter may leave out
        those that are not among as many newest ones of all with unread messages.
        """

    async def members(
        self, tenant: str, conversation_id: str, after: str, limit: int
    ) -> list[Member]:
        """Members with a user id above `after`, by user id."""

    async def members_named(
        self, tenant: str, conversation_id: str, user_ids: Sequence[str]
    ) -> list[Member]:
        """Those of these users who are members, in no order; each user is named once."""

    async def showing_product(
        self, tenant: str, product_id: str, after: str, limit: int
    ) -> list[str]:
        """Conversations about a product or with its card in a message, by id, above `after`."""

    async def missed(self, tenant: str, user_id: str, after: int, limit: int) -> Missed:
        """Messages and changes with ids above `after` in the user's conversations, and the user's
        own changes; receipts included. At most `limit` in all, the oldest first.
        """


class Messages(Protocol):
    """Reads of messages. A deleted message is a message without text; an expired one reads as
    deleted from the moment on which it expires.
    """

    async def by_id(self, tenant: str, ids: Sequence[tuple[str, int]]) -> list[Message]:
        """Messages by (conversation_id, message_id), those not found left out, in the order asked.
        Their `status` is `sent`: receipts are overlaid by others.
        """

    async def before(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        """The newest messages with ids below `message_id`, oldest first, with their `status`."""

    async def after(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        """The oldest messages with ids above `message_id`, oldest first, with their `status`."""

    async def edits(self, tenant: str, conversation_id: str, message_id: int) -> list[Edit]:
        """Former texts of a message, oldest first; none of a deleted one."""

    async def receipts(self, tenant: str, conversation_id: str) -> list[Receipt]:
        """Of all members; none when they are more than limits.RECEIPT_MEMBERS."""

    async def expired(self, now: int, limit: int) -> list[tuple[str, str, int]]:
        """(tenant, conversation_id, message_id) of messages to delete: expired, not yet deleted."""


class People(Protocol):
    """Reads of users: blocks, suspensions, revocations, when last seen."""

    async def blocked_by(self, tenant: str, user_id: str) -> list[Block]:
        """Whom a user has blocked, by user id."""

    async def block_relations(self, tenant: str, user_id: str) -> frozenset[str]:
        """Users whom this one blocked or who blocked this one."""

    async def suspension(self, tenant: str, user_id: str) -> Suspension | None:
        """The user's suspension, also one that has run out."""

    async def revoked_at(self, tenant: str, user_id: str) -> int | None:
        """When the user's tokens were last revoked, ms since 1970: older ones are refused."""

    async def token_revoked(self, tenant: str, token_id: str) -> bool:
        """Whether the token of this id was revoked."""

    async def last_seen(self, tenant: str, user_ids: Sequence[str]) -> dict[str, int]:
        """When users were last there, ms since 1970; those never seen are left out."""


class Catalogue(Protocol):
    """Reads of products and orders."""

    async def products(self, tenant: str, product_ids: Sequence[str]) -> dict[str, ProductCard]:
        """Cards by product id; unknown ones are left out, deleted ones have status `deleted`."""

    async def orders(self, tenant: str, order_ids: Sequence[str]) -> dict[str, OrderCard]:
        """Cards by order id; unknown ones are left out."""

    async def order_conversation(self, tenant: str, order_id: str) -> str | None:
        """The conversation an order is linked to."""


LEAD_S = 5.0
"""For how long a process that publishes the log may go on without asking again whether it may."""


class Relay(Protocol):
    """How far the log of domain events was published, and by whom: one process of a cell at a time,
    so that events go out in the order of the log.
    """

    async def leads(self) -> bool:
        """Whether this process is the one, for LEAD_S from the call on."""

    async def cursor(self) -> int:
        """Up to which id everything was published; 0 at first."""

    async def move(self, cursor: int) -> None:
        """Note that everything up to this id was published. It never moves back."""


class Store(Protocol):
    """A store: one engine behind all the ports above."""

    @property
    def journal(self) -> Journal:
        """Where units are appended."""

    @property
    def conversations(self) -> Conversations:
        """Reads of conversations."""

    @property
    def messages(self) -> Messages:
        """Reads of messages."""

    @property
    def people(self) -> People:
        """Reads of users."""

    @property
    def catalogue(self) -> Catalogue:
        """Reads of products and orders."""

    @property
    def relay(self) -> Relay:
        """How far the log was published."""

    async def open(self) -> None:
        """Connect and make ready.

        Raises:
            StoreError: it cannot be used; the message says why and what to do.
        """

    async def close(self) -> None:
        """Finish the units in flight, then release everything."""

    async def check(self) -> None:
        """Raise `Unavailable` when the engine does not answer."""


class Cluster(Protocol):
    """The nodes of a cell, and which of them hold connections of a user. A node is known by its
    number.
    """

    @property
    def node(self) -> int:
        """The number of this node; another one after its lease was lost."""

    @property
    def run(self) -> int:
        """The id of this node's run; another one after its lease was lost."""

    @property
    def others(self) -> Mapping[int, int]:
        """The other nodes that live: their number, and the id of their run. A node that died counts
        as living until another one has finished its run.
        """

    def alone_since(self, moment: float) -> bool:
        """Whether no other node has lived since then, by `time.monotonic`, but for ones that began
        in the last ROUTE_AGE_S. False where it is not known.
        """

    async def look(self) -> None:
        """See now which nodes live: whichever began before is among the others afterwards.

        Raises:
            Unavailable, Overloaded: the store did not answer.
        """

    async def join(self, tenant: str, user_id: str) -> None:
        """The user has a connection here. Returns when others can find it.

        Whether it raises or not, the user is joined again by itself, also after the lease was lost,
        until `leave`.
        """

    async def leave(self, tenant: str, user_id: str) -> None:
        """The user has none here any more."""

    def expect(self, users: Iterable[tuple[str, str]]) -> None:
        """These users will be looked for in a moment: begin already."""

    async def find(self, users: Iterable[tuple[str, str]]) -> dict[tuple[str, str], frozenset[int]]:
        """The other living nodes with connections of each user, as of ROUTE_AGE_S ago at most."""

    async def refusals(self, after: int) -> list[Refusal]:
        """Refusals of all tenants with ids above `after`, by id; those of the last hour.

        One may appear below an id that was read, by as long as its commit took.
        """


class Late(Struct, frozen=True):
    """Something became visible after younger things. A store that shares its data with other
    processes tells of it: what a dead one left is finished by another.

    Attributes:
        since: who resumes from this id hears of it.
        users: (tenant, user_id) of those who are to hear of it.
        conversations: (tenant, conversation_id) of those that it is about, also deleted ones.
        blocks: (tenant, user_id) of both users of each block that was made or taken back.
    """

    since: int
    users: Sequence[tuple[str, str]]
    conversations: Sequence[tuple[str, str]]
    blocks: Sequence[tuple[str, str]]


class StoreError(Exception):
    """The store cannot be opened."""


class Publisher(Protocol):
    """Where domain events go."""

    async def publish(self, events: Sequence[DomainEvent]) -> None:
        """Publish in this order; all are durable when it returns.

        Raises:
            Unavailable: some may not be there; publish all of them again, before any other.
        """


Partition = tuple[str, int]
"""A topic by its full name, and a number."""


class Record(Struct, frozen=True):
    """A record of a topic, as it came."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Consumer(Protocol):
    """Records of other services, from the partitions that this process has for the time being.

    Any call may raise `Unavailable`: then stop it, and start again later.
    """

    async def start(self, on_revoked: Callable[[], Awaitable[None]]) -> None:
        """Join the processes that share the partitions. `on_revoked` is awaited, some seconds at
        most, before these are shared out afresh: it ends what is under way, and may commit.
        """

    async def poll(self, held: Collection[Partition]) -> Sequence[Record]:
        """The next records, in order within a partition, none of the partitions `held`; waits for
        a moment when there are none.
        """

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Everything below these offsets is done: who has the partition next begins there.

        Raises:
            Unavailable: it is not noted, or another has the partition by now.
        """

    def lag(self, positions: Mapping[Partition, int]) -> int:
        """How many records are there from these offsets on, as far as known."""

    async def stop(self) -> None:
        """Leave the others, who get the partitions."""


class DeadLetters(Protocol):
    """Where records go that cannot be handled."""

    async def put(self, record: Record, error: str, attempts: int) -> None:
        """Keep a record byte for byte, and why it is there; it is durable when it returns.

        Raises:
            Unavailable: it may not be there.
        """


class BrokerError(Exception):
    """Kafka cannot be used as it is set up."""


class Neighbours(Protocol):
    """The other nodes of a cell, if there are any."""

    def expect(self, tenant: str, user_ids: Iterable[str]) -> None:
        """An event for these users follows in a moment, when it is durable."""

    async def elsewhere(self, tenant: str, user_ids: Sequence[str]) -> frozenset[str]:
        """Those of the users who have a device on another node."""

    def changed(self, cache: str, tenant: str, key: str) -> None:
        """What caches of this name hold of a key is out of date: tell the other nodes."""

    def appears(self, tenant: str, user_id: str, status: Presence | None) -> None:
        """How a user wants to appear, None: as they are: tell the other nodes."""


class Hub(Neighbours, Protocol):
    """The connected devices, and the way to them.

    Every call returns at once. Delivery is at least once to each connection that is there; what a
    connection misses, it resumes from the store.
    """

    def publish(
        self,
        tenant: str,
        user_ids: Iterable[str],
        event: Event,
        *,
        event_id: int = 0,
        skip: str | None = None,
    ) -> None:
        """Tell every device of these users, except the session `skip`.

        `event_id` is the id that the event carries, 0 for typing and presence. Called in the order
        of ids within a conversation.
        """

    def tell_watchers(
        self, tenant: str, user_id: str, event: Event, hidden: frozenset[str]
    ) -> None:
        """Tell those connections that watch a user, save those of the users `hidden`."""

    def doubt_keys(self, session_id: str) -> Awaitable[None] | None:
        """A key of this session came by another way: its client has given it up and retries, while
        frames of it may still be unread. If it is one of this node, its keys are looked up from now
        on. Whatever other nodes have begun to store under its keys can be found when the result has
        been awaited, and if it is one of theirs, it has ended; None: that is so already.
        """

    def connected(self, tenant: str, user_id: str) -> bool:
        """Whether the user has a device here."""

    def disconnect(
        self, tenant: str, user_id: str, code: Close, *, issued_before: float = inf
    ) -> int:
        """Close the connections of a user whose token was issued before a time, in seconds since
        1970; returns how many.
        """

    def disconnect_token(self, tenant: str, token_id: str) -> int:
        """Close, as unauthenticated, the connections with this token; returns how many."""


class Bus(Protocol):
    """The way of records from node to node, each node known by its number.

    Records of one sender to one node arrive in the order of sending. Some may be missing, and some
    come twice: who needs to know numbers them.
    """

    async def listen(self, node: int, heard: Callable[[bytes], None]) -> None:
        """From now on call `heard`, on the loop, with the records to this node, and those of other
        nodes that share its place. What was sent before is not heard. A second call moves on to
        another node.

        Raises:
            Unavailable: the bus is away; nothing is heard until a call succeeds.
        """

    def send(self, node: int, record: bytes) -> None:
        """Send a record of at most BUS_RECORD_BYTES soon; it is dropped when too much waits, or
        nothing was listened to yet.
        """

    async def close(self) -> None:
        """Send what waits, as far as that is possible in a moment, and release everything."""


class Session(Protocol):
    """The connection that a command came by."""

    session_id: str

    def watch(self, user_ids: Sequence[str]) -> None:
        """Events about just these users follow on this connection."""
