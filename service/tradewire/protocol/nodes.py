"""What nodes tell one another: envelopes from one node to another, in MessagePack.

They live for seconds, and only between nodes of one version: fields have no names.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from tradewire.domain import events
from tradewire.domain.types import Presence
from tradewire.protocol.validation import UNDECODABLE

Tellable = (
    events.MessageReceived
    | events.MessageEdited
    | events.MessageDeleted
    | events.MessageDelivered
    | events.MessageRead
    | events.TypingStarted
    | events.TypingStopped
    | events.UserOnline
    | events.UserOffline
    | events.ConversationCreated
    | events.ConversationUpdated
    | events.ConversationDeleted
    | events.MemberAdded
    | events.MemberRemoved
    | events.MemberRoleChanged
    | events.OrderLinked
    | events.OrderUpdated
    | events.ProductUpdated
    | events.UserBlocked
)
"""Every event that concerns more than one connection."""


class Item(Struct, tag=True, array_like=True, gc=False):
    """One thing that is told."""


class Told(Item):
    """An event for every device of these users; see ports.Hub.publish."""

    tenant: str
    user_ids: list[str]
    event: Tellable
    event_id: int


class Seen(Item):
    """An event for those who watch a user; see ports.Hub.tell_watchers."""

    tenant: str
    user_id: str
    event: Tellable
    hidden: list[str]


class Chosen(Item):
    """How a user wants to appear; None: as they are."""

    tenant: str
    user_id: str
    status: Presence | None


class Changed(Item):
    """What a cache of this name holds of a key is out of date."""

    cache: str
    tenant: str
    key: str


class Missed(Item):
    """These users, each a tenant and a user id, may have missed something since an id."""

    users: list[tuple[str, str]]
    since: int


class Doubt(Item):
    """A key of this session came by another way: the session is over. Answered by `Settled` with
    the same number, when no send of it is under way any more.
    """

    session_id: str
    number: int


class Settled(Item):
    """The answer to a `Doubt`."""

    number: int


AnyItem = Told | Seen | Chosen | Changed | Missed | Doubt | Settled


class Envelope(Struct, array_like=True, gc=False):
    """Items from one node to another; also without any, as a sign of life.

    Attributes:
        target: the run that it is for; another node may read the same place.
        sequence: 1 for the first of this sender to this target, then rising by one.
        at: an id of the moment of sending.
        last: whether the sender, having sent all, ends here.
    """

    target: int
    sender: int
    run: int
    sequence: int
    at: int
    items: list[AnyItem]
    last: bool = False


ENVELOPE_BYTES = 128
"""What an envelope adds to its items at most."""

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode


def envelope(
    target: int,
    sender: int,
    run: int,
    sequence: int,
    at: int,
    items: Iterable[bytes],
    *,
    last: bool = False,
) -> bytes:
    """An `Envelope` around items that are encoded already: they go to several nodes."""
    return encode((target, sender, run, sequence, at, [*map(msgspec.Raw, items)], last))


def decode(record: bytes) -> Envelope:
    """An envelope.

    Raises:
        ValueError: it is none of this version.
    """
    try:
        return _decode(record)
    except UNDECODABLE as error:
        raise ValueError(f"not an envelope of this version: {error}") from error
