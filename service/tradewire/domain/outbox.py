"""Domain events: what other services are told (protocol §7), derived from what was written.

A store calls `domain_events` for every write that took effect and keeps the events durably with it.
"""

from typing import Any

from msgspec import Struct

from tradewire.domain.ids import timestamp
from tradewire.domain.types import Conversation, Message
from tradewire.domain.writes import (
    AddMember,
    ConversationWrite,
    CreateConversation,
    DeleteMessage,
    EditMessage,
    MoveMarker,
    NewMessage,
    RemoveMember,
    ReviseConversation,
    SetLastSeen,
    Write,
)


class DomainEvent(Struct, frozen=True):
    """One event of the log; `id` is its place in it and its `ce_id`, `subject` its key."""

    id: int
    tenant: str
    type: str
    subject: str
    data: Any


class MessageData(Struct, frozen=True):
    """Data of `MessageSent` and `MessageEdited`."""

    message: Message


class MessageDeletedData(Struct, frozen=True):
    """Data of `MessageDeleted`."""

    conversation_id: str
    message_id: str
    deleted_by: str


class ReceiptData(Struct, frozen=True):
    """Data of `MessageDelivered` and `MessageRead`."""

    conversation_id: str
    user_id: str
    up_to: str


class ConversationData(Struct, frozen=True):
    """Data of `ConversationCreated` and `ConversationUpdated`."""

    conversation: Conversation


class MemberData(Struct, frozen=True):
    """Data of `MemberAdded` and `MemberRemoved`."""

    conversation_id: str
    user_id: str
    role: str


class PresenceData(Struct, frozen=True):
    """Data of `UserOnline` and `UserOffline`."""

    user_id: str
    last_seen: str


DATA_TYPES: dict[str, type[Struct]] = {
    "MessageSent": MessageData,
    "MessageEdited": MessageData,
    "MessageDeleted": MessageDeletedData,
    "MessageDelivered": ReceiptData,
    "MessageRead": ReceiptData,
    "ConversationCreated": ConversationData,
    "ConversationUpdated": ConversationData,
    "MemberAdded": MemberData,
    "MemberRemoved": MemberData,
    "UserOnline": PresenceData,
    "UserOffline": PresenceData,
}
"""What is published, and the type of its data."""


def domain_event(write: Write, result: Any) -> DomainEvent | None:
    """The event that a write with this result causes, if any."""
    match write:
        case NewMessage() if not result.duplicate:
            return _of(write, result.message.id, "MessageSent", MessageData(result.message))
        case EditMessage():
            return _of(write, write.change_id, "MessageEdited", MessageData(result))
        case DeleteMessage() if result.changed:
            return _of(write, write.change_id, "MessageDeleted", _deletion(write))
        case MoveMarker() if result.moved and write.public:
            kind = "MessageRead" if write.read else "MessageDelivered"
            receipt = ReceiptData(write.conversation_id, write.user_id, str(result.up_to))
            return _of(write, write.change_id, kind, receipt)
        case SetLastSeen():
            return _presence(write)
        case _:
            return _conversation_event(write, result)


def _conversation_event(write: Write, result: Any) -> DomainEvent | None:
    match write:
        case CreateConversation() if result == "created":
            made = ConversationData(write.conversation)
            return _of(write, write.change_id, "ConversationCreated", made)
        case ReviseConversation():
            return _of(write, write.change_id, "ConversationUpdated", ConversationData(result))
        case AddMember() if result:
            member = MemberData(write.conversation_id, write.member.user_id, write.member.role)
            return _of(write, write.change_id, "MemberAdded", member)
        case RemoveMember() if result:
            left = MemberData(write.conversation_id, write.user_id, result)
            return _of(write, write.change_id, "MemberRemoved", left)
        case _:
            return None


def _deletion(write: DeleteMessage) -> MessageDeletedData:
    return MessageDeletedData(write.conversation_id, str(write.message_id), write.deleted_by)


def _of(write: ConversationWrite, event_id: int, kind: str, data: Struct) -> DomainEvent:
    return DomainEvent(event_id, write.tenant, kind, write.conversation_id, data)


def _presence(write: SetLastSeen) -> DomainEvent:
    kind = "UserOnline" if write.online else "UserOffline"
    data = PresenceData(write.user_id, timestamp(write.last_seen))
    return DomainEvent(write.event_id, write.tenant, kind, write.user_id, data)
