"""Messages and domain events as stored: one versioned blob each, MessagePack arrays.

A blob begins with its format's number; fields are only ever appended, so an older blob reads as a
newer one with defaults.
"""

from collections.abc import Iterable, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw

from tradewire.domain.outbox import DATA_TYPES, DomainEvent, MessageData
from tradewire.domain.types import Message

EventRow = tuple[int, str, str, str, Any]
"""An event before it is packed: id, tenant, type, subject, data."""

_FORMAT = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_decode_events = msgspec.msgpack.Decoder(list[tuple[int, str, str, str, Raw]]).decode
_decode_message = msgspec.msgpack.Decoder(tuple[str, int, Raw]).decode


def pack_message(message: Message) -> bytes:
    """The message without its ids, its receipts' status and what is kept beside it."""
    return _encode(
        (
            _FORMAT,
            message.sender_id,
            message.content_type,
            message.created_at,
            message.text,
            message.key,
            message.metadata,
            message.attachments,
            message.reply_to,
            message.language,
            message.expires_at,
            message.edited_at,
            message.deleted,
        )
    )


def unpack_message(conversation_id: str, message_id: int, blob: bytes | Raw) -> Message:
    """A message as packed, with status `sent`.

    Raises:
        ValueError: the blob is of a newer format.
    """
    fields = _decode(blob)
    if fields[0] != _FORMAT:
        raise ValueError(f"message {message_id} has format {fields[0]}, known is {_FORMAT}")
    return Message(
        message_id=str(message_id),
        conversation_id=conversation_id,
        sender_id=fields[1],
        content_type=fields[2],
        created_at=fields[3],
        status="sent",
        text=fields[4],
        key=fields[5],
        metadata=fields[6],
        attachments=fields[7],
        reply_to=fields[8],
        language=fields[9],
        expires_at=fields[10],
        edited_at=fields[11],
        deleted=fields[12],
    )


def event_row(event: DomainEvent) -> EventRow:
    """An event for `pack_events`, as it is now."""
    data: Any = event.data
    if isinstance(data, MessageData):
        data = (data.message.conversation_id, data.message.id, Raw(pack_message(data.message)))
    return event.id, event.tenant, event.type, event.subject, Raw(_encode(data))


def sent_row(tenant: str, conversation_id: str, message_id: int, packed: bytes) -> EventRow:
    """The `MessageSent` of a packed message for `pack_events`: most events are of this kind."""
    data = (conversation_id, message_id, Raw(packed))
    return message_id, tenant, "MessageSent", conversation_id, data


def pack_events(rows: Iterable[EventRow]) -> bytes:
    """The events of one commit group as one outbox row, in the order of their ids."""
    return _encode(sorted(rows, key=itemgetter(0)))


def unpack_events(blob: bytes) -> list[DomainEvent]:
    """The events of one outbox row, in the order of their ids."""
    return events_of(_decode_events(blob))


def events_of(
    rows: Iterable[EventRow], sent: Mapping[int, Message] = MappingProxyType({})
) -> list[DomainEvent]:
    """The events that these rows are of, in their order.

    Args:
        sent: new messages by their ids, which need not be unpacked.
    """
    return [
        DomainEvent(
            event_id,
            tenant,
            kind,
            subject,
            MessageData(sent[event_id]) if event_id in sent else _unpack_data(kind, data),
        )
        for event_id, tenant, kind, subject, data in rows
    ]


def _unpack_data(kind: str, data: Any) -> msgspec.Struct:
    if DATA_TYPES[kind] is not MessageData:
        return msgspec.msgpack.decode(data, type=DATA_TYPES[kind])
    parts = _decode_message(data) if isinstance(data, Raw) else data
    conversation_id, message_id, blob = parts
    return MessageData(unpack_message(conversation_id, message_id, blob))
