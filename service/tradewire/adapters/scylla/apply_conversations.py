"""Writes to conversations and to who is in them."""

import msgspec
from msgspec import UNSET, structs

from tradewire.adapters.scylla.draft import Draft, scopes
from tradewire.adapters.scylla.layout import (
    DAY_MS,
    buckets_between,
    marker_timestamp,
    oldest_change,
    slot_of,
)
from tradewire.adapters.scylla.loads import Membership
from tradewire.adapters.scylla.rooms import AGE_S, Room, encode_metadata
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import TIME_SHIFT
from tradewire.domain.limits import CHANGES_DAYS, RECEIPT_MEMBERS
from tradewire.domain.types import Conversation, Member, Role
from tradewire.domain.writes import (
    AddMember,
    CreateConversation,
    Creation,
    DeleteConversation,
    LinkOrder,
    OwnSettings,
    RemoveMember,
    ReviseConversation,
    SetOwnSettings,
    SetRole,
)

STALE = int(2 * AGE_S * 1000) << TIME_SHIFT
"""For how long, in ids, another node may write to a conversation without knowing a new member."""

_encode = msgspec.json.Encoder().encode


def create(draft: Draft, write: CreateConversation) -> Creation:
    """Apply a CreateConversation."""
    existing = draft.find(write.tenant, write.conversation_id)
    if existing is not None:
        return _show_again(draft, write, existing)
    conversation, change_id = write.conversation, write.change_id
    crowded = len(write.members) > RECEIPT_MEMBERS
    room = Room(
        tenant=write.tenant,
        conversation_id=write.conversation_id,
        created=change_id,
        deleted_at=0,
        crowded_at=change_id if crowded else 0,
        kind=conversation.kind,
        status=conversation.status,
        created_at=conversation.created_at,
        created_by=conversation.created_by,
        listing_id=conversation.listing_id,
        product_id=conversation.product_id,
        title=conversation.title,
        metadata=encode_metadata(conversation.metadata),
        orders={},
        roles={member.user_id: member.role for member in write.members},
    )
    timestamp = draft.timestamp(change_id)
    _add_conversation(draft, room, timestamp)
    for member in write.members:
        _join(draft, room, member, change_id, timestamp)
        draft.touch_user(room, member.user_id, *_place(room, change_id), timestamp)
    draft.change(room, change_id, timestamp, "ConversationCreated")
    draft.keep(room)
    return "created"


def revise(draft: Draft, write: ReviseConversation) -> Conversation:
    """Apply a ReviseConversation."""
    room = draft.room(write.tenant, write.conversation_id)
    timestamp = draft.timestamp(write.change_id)
    key = (room.tenant, room.conversation_id)
    if write.title is not UNSET:
        room = structs.replace(room, title=write.title)
        draft.emit("SET_TITLE", *key, write.title, timestamp)
    if write.metadata is not UNSET:
        room = structs.replace(room, metadata=encode_metadata(write.metadata))
        draft.emit("SET_METADATA", *key, room.metadata, timestamp)
    if write.status is not UNSET:
        room = structs.replace(room, status=write.status)
        draft.emit("SET_STATUS", *key, write.status, timestamp)
    draft.keep(room)
    draft.change(room, write.change_id, timestamp, "ConversationUpdated")
    return room.conversation()


def set_own(draft: Draft, write: SetOwnSettings) -> OwnSettings:
    """Apply a SetOwnSettings."""
    room = draft.room(write.tenant, write.conversation_id)
    key = ("membership", room.tenant, room.conversation_id, write.user_id)
    own: Membership | None = draft.get(key)
    if own is None:
        raise NotFound(field="conversation_id")
    place = (room.tenant, write.user_id, room.conversation_id)
    timestamp = draft.timestamp(write.change_id)
    if write.archived is not UNSET:
        own = own._replace(archived=write.archived)
        draft.emit("SET_ARCHIVED", *place, write.archived, timestamp)
    if write.pinned is not UNSET:
        own = own._replace(pinned=write.pinned)
        draft.emit("SET_PINNED", *place, write.pinned, timestamp)
    if write.muted_until is not UNSET:
        own = own._replace(muted_until=write.muted_until or 0)
        draft.emit("SET_MUTED", *place, own.muted_until, timestamp)
    if write.hidden is not UNSET:
        own = own._replace(hidden_at=write.change_id if write.hidden else 0)
        draft.emit("SET_HIDDEN", *place, own.hidden_at, timestamp)
    draft.put(key, own)
    kind = "ConversationDeleted" if write.hidden is True else "ConversationUpdated"
    draft.tell(room.tenant, write.user_id, write.change_id, room.conversation_id, kind)
    return OwnSettings(own.archived, own.pinned, own.muted_until or None)


