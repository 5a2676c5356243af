"""The rows of what comes from another store.

Every timestamp follows from ids, so writing it all again changes nothing. Messages and changes have
that of their id; whatever may have changed since it was made has one just below that of the newest
id there is: all that a node writes later is above it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tradewire.adapters.scylla.apply_messages import EXPIRED_ROWS_S
from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.draft import Bounded, scopes
from tradewire.adapters.scylla.layout import (
    bucket_of,
    hour_of,
    marker_timestamp,
    period_of,
    slot_of,
)
from tradewire.adapters.scylla.redo import Group, pack_group
from tradewire.adapters.scylla.rooms import Room, encode_metadata
from tradewire.domain import snapshot
from tradewire.domain.ids import TIME_SHIFT, id_at, id_ms, parse_timestamp
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.domain.packing import EventRow, event_row, pack_events, unpack_events
from tradewire.domain.snapshot import ConversationSnapshot, Item, MemberSnapshot

SLICE_SHIFT = TIME_SHIFT + 19
"""Events of 2**19 ms (8.7 min) share a partition of the outbox; which one follows from the id."""

EVENTS_BYTES = 1 << 20
"""A larger commit group becomes several: a row must fit into a request."""

NOTHING_TO_REDO = pack_group(Group(0, [], [], []))[1]
RUN_BITS = (1 << TIME_SHIFT) - 1

Rows = Iterator[Mutation]


def run_of(newest: int) -> int:
    """The run that holds the events of a store with this newest id: no other id is like it."""
    return newest | RUN_BITS


class SnapshotRows:
    """Makes them.

    Args:
        newest: the greatest id of all that is moved.
        run: the run that is to hold the domain events.
    """

    def __init__(self, newest: int, run: int) -> None:
        self._newest = newest
        self._run = run
        self._settled = id_ms(newest) * 1000 - 1
        self._periods = Bounded()
        self._slices = Bounded()
        self._room: tuple[ConversationSnapshot, Room] | None = None
        self._make: dict[type[Item], Callable[[Any], Rows]] = {
            snapshot.ConversationSnapshot: self._conversation,
            snapshot.MessagePage: self._messages,
            snapshot.EditPage: self._edits,
            snapshot.ChangePage: self._changes,
            snapshot.KeySnapshot: self._key,
            snapshot.UserChangeSnapshot: self._user_change,
            snapshot.BlockSnapshot: self._block,
            snapshot.SuspensionSnapshot: self._suspension,
            snapshot.UserRevocationSnapshot: self._user_revocation,
            snapshot.TokenRevocationSnapshot: self._token_revocation,
            snapshot.LastSeenSnapshot: self._last_seen,
            snapshot.ProductSnapshot: self._product,
            snapshot.ShownProductSnapshot: self._shown_product,
            snapshot.OrderSnapshot: self._order,
            snapshot.HandledSnapshot: self._handled,
            snapshot.EventsSnapshot: self._events,
        }

    def of(self, item: Item) -> Rows:
        """The rows of a thing."""
        return self._make[type(item)](item)

    # --- conversations ----------------------------------------------------------------------------

    def _conversation(self, item: ConversationSnapshot) -> Rows:
        room, timestamp = self._room_of(item), self._settled
        key = (room.tenant, room.conversation_id)
        yield (
            "ADD_CONVERSATION",
            (
                *(*key, room.created, room.kind, room.status),
                *(room.created_at, room.created_by, room.listing_id, room.product_id),
                *(room.title, room.metadata, timestamp),
            ),
        )
        if room.orders:
            yield "LINK_ORDER", (timestamp, dict(room.orders), *key)
        if room.crowded_at:
            yield "SET_CROWDED", (*key, room.crowded_at, timestamp)
        for member in item.members:
            yield from self._member(room, member)
        yield from self._touch(room, room.crowded_at or room.created, sent=True)
        if not room.crowded_at:
            yield from self._touch_all(room, _receipts(item))

    def _member(self, room: Room, member: MemberSnapshot) -> Rows:
        user_id, timestamp = member.user_id, self._settled
        row = (room.tenant, room.conversation_id, user_id)
        yield "PUT_MEMBER", (*row, member.role, member.joined_at, timestamp)
        yield from _markers(row, member)
        place = (room.tenant, user_id, room.conversation_id)
        joined = max(room.created, id_at(parse_timestamp(member.joined_at)))
        yield "JOIN", (*place, joined, room.created, timestamp - 1)
        yield from self._own_settings(place, member)
        for scope in scopes(room, user_id):
            creation = (room.tenant, scope, room.created, room.conversation_id)
            yield "ADD_CREATION", (*creation, timestamp)
        if room.crowded_at:
            yield "ADD_CROWD", (*place, timestamp)

    def _own_settings(self, place: tuple[str, str, str], member: MemberSnapshot) -> Rows:
        timestamp = self._settled
        if member.archived:
            yield "SET_ARCHIVED", (*place, True, timestamp)
        if member.pinned:
            yield "SET_PINNED", (*place, True, timestamp)
        if member.muted_until:
            yield "SET_MUTED", (*place, member.muted_until, timestamp)
        if member.hidden:
            yield "SET_HIDDEN", (*place, self._newest, timestamp)

    def _messages(self, page: snapshot.MessagePage) -> Rows:
        room = self._room_of(page.of)
        key = (room.tenant, room.conversation_id)
        last_of_slot = {slot_of(each.message_id): each.message_id for each in page.messages}
        for each in page.messages:
            yield from _message(room, each)
        for bucket in sorted({room.bucket(each.message_id) for each in page.messages}):
            yield "ADD_BUCKET", (*key, bucket, self._settled)
        if not room.crowded_at:
            for message_id in last_of_slot.values():
                yield from self._touch(room, message_id, sent=True)

    def _edits(self, page: snapshot.EditPage) -> Rows:
        room = self._room_of(page.of)
        for each in page.edits:
            place = (room.tenant, room.conversation_id, room.bucket(each.message_id))
            row = (*place, each.message_id, each.change_id, each.body)
            # No later than the message itself, whose deletion has to erase it.
            yield "ADD_EDIT", (*row, _timestamp(each.message_id))

    def _changes(self, page: snapshot.ChangePage) -> Rows:
        room = self._room_of(page.of)
        for each in page.changes:
            place = (room.tenant, room.conversation_id, room.bucket(each.change_id))
            row = (*place, each.change_id, each.kind, each.subject, each.detail)
            yield "ADD_CHANGE", (*row, _timestamp(each.change_id))
        if not room.crowded_at:
            ids = [each.change_id for each in page.changes]
            yield from self._touch_all(room, {slot_of(value): value for value in ids})

    def _room_of(self, item: ConversationSnapshot) -> Room:
        """The conversation of a page: usually that of the page before."""
        if self._room is None or self._room[0] is not item:
            self._room = (item, _room(item))
        return self._room[1]

    def _touch_all(self, room: Room, by_slot: dict[int, int]) -> Rows:
        """Changes in these slots; that of the making says more already."""
        for slot, value in by_slot.items():
            if slot != slot_of(room.created):
                yield from self._touch(room, value, sent=False)

    def _touch(self, room: Room, value: int, *, sent: bool) -> Rows:
        """The activity rows of all members for something that happened at this id."""
        slot, timestamp = slot_of(value), _timestamp(value)
        for scope in (each for user_id in room.roles for each in scopes(room, user_id)):
            period = (room.tenant, scope, period_of(slot))
            if period not in self._periods:
                self._periods[period] = True
                yield "ADD_PERIOD", (*period, timestamp)
            place = (*period, slot, room.conversation_id)
            if sent:
                yield "TOUCH_SENT", (*place, room.bucket(value), timestamp)
            else:
                yield "TOUCH", (*place, timestamp)

    # --- all else ---------------------------------------------------------------------------------

    def _key(self, item: snapshot.KeySnapshot) -> Rows:
        bucket = bucket_of(item.kind, item.message_id)
        place = (item.tenant, item.conversation_id, bucket)
        key = (item.sender_id, item.key, item.message_id, item.content_hash)
        yield "ADD_KEY", (*place, *key, _timestamp(item.message_id))

    def _user_change(self, item: snapshot.UserChangeSnapshot) -> Rows:
        change = (item.tenant, item.user_id, item.change_id)
        told = (item.conversation_id, item.kind, item.subject, item.detail)
        yield "ADD_USER_CHANGE", (*change, *told, _timestamp(item.change_id))

    def _block(self, item: snapshot.BlockSnapshot) -> Rows:
        since = (item.since, item.since * 1000)
        yield "SET_BLOCK", (item.tenant, item.user_id, item.blocked_id, *since)
        yield "SET_BLOCKER", (item.tenant, item.blocked_id, item.user_id, *since)

    def _suspension(self, item: snapshot.SuspensionSnapshot) -> Rows:
        row = (item.tenant, item.user_id, True, item.until, item.reason)
        yield "SET_SUSPENSION", (*row, self._settled)

    def _user_revocation(self, item: snapshot.UserRevocationSnapshot) -> Rows:
        revoked = (item.revoked_at, item.revoked_at * 1000)
        yield "REVOKE_USER", (item.tenant, item.user_id, *revoked)

    def _token_revocation(self, item: snapshot.TokenRevocationSnapshot) -> Rows:
        revoked = (item.revoked_at, item.revoked_at * 1000)
        yield "REVOKE_TOKEN", (item.tenant, item.token_id, *revoked)

    def _last_seen(self, item: snapshot.LastSeenSnapshot) -> Rows:
        timestamp = min(item.at * 1000, self._settled)
        yield "SEE", (item.tenant, item.user_id, item.at, timestamp)

    def _product(self, item: snapshot.ProductSnapshot) -> Rows:
        # Nothing is known but its version, which only grows.
        timestamp = max(min(item.version, self._settled), 1)
        yield "PUT_PRODUCT", (item.tenant, item.product_id, item.version, item.card, timestamp)

    def _shown_product(self, item: snapshot.ShownProductSnapshot) -> Rows:
        shown = (item.tenant, item.product_id, item.conversation_id)
        yield "SHOW_PRODUCT", (*shown, self._settled)

    def _order(self, item: snapshot.OrderSnapshot) -> Rows:
        row = (item.tenant, item.order_id, item.conversation_id, item.card)
        yield "ADD_ORDER", (*row, self._settled)

    def _handled(self, item: snapshot.HandledSnapshot) -> Rows:
        row = (item.tenant, item.ce_id, id_at(item.handled_at))
        yield "ADD_HANDLED", (*row, item.handled_at * 1000)

    def _events(self, item: snapshot.EventsSnapshot) -> Rows:
        for last_id, events in _fitting(item):
            slice_ = last_id >> SLICE_SHIFT << SLICE_SHIFT
            if slice_ not in self._slices:
                self._slices[slice_] = True
                yield "ADD_SLICE", (self._run, slice_)
            yield "ADD_BATCH", (self._run, slice_, last_id, events, NOTHING_TO_REDO)


def _timestamp(value: int) -> int:
    return id_ms(value) * 1000


def _room(item: ConversationSnapshot) -> Room:
    conversation = item.conversation
    orders = conversation.order_ids or ()
    return Room(
        tenant=item.tenant,
        conversation_id=item.id,
        created=item.created,
        deleted_at=0,
        crowded_at=item.place if len(item.members) > RECEIPT_MEMBERS else 0,
        kind=conversation.kind,
        status=conversation.status,
        created_at=conversation.created_at,
        created_by=conversation.created_by,
        listing_id=conversation.listing_id,
        product_id=conversation.product_id,
        title=conversation.title,
        metadata=encode_metadata(conversation.metadata),
        # In their order, and before whatever is linked later.
        orders={item.created + place: order_id for place, order_id in enumerate(orders, 1)},
        roles={member.user_id: member.role for member in item.members},
    )


def _receipts(item: ConversationSnapshot) -> dict[int, int]:
    """The moves of markers that are told, one a slot."""
    ids = [
        value
        for member in item.members
        for value in (member.read_change, member.delivered_change)
        if value > item.created
    ]
    return {slot_of(value): value for value in ids}


def _markers(row: tuple[str, str, str], member: MemberSnapshot) -> Rows:
    """Each marker with the timestamp of the id that it holds, as nodes write them."""
    read, delivered = member.last_read_id, member.last_delivered_id
    if member.read_change:
        moved = (read, max(read, delivered), member.read_change, member.private)
        yield "MOVE_READ", (*row, *moved, marker_timestamp(read))
    elif read:
        yield "SENT", (*row, read, marker_timestamp(read))
    if delivered:
        received = (delivered, member.delivered_change, member.private)
        yield "MOVE_DELIVERED", (*row, *received, marker_timestamp(delivered))


def _message(room: Room, message: snapshot.MessageSnapshot) -> Rows:
    message_id, gone_at = message.message_id, message.gone_at
    timestamp = _timestamp(message_id)
    place = (room.tenant, room.conversation_id, room.bucket(message_id))
    row = (*place, message_id, message.sender_id, message.body)
    if gone_at is None:
        yield "ADD_MESSAGE", (*row, timestamp)
        return
    yield "PUT_MESSAGE", (*row, gone_at, timestamp)
    if gone_at:
        expiration = (hour_of(gone_at), gone_at, room.tenant, room.conversation_id, message_id)
        lasts = max(gone_at - id_ms(message_id), 0) // 1000 + EXPIRED_ROWS_S
        yield "ADD_EXPIRATION", (*expiration, timestamp, lasts)


def _fitting(item: snapshot.EventsSnapshot) -> Iterator[tuple[int, bytes]]:
    """The events of a commit group in parts that each fit into a request."""
    if len(item.events) <= EVENTS_BYTES:
        yield item.last_id, item.events
        return
    part: list[EventRow] = []
    size, last_id = 0, 0
    for event in unpack_events(item.events):
        row = event_row(event)
        length = len(pack_events([row]))
        if part and size + length > EVENTS_BYTES:
            yield last_id, pack_events(part)
            part, size = [], 0
        part.append(row)
        size, last_id = size + length, event.id
    yield item.last_id, pack_events(part)
