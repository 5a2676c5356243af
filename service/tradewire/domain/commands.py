"""What a client may ask for, one typed command each (protocol §4).

The types are what the server decodes with: a field's range stands here and nowhere else. What needs
more than one field, or the state of a conversation, is checked by the use case.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewire.domain import limits
from tradewire.domain.types import (
    ContentType,
    ConversationId,
    ConversationStatus,
    MessageId,
    Metadata,
    Name,
    Presence,
    Role,
    Timestamp,
    Title,
    TokenId,
)

RequestId = (
    Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | Annotated[str, Meta(max_length=64)]
)
Names = Annotated[list[Name], Meta(min_length=1, max_length=limits.MEMBERS_PER_REQUEST)]
Watched = Annotated[list[Name], Meta(max_length=limits.PRESENCE_USERS)]
Cursor = Annotated[str, Meta(max_length=512)]
Text = Annotated[str, Meta(min_length=1, extra_json_schema={"maxLength": limits.TEXT_CHARACTERS})]
"""Its greatest length has an error of its own, so the decoder lets a longer one through."""


class Command(Struct, kw_only=True, tag_field="type", tag=True, gc=False):
    """A command; `id` comes back in its reply."""

    id: RequestId | None = None


class CreateConversation(Command):
    """Finds or makes a direct conversation, or makes a group or channel."""

    kind: Literal["direct", "group", "channel"] = "direct"
    listing_id: Name | None = None
    product_id: Name | None = None
    user_id: Name | None = None
    seller_id: Name | None = None
    buyer_id: Name | None = None
    title: Title | None = None
    member_ids: Annotated[list[Name], Meta(max_length=limits.MEMBERS_PER_REQUEST)] = []
    metadata: Metadata | None = None


class GetConversation(Command):
    """One conversation as its reader sees it."""

    conversation_id: ConversationId


class GetUserConversations(Command):
    """A page of the caller's inbox."""

    archived: bool | Literal["true", "false", "any"] = False
    muted: bool | None = None
    status: ConversationStatus | None = None
    listing_id: Name | None = None
    unread: bool | None = None
    sort: Literal["last_activity", "created_at"] = "last_activity"
    order: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, Meta(ge=1, le=limits.INBOX_PAGE_MAX)] = limits.INBOX_PAGE
    cursor: Cursor | None = None


class UpdateConversation(Command):
    """Changes a title, the metadata or the status; what is left out stays."""

    conversation_id: ConversationId
    title: Title | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    status: ConversationStatus | UnsetType = UNSET


class ArchiveConversation(Command):
    """Moves a conversation out of the caller's inbox, or back."""

    conversation_id: ConversationId
    archived: bool


class MuteConversation(Command):
    """Mutes a conversation for the caller until a time; null unmutes."""

    conversation_id: ConversationId
    until: Timestamp | None


class PinConversation(Command):
    """Pins a conversation in the caller's inbox, or unpins it."""

    conversation_id: ConversationId
    pinned: bool


class DeleteConversation(Command):
    """Hides a conversation from the caller until a new message, or deletes it for everyone."""

    conversation_id: ConversationId
    scope: Literal["me", "everyone"] = "me"


class AddMembers(Command):
    """Adds users to a group or channel as members."""

    conversation_id: ConversationId
    user_ids: Names


class RemoveMember(Command):
    """Removes a user; naming oneself is leaving."""

    conversation_id: ConversationId
    user_id: Name


class SetMemberRole(Command):
    """Gives a member another role."""

    conversation_id: ConversationId
    user_id: Name
    role: Role


class GetMembers(Command):
    """A page of the members, by user id."""

    conversation_id: ConversationId
    limit: Annotated[int, Meta(ge=1, le=limits.MEMBERS_PAGE_MAX)] = limits.MEMBERS_PAGE
    cursor: Cursor | None = None


class SendMessage(Command):
    """Sends a message; with a key, a retry is safe."""

    conversation_id: ConversationId
    key: Annotated[str, Meta(min_length=1, max_length=limits.KEY_CHARACTERS)] | None = None
    content_type: ContentType = "text"
    text: Text | None = None
    metadata: Metadata | None = None
    attachment_ids: Annotated[list[Name], Meta(max_length=limits.ATTACHMENTS)] = []
    reply_to: MessageId | None = None
    language: Annotated[str, Meta(pattern=r"^[a-z]{2}$(?!\n)")] | None = None
    expires_in_s: Annotated[int, Meta(ge=1, le=366 * 86_400)] | None = None


class EditMessage(Command):
    """Gives a message of the caller's another text or other metadata."""

    conversation_id: ConversationId
    message_id: MessageId
    text: Text | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class DeleteMessage(Command):
    """Empties a message and marks it deleted."""

    conversation_id: ConversationId
    message_id: MessageId


class GetMessage(Command):
    """One message."""

    conversation_id: ConversationId
    message_id: MessageId


class GetMessageEdits(Command):
    """The texts a message had before, oldest first."""

    conversation_id: ConversationId
    message_id: MessageId


class GetMessages(Command):
    """A page of the history before, after or around an id; the newest page without any."""

    conversation_id: ConversationId
    before: MessageId | None = None
    after: MessageId | None = None
    around: MessageId | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE


class MarkMessagesAsRead(Command):
    """Marks messages as read: up to an id, the listed ones, or all."""

    conversation_id: ConversationId
    up_to: MessageId | None = None
    message_ids: Annotated[list[MessageId], Meta(min_length=1, max_length=1_000)] | None = None
    all: bool = False


class MarkMessagesAsDelivered(Command):
    """Says that the caller's device has received all up to an id."""

    conversation_id: ConversationId
    up_to: MessageId


class GetUnreadCount(Command):
    """Unread messages in all and by conversation."""


class SetTypingIndicator(Command):
    """Says that the caller is typing; it lasts 5 s."""

    conversation_id: ConversationId
    typing: bool


class GetTypingIndicators(Command):
    """Who is typing."""

    conversation_id: ConversationId


class SetOnlineStatus(Command):
    """Sets how the caller appears to those who watch."""

    status: Presence


class GetOnlineStatus(Command):
    """Whether users are there, and when they were last seen."""

    user_ids: Watched


class WatchPresence(Command):
    """Events about just these users follow on this connection; an empty list ends it."""

    user_ids: Watched


class BlockUser(Command):
    """Stops messages between the caller and a user, both ways."""

    user_id: Name


class UnblockUser(Command):
    """Takes the caller's block of a user back."""

    user_id: Name


class GetBlockedUsers(Command):
    """Whom the caller has blocked."""


class Revoke(Command):
    """Refuses the tokens that a user has now, or one token; for the roles admin and service."""

    user_id: Name | None = None
    token_id: TokenId | None = None


class RefreshToken(Command):
    """Replaces the token of this connection."""

    token: Annotated[str, Meta(min_length=1, max_length=8_192)]


class Ping(Command):
    """Answers with the cursor and the server's time."""


COMMANDS: tuple[type[Command], ...] = tuple(Command.__subclasses__())
"""Every command, in the order of the protocol's table."""
