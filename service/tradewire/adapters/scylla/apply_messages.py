"""New messages, edits, deletions, markers."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.draft import Draft, Placed, Sent
from tradewire.adapters.scylla.layout import hour_of, marker_timestamp
from tradewire.adapters.scylla.loads import MARKED, Known, Markers, Written
from tradewire.adapters.scylla.rooms import Room
from tradewire.domain import rules
from tradewire.domain.errors import KeyReused, NotFound, Unavailable
from tradewire.domain.ids import id_ms, parse_timestamp
from tradewire.domain.packing import pack_message, sent_row
from tradewire.domain.types import Message
from tradewire.domain.writes import (
    Deleted,
    DeleteMessage,
    EditMessage,
    Moved,
    MoveMarker,
    NewMessage,
    Stored,
)

EXPIRED_ROWS_S = 8 * 86_400
"""How long after its time the row of an expiring message is kept in the list of those."""

_encode = msgspec.json.Encoder().encode


def send(draft: Draft, write: NewMessage) -> Stored:
    """Apply a NewMessage."""
    tenant, message = write.tenant, write.message
    conversation_id = write.conversation_id
    room = draft.room(tenant, conversation_id)
    if message.key is not None:
        first = _first(draft, write, room)
        if first is not None:
            return Stored(first, duplicate=True)
    message_id, sender = write.message_id, message.sender_id
    timestamp = draft.timestamp(message_id)
    bucket = room.bucket(message_id)
    body = pack_message(message)
    draft.placed.append(
        Placed(message_id, bucket, timestamp, write.content_hash, sender in room.roles)
    )
    draft.messages.append((tenant, message, body))
    draft.record(sent_row(tenant, conversation_id, message_id, body))
    draft.sent.setdefault((tenant, conversation_id), []).append(
        Sent(message_id, sender, message, timestamp)
    )
    draft.list_bucket(room, bucket, timestamp)
    if not room.crowded_at:
        draft.touch(room, message_id, timestamp, sent=True)
    if message.content_type == "product":
        _show_product(draft, write, timestamp)
    return Stored(message, duplicate=False)


def message_rows(tenant: str, message: Message, body: bytes, placed: Placed) -> Iterator[Mutation]:
    """The rows of a new message that are its own: they follow from its event and where it is."""
    conversation_id, sender = message.conversation_id, message.sender_id
    message_id, timestamp = placed.message_id, placed.timestamp
    place = (tenant, conversation_id, placed.bucket)
    if message.expires_at is None:
        yield "ADD_MESSAGE", (*place, message_id, sender, body, timestamp)
    else:
        gone_at = parse_timestamp(message.expires_at)
        yield "PUT_MESSAGE", (*place, message_id, sender, body, gone_at, timestamp)
        lasts = max(gone_at - id_ms(message_id), 0) // 1000 + EXPIRED_ROWS_S
        expiration = (hour_of(gone_at), gone_at, tenant, conversation_id, message_id)
        yield "ADD_EXPIRATION", (*expiration, timestamp, lasts)
    if message.key is not None:
        key = (sender, message.key, message_id, placed.content_hash)
        yield "ADD_KEY", (*place, *key, timestamp)
    if placed.marks:
        marker = (tenant, conversation_id, sender, message_id)
        yield "SENT", (*marker, marker_timestamp(message_id))


def edit(draft: Draft, write: EditMessage) -> Message:
    """Apply an EditMessage."""
    room = draft.room(write.tenant, write.conversation_id)
    written = _written(draft, write)
    if rules.as_of(written.message, id_ms(write.change_id)).deleted:
        raise NotFound(field="message_id")
    _require_younger(write, written.message)
    after, former = rules.edited(written.message, write)
    gone_at = None if after.expires_at is None else parse_timestamp(after.expires_at)
    timestamp = _rewrite(draft, room, after, gone_at, written, write.change_id)
    draft.emit(
        "ADD_EDIT",
        *(room.tenant, room.conversation_id, room.bucket(write.message_id)),
        *(write.message_id, write.change_id, _encode(former).decode(), timestamp),
    )
    draft.change(room, write.change_id, timestamp, "MessageEdited", str(write.message_id))
    return after


def _require_younger(write: EditMessage, message: Message) -> None:
    """Refuse an edit that got its id before the one that is there, on another node: clients keep
    the younger, and so must the store. Tried again, it is younger.
    """
    if message.edited_at and parse_timestamp(message.edited_at) > id_ms(write.change_id):
        raise Unavailable("The message was edited elsewhere in the same moment.")


def delete(draft: Draft, write: DeleteMessage) -> Deleted:
    """Apply a DeleteMessage."""
    room = draft.room(write.tenant, write.conversation_id)
    written = _written(draft, write)
    if written.message.deleted:
        return Deleted(written.message, changed=False)
    after = rules.deleted(written.message)
    timestamp = _rewrite(draft, room, after, 0, written, write.change_id)
    bucket = room.bucket(write.message_id)
    edits = (room.tenant, room.conversation_id, bucket, write.message_id)
    draft.emit("REMOVE_EDITS", timestamp, *edits)
    draft.change(room, write.change_id, timestamp, "MessageDeleted", str(write.message_id))
    return Deleted(after, changed=True)


def move(draft: Draft, write: MoveMarker) -> Moved:
    """Apply a MoveMarker."""
    room = draft.room(write.tenant, write.conversation_id)
    key = ("member", room.tenant, room.conversation_id, write.user_id)
    markers: Markers | None = draft.get(key)
    if markers is None:
        raise NotFound(field="conversation_id")
    read = max(_above(markers.read, room), _own_newest(draft, room, write.user_id))
    delivered = max(read, _above(markers.delivered, room))
    before = read if write.read else delivered
    up_to = min(write.up_to, draft.newest_in(room))
    if up_to <= before:
        return Moved(before, 0, moved=False)
    marked = _marked(draft, room, write.user_id, before, up_to) if write.read else 0
    member = (room.tenant, room.conversation_id, write.user_id)
    change = (write.change_id, not write.public, marker_timestamp(up_to))
    if write.read:
        draft.emit("MOVE_READ", *member, up_to, up_to, *change)
        draft.put(key, Markers(markers.role, up_to, max(delivered, up_to)))
    else:
        draft.emit("MOVE_DELIVERED", *member, up_to, *change)
        draft.put(key, Markers(markers.role, read, up_to))
    draft.newest = max(draft.newest, write.change_id)
    if not room.crowded_at:
        draft.touch(room, write.change_id, draft.timestamp(write.change_id), sent=False)
    return Moved(up_to, marked, moved=True)


def _first(draft: Draft, write: NewMessage, room: Room) -> Message | None:
    """The message that was sent with this key before, if there is one."""
    message = write.message
    key = ("key", write.tenant, write.conversation_id, message.sender_id, message.key)
    known: Known | None = draft.get(key)
    if known is None or known.message_id <= room.deleted_at:
        draft.put(key, Known(write.message_id, write.content_hash))
        return None
    if known.content_hash != write.content_hash:
        raise KeyReused(field="key")
    written = _find(draft, write.tenant, write.conversation_id, known.message_id)
    if written is None:
        raise Unavailable("The first message of this key is being stored; try again.")
    return rules.as_of(written.message, draft.now)


def _find(draft: Draft, tenant: str, conversation_id: str, message_id: int) -> Written | None:
    found: Written | None = draft.get(("message", tenant, conversation_id, message_id))
    if found is not None:
        return found
    for sent in draft.sent.get((tenant, conversation_id), ()):
        if sent.message_id == message_id:
            return Written(sent.message, sent.timestamp)
    return None


def _written(draft: Draft, write: EditMessage | DeleteMessage) -> Written:
    found = _find(draft, write.tenant, write.conversation_id, write.message_id)
    if found is None:
        raise NotFound(field="message_id")
    return found


def _rewrite(
    draft: Draft,
    room: Room,
    message: Message,
    gone_at: int | None,
    written: Written,
    change_id: int,
) -> int:
    """Write a message again, above what is there, whoever wrote it by whatever clock."""
    timestamp = draft.memory.timestamps.over(written.timestamp, change_id)
    place = (room.tenant, room.conversation_id, room.bucket(message.id), message.id)
    row = (*place, message.sender_id, pack_message(message))
    if gone_at is None:
        draft.emit("ADD_MESSAGE", *row, timestamp)
    else:
        draft.emit("PUT_MESSAGE", *row, gone_at, timestamp)
    key = ("message", room.tenant, room.conversation_id, message.id)
    draft.put(key, Written(message, timestamp))
    return timestamp


def _above(marker: int, room: Room) -> int:
    """A marker; one of a former conversation of the same id counts as none."""
    return marker if marker > room.deleted_at else 0


def _own_newest(draft: Draft, room: Room, user_id: str) -> int:
    """The user's newest message in this group, which moved the read marker."""
    sent = draft.sent.get((room.tenant, room.conversation_id), ())
    return max((each.message_id for each in sent if each.sender_id == user_id), default=0)


def _marked(draft: Draft, room: Room, user_id: str, before: int, up_to: int) -> int:
    """Messages of others between the old and the new marker that are there."""
    key = (room.tenant, room.conversation_id)
    stored: list[int] = draft.get(("unread", *key, user_id)) or []
    new = [each.message_id for each in draft.sent.get(key, ()) if each.sender_id != user_id]
    count = sum(before < message_id <= up_to for message_id in (*stored, *new))
    return min(count, MARKED)


def _show_product(draft: Draft, write: NewMessage, timestamp: int) -> None:
    metadata: Any = write.message.metadata or {}
    product_id = metadata.get("product_id")
    if isinstance(product_id, str):
        shown = (write.tenant, product_id, write.conversation_id)
        draft.emit("SHOW_PRODUCT", *shown, timestamp)
