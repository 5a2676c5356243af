"""What the commands answer (protocol §1 "results", §4)."""

from msgspec import UNSET, Struct, UnsetType

from tradewire.domain.types import Conversation, Edit, Member, Message, Timestamp, UserStatus


class Nothing(Struct):
    """Done, and nothing to tell."""


class ConversationResult(Struct):
    """A conversation; `created` only from CreateConversation."""

    conversation: Conversation
    created: bool | UnsetType = UNSET


class ConversationsResult(Struct):
    """A page of the inbox; `unread_total` leaves out archived and muted conversations."""

    conversations: list[Conversation]
    next_cursor: str | None
    unread_total: int


class MembersResult(Struct):
    """Members; `next_cursor` only from GetMembers."""

    members: list[Member]
    next_cursor: str | UnsetType | None = UNSET


class MessageResult(Struct, gc=False):
    """A message; `duplicate` only from SendMessage."""

    message: Message
    duplicate: bool | UnsetType = UNSET


class MessagesResult(Struct):
    """A page of history, oldest first; `next_cursor` is the id to go on with."""

    messages: list[Message]
    has_more: bool
    next_cursor: str | None


class EditsResult(Struct):
    """Former texts, oldest first."""

    edits: list[Edit]


class ReadResult(Struct):
    """How many messages were newly read, and the marker."""

    marked_count: int
    last_read_id: str


class UnreadResult(Struct):
    """Unread counts; `capped` says that some count stopped at its limit."""

    total: int
    by_conversation: dict[str, int]
    capped: bool


class TypingResult(Struct):
    """Who is typing."""

    user_ids: list[str]


class StatusesResult(Struct):
    """Who is there."""

    statuses: list[UserStatus]


class BlockedUsersResult(Struct):
    """Whom the caller has blocked."""

    user_ids: list[str]


class TokenResult(Struct):
    """When the new token ends."""

    expires_at: Timestamp


class PongResult(Struct):
    """All events up to `cursor` have been sent on this connection."""

    cursor: str
    server_time: Timestamp


Result = (
    Nothing | ConversationResult | ConversationsResult | MembersResult | MessageResult
    | MessagesResult | EditsResult | ReadResult | UnreadResult | TypingResult | StatusesResult
    | BlockedUsersResult | TokenResult | PongResult
)  # fmt: skip