def add_member(draft: Draft, write: AddMember) -> bool:
    """Apply an AddMember."""
    room, member = draft.room(write.tenant, write.conversation_id), write.member
    if member.user_id in room.roles:
        return False
    change_id = write.change_id
    timestamp = draft.timestamp(change_id)
    room = structs.replace(room, roles={**room.roles, member.user_id: member.role})
    room = _crowd(draft, room, change_id, timestamp)
    draft.keep(room)
    _join(draft, room, member, change_id, timestamp)
    if room.crowded_at:
        draft.touch_user(room, member.user_id, *_place(room, room.crowded_at), timestamp)
    else:
        newest = draft.newest_in(room) or room.created
        draft.touch_user(room, member.user_id, *_place(room, newest), timestamp)
        # Another node may not know of this member for a while: what it tells the others then is
        # found by this row.
        draft.touch_user(room, member.user_id, *_place(room, change_id + STALE), timestamp)
    draft.change(room, change_id, timestamp, "MemberAdded", member.user_id)
    return True


def remove_member(draft: Draft, write: RemoveMember) -> Role | None:
    """Apply a RemoveMember."""
    room = draft.find(write.tenant, write.conversation_id)
    role = room.roles.get(write.user_id) if room is not None else None
    if room is None or role is None:
        return None
    change_id, user_id = write.change_id, write.user_id
    timestamp = draft.timestamp(change_id)
    room = structs.replace(
        room, roles={user: role for user, role in room.roles.items() if user != user_id}
    )
    draft.keep(room)
    _leave(draft, room, user_id, timestamp)
    draft.change(room, change_id, timestamp, "MemberRemoved", user_id)
    draft.tell(room.tenant, user_id, change_id, room.conversation_id, "MemberRemoved", user_id)
    return role


def set_role(draft: Draft, write: SetRole) -> bool:
    """Apply a SetRole."""
    room = draft.find(write.tenant, write.conversation_id)
    if room is None or write.user_id not in room.roles:
        return False
    timestamp = draft.timestamp(write.change_id)
    room = structs.replace(room, roles={**room.roles, write.user_id: write.role})
    draft.keep(room)
    draft.emit("SET_ROLE", room.tenant, room.conversation_id, write.user_id, write.role, timestamp)
    draft.change(room, write.change_id, timestamp, "MemberRoleChanged", write.user_id)
    return True


def delete(draft: Draft, write: DeleteConversation) -> list[str]:
    """Apply a DeleteConversation: whole partitions go, a row stays that says so."""
    room = draft.find(write.tenant, write.conversation_id)
    if room is None:
        return []
    change_id = write.change_id
    key = (room.tenant, room.conversation_id)
    for user_id in room.roles:
        _leave(draft, room, user_id, draft.timestamp(change_id))
        draft.tell(room.tenant, user_id, change_id, room.conversation_id, "ConversationDeleted")
    timestamp = draft.timestamp(change_id)
    draft.emit("CLEAR_CONVERSATION", timestamp, *key)
    draft.emit("MARK_DELETED", *key, change_id, draft.timestamp(change_id))
    buckets = {*(draft.get(("buckets", *key)) or ()), draft.memory.buckets.get(key, -1)}
    for bucket in buckets:
        for name in ("CLEAR_MESSAGES", "CLEAR_KEYS", "CLEAR_EDITS"):
            draft.emit(name, timestamp, *key, bucket)
    oldest = oldest_change(draft.now, CHANGES_DAYS)
    for bucket in buckets_between(room.kind, oldest, change_id + (DAY_MS << TIME_SHIFT)):
        draft.emit("CLEAR_CHANGES", timestamp, *key, bucket)
    draft.emit("CLEAR_BUCKETS", timestamp, *key)
    draft.put(("room", *key), None)
    draft.unlist(room)
    return list(room.roles)


