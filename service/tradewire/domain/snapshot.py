"""What a store holds, as plain values: for moving all of it into another store.

Bodies, cards and events stay packed as they are stored (domain/packing.py), or JSON: both stores
keep them alike. Times are in ms since 1970; an id that is 0 stands for none.
"""

from hashlib import sha256
from typing import Literal

from msgspec import Struct

from tradewire.domain.types import Conversation, Kind, Role

Step = Literal[
    "conversations",
    "keys",
    "recent keys",
    "changes of users",
    "blocks",
    "suspensions",
    "revocations of users",
    "revocations of tokens",
    "last seen",
    "products",
    "products shown",
    "orders",
    "handled events",
    "events",
]
"""A kind of thing that is moved by itself, after those named before it."""

Position = list[str | int]
"""How far a step has come: the key of the last thing that is done. Begins empty."""


class MemberSnapshot(Struct, frozen=True):
    """A member with markers and own settings; `private`: the last marker is told to nobody else."""

    user_id: str
    role: Role
    joined_at: str
    last_read_id: int
    last_delivered_id: int
    read_change: int
    delivered_change: int
    private: bool
    archived: bool
    pinned: bool
    hidden: bool
    muted_until: int | None


class ConversationSnapshot(Struct, frozen=True):
    """A conversation with its members.

    Attributes:
        number: names it within its store.
        created: the id of its making.
        conversation: without members, last message or any reader's own settings.
        place: the id that an inbox sorts it by.
    """

    number: int
    tenant: str
    created: int
    conversation: Conversation
    place: int
    members: list[MemberSnapshot]

    @property
    def id(self) -> str:
        """The conversation id."""
        return self.conversation.conversation_id


class MessageSnapshot(Struct, frozen=True, gc=False):
    """A message; `gone_at` is when it reads as deleted: 0 for one that is, None for never."""

    message_id: int
    sender_id: str
    gone_at: int | None
    body: bytes


class EditSnapshot(Struct, frozen=True, gc=False):
    """A former text of a message, as JSON."""

    message_id: int
    change_id: int
    body: str


class ChangeSnapshot(Struct, frozen=True, gc=False):
    """A change that the members of a conversation must hear on resume."""

    change_id: int
    kind: str
    subject: str
    detail: str


class MessagePage(Struct, frozen=True):
    """Some messages of a conversation, in the order of ids."""

    of: ConversationSnapshot
    messages: list[MessageSnapshot]


class EditPage(Struct, frozen=True):
    """Some former texts of a conversation's messages."""

    of: ConversationSnapshot
    edits: list[EditSnapshot]


class ChangePage(Struct, frozen=True):
    """Some changes of a conversation, in the order of ids."""

    of: ConversationSnapshot
    changes: list[ChangeSnapshot]


class KeySnapshot(Struct, frozen=True, gc=False):
    """An idempotency key, and the message that it was used for."""

    tenant: str
    conversation_id: str
    kind: Kind
    sender_id: str
    key: str
    message_id: int
    content_hash: bytes


class UserChangeSnapshot(Struct, frozen=True, gc=False):
    """A change that one user must hear on resume."""

    tenant: str
    user_id: str
    change_id: int
    conversation_id: str
    kind: str
    subject: str
    detail: str


class BlockSnapshot(Struct, frozen=True, gc=False):
    """A user blocked by another."""

    tenant: str
    user_id: str
    blocked_id: str
    since: int


class SuspensionSnapshot(Struct, frozen=True, gc=False):
    """A user blocked on the platform, for good without `until`."""

    tenant: str
    user_id: str
    until: int | None
    reason: str | None


class UserRevocationSnapshot(Struct, frozen=True, gc=False):
    """When the tokens of a user were revoked."""

    tenant: str
    user_id: str
    revoked_at: int


class TokenRevocationSnapshot(Struct, frozen=True, gc=False):
    """When a token was revoked."""

    tenant: str
    token_id: str
    revoked_at: int


class LastSeenSnapshot(Struct, frozen=True, gc=False):
    """When a user was last there."""

    tenant: str
    user_id: str
    at: int


class ProductSnapshot(Struct, frozen=True, gc=False):
    """A product's card; None for one that was deleted before it was known."""

    tenant: str
    product_id: str
    version: int
    card: str | None


class ShownProductSnapshot(Struct, frozen=True, gc=False):
    """A conversation that shows a product."""

    tenant: str
    product_id: str
    conversation_id: str


class OrderSnapshot(Struct, frozen=True, gc=False):
    """An order's card."""

    tenant: str
    order_id: str
    conversation_id: str
    card: str


class HandledSnapshot(Struct, frozen=True, gc=False):
    """A domain event of others that took effect."""

    tenant: str
    ce_id: str
    handled_at: int


class EventsSnapshot(Struct, frozen=True, gc=False):
    """The packed domain events of a commit group; `last_id` is the greatest id that it wrote."""

    last_id: int
    events: bytes


Item = (
    ConversationSnapshot
    | MessagePage
    | EditPage
    | ChangePage
    | KeySnapshot
    | UserChangeSnapshot
    | BlockSnapshot
    | SuspensionSnapshot
    | UserRevocationSnapshot
    | TokenRevocationSnapshot
    | LastSeenSnapshot
    | ProductSnapshot
    | ShownProductSnapshot
    | OrderSnapshot
    | HandledSnapshot
    | EventsSnapshot
)
"""Whatever is moved. The pages of a conversation follow it."""


class Contents(Struct, frozen=True, kw_only=True):
    """How much a conversation holds; the checksum is over the messages."""

    members: int
    messages: int
    checksum: str
    edits: int
    changes: int


class Checksum:
    """Over messages in the order of ids: their ids and bodies.

    Attributes:
        messages: how many there were.
    """

    def __init__(self) -> None:
        self.messages = 0
        self._digest = sha256()

    def add(self, message_id: int, body: bytes) -> None:
        """Take in the next message."""
        self.messages += 1
        self._digest.update(message_id.to_bytes(8) + len(body).to_bytes(4) + body)

    def text(self) -> str:
        """What it has come to."""
        return self._digest.hexdigest()
