"""What may be written: one value per kind of change of state.

A use case decides, then appends a `Unit` of writes to the store's commit group (ports.Store). The
unit takes effect whole or not at all, and every write yields a result, listed at its class. Ids are
issued right before the unit is appended, so units commit in the order of their ids.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from tradewire.domain.types import (
    Conversation,
    ConversationStatus,
    Member,
    Message,
    Metadata,
    OrderCard,
    ProductCard,
    Role,
    StatusChange,
)


class Write(Struct, kw_only=True, frozen=True, gc=False):
    """A change of one tenant's state."""

    tenant: str


class ConversationWrite(Write, frozen=True):
    """A change within one conversation."""

    conversation_id: str


class NewMessage(ConversationWrite, frozen=True):
    """Adds a message and its `MessageSent`; moves the sender's read marker to it.

    Result: `Stored(message, duplicate)`. With a key that is known (48 h), nothing is written and
    the first message comes back as a duplicate.

    Raises:
        KeyReused: the key is known with other content (`content_hash`).
        NotFound: the conversation is gone.

    Attributes:
        message_id: the id of the message as a number.
        message: its `key` is the idempotency key, if it has one.
        fresh: the key is known to be new: it is recorded but need not be looked up.
        broadcast: more members than limits.RECEIPT_MEMBERS: no inbox order, no unread mark.
    """

    message_id: int
    message: Message
    content_hash: bytes = b""
    fresh: bool = False
    broadcast: bool = False


class EditMessage(ConversationWrite, frozen=True):
    """Gives a message other content, keeps the former text. Result: the `Message`.

    Raises:
        NotFound: there is no such message, or it is deleted.
    """

    message_id: int
    change_id: int
    text: str | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class DeleteMessage(ConversationWrite, frozen=True):
    """Empties a message, drops its former texts. Result: `Deleted(message, changed)`.

    Raises:
        NotFound: there is no such message.
    """

    message_id: int
    change_id: int
    deleted_by: str


class MoveMarker(ConversationWrite, frozen=True):
    """Moves a read or delivered marker forward, never back. Result: `Moved`.

    `up_to` is cut to the newest message. Reading moves the delivered marker too. A marker that does
    not move writes nothing.

    Raises:
        NotFound: the user is no member.

    Attributes:
        public: tell the other members (a change and a domain event), not only the user's devices.
    """

    user_id: str
    read: bool
    up_to: int
    change_id: int
    public: bool = True


class CreateConversation(ConversationWrite, frozen=True):
    """Makes a conversation unless its id exists. Result: `Creation`.

    A direct conversation that existed is shown again to `shown_to` if that member had hidden it,
    who hears of it as of a new one (`ConversationCreated`).
    """

    change_id: int
    conversation: Conversation
    members: tuple[Member, ...]
    shown_to: str


class ReviseConversation(ConversationWrite, frozen=True):
    """Changes what is not UNSET. Result: the `Conversation`, without members.

    Raises:
        NotFound: the conversation is gone.
    """

    change_id: int
    title: str | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    status: ConversationStatus | UnsetType = UNSET


class SetOwnSettings(ConversationWrite, frozen=True):
    """Changes a member's own settings; told to that member's devices only. Result: `OwnSettings`.

    Raises:
        NotFound: the user is no member.

    Attributes:
        muted_until: ms since 1970; None unmutes.
        hidden: out of the inbox until the next message.
    """

    user_id: str
    change_id: int
    archived: bool | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    muted_until: int | UnsetType | None = UNSET
    hidden: bool | UnsetType = UNSET


class AddMember(ConversationWrite, frozen=True):
    """Adds a member. Result: `bool`, False when the user was one already (nothing changes).

    Raises:
        NotFound: the conversation is gone.
    """

    change_id: int
    member: Member


class RemoveMember(ConversationWrite, frozen=True):
    """Removes a member. Result: the `Role` that the member had, None when the user was none."""

    change_id: int
    user_id: str


