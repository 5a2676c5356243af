"""What a connected client is told (protocol §5).

All but typing, presence and the connection's own carry an id of the one id space: a new message its
`message_id`, any change its `change_id`.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from tradewire.domain.types import (
    Conversation,
    ConversationId,
    Member,
    Message,
    MessageId,
    Name,
    OrderCard,
    ProductCard,
    Role,
    Timestamp,
)


class Event(Struct, kw_only=True, tag_field="type", tag=True, gc=False):
    """Something a client is told without having asked."""


class Change(Event):
    """An event that a resuming client hears again if it was missed."""

    change_id: MessageId


class MessageReceived(Event):
    """A new message, to every member and to the sender's other devices."""

    message: Message


class MessageEdited(Change):
    """A message has another text or other metadata."""

    message: Message


class MessageDeleted(Change):
    """A message was emptied and marked deleted."""

    message: Message


class MessageDelivered(Change):
    """A member's device has received all up to an id."""

    conversation_id: ConversationId
    user_id: Name
    up_to: MessageId


class MessageRead(Change):
    """A member has read all up to an id."""

    conversation_id: ConversationId
    user_id: Name
    up_to: MessageId


class ConversationCreated(Change):
    """A conversation that the receiver is a member of was made."""

    conversation: Conversation


class ConversationUpdated(Change):
    """A conversation changed, or the receiver's own settings of it."""

    conversation: Conversation


class ConversationDeleted(Change):
    """A conversation is gone for everyone, or hidden by the receiver."""

    conversation_id: ConversationId


class MemberAdded(Change):
    """A user joined."""

    conversation_id: ConversationId
    user_id: Name
    member: Member


class MemberRemoved(Change):
    """A user left or was removed."""

    conversation_id: ConversationId
    user_id: Name


class MemberRoleChanged(Change):
    """A member has another role."""

    conversation_id: ConversationId
    user_id: Name
    role: Role


class OrderLinked(Change):
    """An order belongs to a conversation from now on."""

    conversation_id: ConversationId
    order: OrderCard


class OrderUpdated(Change):
    """An order took another status."""

    conversation_id: ConversationId
    order: OrderCard


class ProductUpdated(Change):
    """A product's card changed: redraw it wherever it is shown."""

    conversation_id: ConversationId
    product: ProductCard


class UserBlocked(Change):
    """The receiver blocked a user (or took it back), on this or another device."""

    user_id: Name
    blocked: bool


class TypingStarted(Event):
    """A member is typing; it lasts 5 s unless renewed."""

    conversation_id: ConversationId
    user_id: Name


class TypingStopped(Event):
    """A member stopped typing."""

    conversation_id: ConversationId
    user_id: Name


class UserOnline(Event):
    """A watched user is there; `status` is `online` or `away`."""

    user_id: Name
    status: str


class UserOffline(Event):
    """A watched user is gone."""

    user_id: Name
    last_seen: Timestamp | None


class Welcome(Event):
    """The first event of a connection; `conversations` is the first inbox page if asked for."""

    session_id: str
    user_id: Name
    device_id: Name
    server_time: Timestamp
    heartbeat_s: int
    protocol: str
    cursor: MessageId
    limits: dict[str, int]
    conversations: list[Conversation] | UnsetType = UNSET


class SyncCompleted(Event):
    """All that was missed has been sent; if `truncated`, reload the pages that are shown."""

    cursor: MessageId
    truncated: bool


class TokenExpiring(Event):
    """The token ends soon: send RefreshToken."""

    expires_at: Timestamp


class Reconnect(Event):
    """The server is about to close this connection: come back after so many milliseconds."""

    after_ms: int


class Reply(Event):
    """The answer to a command: `result`, or `error`."""

    id: int | str | None
    result: Any = UNSET
    error: Any = UNSET