def link_order(draft: Draft, write: LinkOrder) -> bool:
    """Apply a LinkOrder."""
    order = write.order
    known = ("order", write.tenant, order.order_id)
    if draft.get(known) is not None:
        return False
    room = draft.room(write.tenant, write.conversation_id)
    timestamp = draft.timestamp(write.change_id)
    card = (write.tenant, order.order_id, room.conversation_id, _encode(order).decode())
    draft.emit("ADD_ORDER", *card, timestamp)
    linked = {write.change_id: order.order_id}
    draft.emit("LINK_ORDER", timestamp, linked, room.tenant, room.conversation_id)
    draft.put(known, (room.conversation_id, order))
    room = structs.replace(room, orders={**room.orders, **linked})
    draft.keep(room)
    draft.change(room, write.change_id, timestamp, "OrderLinked", order.order_id)
    return True


def _show_again(draft: Draft, write: CreateConversation, room: Room) -> Creation:
    key = ("membership", room.tenant, room.conversation_id, write.shown_to)
    own: Membership | None = draft.get(key)
    if own is None or not own.hidden_at or draft.newest_in(room) > own.hidden_at:
        return "known"
    draft.put(key, own._replace(hidden_at=0))
    place = (room.tenant, write.shown_to, room.conversation_id)
    draft.emit("SET_HIDDEN", *place, 0, draft.timestamp(write.change_id))
    draft.tell(
        *(room.tenant, write.shown_to, write.change_id),
        *(room.conversation_id, "ConversationCreated"),
    )
    return "shown"


def _add_conversation(draft: Draft, room: Room, timestamp: int) -> None:
    draft.emit(
        "ADD_CONVERSATION",
        *(room.tenant, room.conversation_id, room.created, room.kind, room.status),
        *(room.created_at, room.created_by, room.listing_id, room.product_id),
        *(room.title, room.metadata, timestamp),
    )
    if room.crowded_at:
        draft.emit("SET_CROWDED", room.tenant, room.conversation_id, room.crowded_at, timestamp)
    if room.product_id is not None:
        shown = (room.tenant, room.product_id, room.conversation_id)
        draft.emit("SHOW_PRODUCT", *shown, timestamp)


def _join(draft: Draft, room: Room, member: Member, change_id: int, timestamp: int) -> None:
    """The rows of a member, seen from the conversation and from the user."""
    user_id = member.user_id
    row = (room.tenant, room.conversation_id, user_id)
    draft.emit("PUT_MEMBER", *row, member.role, member.joined_at, timestamp)
    read, delivered = int(member.last_read_id), int(member.last_delivered_id)
    if read or delivered:
        markers = (read, delivered, marker_timestamp(max(read, delivered)))
        draft.emit("SET_MARKERS", *row, *markers)
    place = (room.tenant, user_id, room.conversation_id)
    draft.emit("JOIN", *place, change_id, room.created, timestamp)
    for scope in scopes(room, user_id):
        creation = (room.tenant, scope, room.created, room.conversation_id)
        draft.emit("ADD_CREATION", *creation, timestamp)
    if room.crowded_at:
        draft.emit("ADD_CROWD", *place, timestamp)


def _leave(draft: Draft, room: Room, user_id: str, timestamp: int) -> None:
    draft.emit("SET_ROLE", room.tenant, room.conversation_id, user_id, "", timestamp)
    draft.emit("LEAVE", room.tenant, user_id, room.conversation_id, timestamp)


def _crowd(draft: Draft, room: Room, change_id: int, timestamp: int) -> Room:
    """Note that a conversation has become too crowded for activity rows."""
    if room.crowded_at or len(room.roles) <= RECEIPT_MEMBERS:
        return room
    room = structs.replace(room, crowded_at=change_id)
    draft.emit("SET_CROWDED", room.tenant, room.conversation_id, change_id, timestamp)
    for user_id in room.roles:
        draft.emit("ADD_CROWD", room.tenant, user_id, room.conversation_id, timestamp)
        draft.touch_user(room, user_id, *_place(room, change_id), timestamp)
    return room


def _place(room: Room, value: int) -> tuple[int, int]:
    """The slot of an id, and the bucket that says that the inbox finds the conversation there."""
    return slot_of(value), room.bucket(value)