class SetRole(ConversationWrite, frozen=True):
    """Gives a member another role. Result: `bool`, False when the user is no member."""

    change_id: int
    user_id: str
    role: Role


class DeleteConversation(ConversationWrite, frozen=True):
    """Deletes a conversation with all that belongs to it. Result: user ids of its members.

    They hear of it by a change of their own (resume). Empty when it was gone already.
    """

    change_id: int


class LinkOrder(ConversationWrite, frozen=True):
    """Stores an order, links it to a conversation. Result: `bool`, False when it was known.

    Raises:
        NotFound: the conversation is gone.
    """

    change_id: int
    order: OrderCard


class SetOrderStatus(Write, frozen=True):
    """Adds a status to an order. Result: `OrderChanged | None`, None when it was known already.

    The card's status is that with the newest `changed_at`, whatever the order of arrival.

    Raises:
        NotFound: there is no such order.
    """

    change_id: int
    order_id: str
    change: StatusChange


class PutProduct(Write, frozen=True):
    """Stores a product's card unless a newer or the same version is there. Result: `bool`."""

    product: ProductCard


class RetireProduct(Write, frozen=True):
    """Gives a product the status `deleted` unless a newer version is there. Result: `bool`.

    An unknown product is remembered, so that a late older version does not bring it back.
    """

    product_id: str
    version: int


class TouchProduct(ConversationWrite, frozen=True):
    """Records that a product shown in a conversation changed. Result: None."""

    change_id: int
    product_id: str


class SetBlock(Write, frozen=True):
    """Blocks a user, or takes the block back. Result: `bool`, whether anything changed."""

    change_id: int
    user_id: str
    blocked_id: str
    blocked: bool


class SetSuspension(Write, frozen=True):
    """Suspends a user on the whole platform until a time (ms, None: for good), or lifts it.

    Result: None.
    """

    change_id: int
    user_id: str
    suspended: bool
    until: int | None = None
    reason: str | None = None


class Revoke(Write, frozen=True):
    """Refuses the tokens of a user that were issued before the time of `change_id`, or else one
    token by its id. Result: None.

    A token that is refused stays so for limits.REVOCATION_DAYS at least.
    """

    change_id: int
    user_id: str | None = None
    token_id: str | None = None


class SetLastSeen(Write, frozen=True):
    """Records that a user came or went, with its `UserOnline` or `UserOffline`. Result: None."""

    event_id: int
    user_id: str
    online: bool
    last_seen: int


Creation = Literal["created", "shown", "known"]
"""What became of a `CreateConversation`: made, there but shown again to one who had hidden it, or
just there."""


class Unit(Struct, frozen=True, gc=False):
    """Writes that take effect together.

    Attributes:
        writes: applied in this order, all or none.
        handles: `(tenant, ce_id)` of the domain event that this unit is the effect of. A unit whose
            event was handled before writes nothing and its results are empty.
    """

    writes: tuple[Write, ...]
    handles: tuple[str, str] | None = None


class Stored(Struct, frozen=True, gc=False):
    """What became of a `NewMessage`."""

    message: Message
    duplicate: bool


class Deleted(Struct, frozen=True):
    """What became of a `DeleteMessage`; `changed` is False when it was deleted before."""

    message: Message
    changed: bool


class Moved(Struct, frozen=True):
    """A marker after `MoveMarker`.

    Attributes:
        up_to: where the marker stands now.
        marked: messages of others between the old and the new read marker, deleted ones left out;
            0 for a delivered marker.
        moved: whether it moved at all.
    """

    up_to: int
    marked: int
    moved: bool


class OwnSettings(Struct, frozen=True):
    """A member's own settings after `SetOwnSettings`; `muted_until` in ms since 1970."""

    archived: bool
    pinned: bool
    muted_until: int | None


class OrderChanged(Struct, frozen=True):
    """An order after `SetOrderStatus`, and the conversation that it is linked to."""

    conversation_id: str
    order: OrderCard
