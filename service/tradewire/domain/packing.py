"""Messages and domain events as stored: one versioned blob each, MessagePack arrays.

A blob begins with its format's number; fields are only ever appended, so an older blob reads as a
newer one with defaults.
"""

from typing import Any

import msgspec

from tradewire.domain.outbox import DATA_TYPES, DomainEvent, MessageData
from tradewire.domain.types import Message

_FORMAT = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_decode_events = msgspec.msgpack.Decoder(list[tuple[int, str, str, str, msgspec.Raw]]).decode


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


def unpack_message(conversation_id: str, message_id: int, blob: bytes) -> Message:
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


def pack_event(event: DomainEvent, packed_message: bytes | None = None) -> bytes:
    """One event; `packed_message` is its message if the caller has packed it already."""
    data = event.data
    if isinstance(data, MessageData):
        blob = packed_message or pack_message(data.message)
        data = (data.message.conversation_id, data.message.id, msgspec.Raw(blob))
    return _encode((event.id, event.tenant, event.type, event.subject, data))


def pack_sent(tenant: str, conversation_id: str, message_id: int, packed_message: bytes) -> bytes:
    """The `MessageSent` of a message as `pack_event` packs it: most events are of this kind."""
    data = (conversation_id, message_id, msgspec.Raw(packed_message))
    return _encode((message_id, tenant, "MessageSent", conversation_id, data))


def pack_events(packed: list[bytes]) -> bytes:
    """The events of one commit group, each packed by `pack_event`, as one outbox row."""
    return _encode([msgspec.Raw(event) for event in packed])


def unpack_events(blob: bytes) -> list[DomainEvent]:
    """The events of one outbox row, in the order of their ids."""
    return [
        DomainEvent(event_id, tenant, kind, subject, _unpack_data(kind, data))
        for event_id, tenant, kind, subject, data in _decode_events(blob)
    ]


def _unpack_data(kind: str, data: msgspec.Raw) -> msgspec.Struct:
    if DATA_TYPES[kind] is not MessageData:
        return msgspec.msgpack.decode(data, type=DATA_TYPES[kind])
    conversation_id, message_id, blob = msgspec.msgpack.decode(
        data, type=tuple[str, int, msgspec.Raw]
    )
    return MessageData(unpack_message(conversation_id, message_id, bytes(blob)))
