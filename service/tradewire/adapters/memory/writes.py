"""What each write does to the state of its tenant."""

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, structs

from tradewire.adapters.memory.state import Room, Seat, Tenant
from tradewire.domain import rules, writes
from tradewire.domain.errors import KeyReused, NotFound
from tradewire.domain.ids import id_ms
from tradewire.domain.limits import KEY_HOURS
from tradewire.domain.types import Role
from tradewire.ports import MissedChange, Suspension


def apply(tenant: Tenant, write: writes.Write) -> Any:
    """Change the state; returns the write's result and raises what it refuses with."""
    return _APPLIERS[type(write)](tenant, write)


def _new_message(tenant: Tenant, write: writes.NewMessage) -> writes.Stored:
    room = _room(tenant, write.conversation_id)
    message = write.message
    if message.key is not None:
        known = _known(room, message.sender_id, message.key, id_ms(message.id))
        if known is not None and known[1] != write.content_hash:
            raise KeyReused(field="key")
        if known is not None:
            return writes.Stored(structs.replace(room.messages[known[0]]), duplicate=True)
        room.keys[message.sender_id, message.key] = (message.id, write.content_hash)
    room.messages[message.id] = structs.replace(message)
    for seat in room.seats.values():
        seat.hidden = False
    sender = room.seats.get(message.sender_id)
    if sender is not None:
        sender.member.last_read_id = sender.member.last_delivered_id = message.message_id
    product_id = (message.metadata or {}).get("product_id")
    if message.content_type == "product" and isinstance(product_id, str):
        tenant.shown_products[product_id].add(write.conversation_id)
    return writes.Stored(message, duplicate=False)


def _known(room: Room, sender: str, key: str, now: int) -> tuple[int, bytes] | None:
    known = room.keys.get((sender, key))
    if known is None or id_ms(known[0]) < now - KEY_HOURS * 3_600_000:
        return None
    return known


def _edit(tenant: Tenant, write: writes.EditMessage) -> Any:
    room = _room(tenant, write.conversation_id)
    message = room.messages.get(write.message_id)
    if message is None or rules.as_of(message, id_ms(write.change_id)).deleted:
        raise NotFound(field="message_id")
    after, former = rules.edited(message, write)
    room.messages[write.message_id] = after
    room.edits.setdefault(write.message_id, []).append(former)
    _record(room, write.change_id, "MessageEdited", str(write.message_id))
    return structs.replace(after)


def _delete(tenant: Tenant, write: writes.DeleteMessage) -> writes.Deleted:
    room = _room(tenant, write.conversation_id)
    message = room.messages.get(write.message_id)
    if message is None:
        raise NotFound(field="message_id")
    if message.deleted:
        return writes.Deleted(structs.replace(message), changed=False)
    after = room.messages[write.message_id] = rules.deleted(message)
    room.edits.pop(write.message_id, None)
    _record(room, write.change_id, "MessageDeleted", str(write.message_id))
    return writes.Deleted(structs.replace(after), changed=True)


def _move_marker(tenant: Tenant, write: writes.MoveMarker) -> writes.Moved:
    room = _room(tenant, write.conversation_id)
    seat = room.seats.get(write.user_id)
    if seat is None:
        raise NotFound(field="conversation_id")
    up_to = min(write.up_to, room.newest)
    member = seat.member
    before = int(member.last_read_id if write.read else member.last_delivered_id)
    if up_to <= before:
        return writes.Moved(before, 0, moved=False)
    seat.public = write.public
    if int(member.last_delivered_id) < up_to:
        member.last_delivered_id = str(up_to)
        seat.delivered_change = 0 if write.read else write.change_id
    if write.read:
        member.last_read_id = str(up_to)
        seat.read_change = write.change_id
    marked = _marked(room, write.user_id, before, up_to) if write.read else 0
    return writes.Moved(up_to, marked, moved=True)


def _marked(room: Room, user_id: str, after: int, up_to: int) -> int:
    return sum(
        after < message_id <= up_to and message.sender_id != user_id and not message.deleted
        for message_id, message in room.messages.items()
    )


def _create(tenant: Tenant, write: writes.CreateConversation) -> writes.Creation:
    room = tenant.rooms.get(write.conversation_id)
    if room is not None:
        seat = room.seats.get(write.shown_to)
        if seat is None or not seat.hidden:
            return "known"
        seat.hidden = False
        _record_for(
            tenant, write.shown_to, write.change_id, "ConversationCreated", write.conversation_id
        )
        return "shown"
    conversation = structs.replace(write.conversation, members=None, last_message=None)
    seats = {member.user_id: Seat(structs.replace(member)) for member in write.members}
    room = tenant.rooms[write.conversation_id] = Room(write.change_id, conversation, seats)
    if conversation.product_id is not None:
        tenant.shown_products[conversation.product_id].add(write.conversation_id)
    _record(room, write.change_id, "ConversationCreated")
    return "created"


def _revise(tenant: Tenant, write: writes.ReviseConversation) -> Any:
    room = _room(tenant, write.conversation_id)
    room.conversation = rules.revised(room.conversation, write)
    _record(room, write.change_id, "ConversationUpdated")
    return structs.replace(room.conversation)


def _set_own(tenant: Tenant, write: writes.SetOwnSettings) -> writes.OwnSettings:
    seat = _room(tenant, write.conversation_id).seats.get(write.user_id)
    if seat is None:
        raise NotFound(field="conversation_id")
    for name in ("archived", "pinned", "muted_until", "hidden"):
        value = getattr(write, name)
        if value is not UNSET:
            setattr(seat, name, value)
    kind = "ConversationDeleted" if write.hidden is True else "ConversationUpdated"
    _record_for(tenant, write.user_id, write.change_id, kind, write.conversation_id)
    return writes.OwnSettings(seat.archived, seat.pinned, seat.muted_until)


def _add_member(tenant: Tenant, write: writes.AddMember) -> bool:
    room = _room(tenant, write.conversation_id)
    if write.member.user_id in room.seats:
        return False
    room.seats[write.member.user_id] = Seat(structs.replace(write.member))
    room.conversation.member_count = len(room.seats)
    _record(room, write.change_id, "MemberAdded", write.member.user_id)
    return True


def _remove_member(tenant: Tenant, write: writes.RemoveMember) -> Role | None:
    room = tenant.rooms.get(write.conversation_id)
    seat = room.seats.pop(write.user_id, None) if room else None
    if room is None or seat is None:
        return None
    room.conversation.member_count = len(room.seats)
    _record(room, write.change_id, "MemberRemoved", write.user_id)
    _record_for(
        tenant,
        write.user_id,
        write.change_id,
        "MemberRemoved",
        write.conversation_id,
        write.user_id,
    )
    return seat.member.role


def _set_role(tenant: Tenant, write: writes.SetRole) -> bool:
    room = tenant.rooms.get(write.conversation_id)
    seat = room.seats.get(write.user_id) if room else None
    if room is None or seat is None:
        return False
    seat.member.role = write.role
    _record(room, write.change_id, "MemberRoleChanged", write.user_id)
    return True


def _delete_conversation(tenant: Tenant, write: writes.DeleteConversation) -> list[str]:
    room = tenant.rooms.pop(write.conversation_id, None)
    if room is None:
        return []
    for shown in tenant.shown_products.values():
        shown.discard(write.conversation_id)
    for user_id in room.seats:
        _record_for(tenant, user_id, write.change_id, "ConversationDeleted", write.conversation_id)
    return list(room.seats)


def _link_order(tenant: Tenant, write: writes.LinkOrder) -> bool:
    order_id = write.order.order_id
    if order_id in tenant.orders:
        return False
    room = _room(tenant, write.conversation_id)
    tenant.orders[order_id] = (write.order, write.conversation_id)
    room.conversation.order_ids = [*(room.conversation.order_ids or []), order_id]
    _record(room, write.change_id, "OrderLinked", order_id)
    return True


def _set_order_status(tenant: Tenant, write: writes.SetOrderStatus) -> writes.OrderChanged | None:
    known = tenant.orders.get(write.order_id)
    if known is None:
        raise NotFound(field="order_id")
    order = rules.with_status(known[0], write.change)
    if order is None:
        return None
    tenant.orders[write.order_id] = (order, known[1])
    room = tenant.rooms.get(known[1])
    if room is not None:
        _record(room, write.change_id, "OrderUpdated", write.order_id)
    return writes.OrderChanged(known[1], order)


def _put_product(tenant: Tenant, write: writes.PutProduct) -> bool:
    product_id = write.product.product_id
    if not rules.is_newer(write.product, tenant.products.get(product_id)):
        return False
    if write.product.version <= tenant.retired.get(product_id, -1):
        return False
    tenant.products[product_id] = write.product
    return True


def _retire_product(tenant: Tenant, write: writes.RetireProduct) -> bool:
    known = tenant.products.get(write.product_id)
    if known is None:
        newer = write.version > tenant.retired.get(write.product_id, -1)
        tenant.retired[write.product_id] = max(
            write.version, tenant.retired.get(write.product_id, -1)
        )
        return newer
    after = rules.retired(write, known)
    if after is not None:
        tenant.products[write.product_id] = after
    return after is not None


def _touch_product(tenant: Tenant, write: writes.TouchProduct) -> None:
    room = tenant.rooms.get(write.conversation_id)
    if room is not None:
        _record(room, write.change_id, "ProductUpdated", write.product_id)


def _set_block(tenant: Tenant, write: writes.SetBlock) -> bool:
    blocked = tenant.blocks[write.user_id]
    if write.blocked == (write.blocked_id in blocked):
        return False
    if write.blocked:
        blocked[write.blocked_id] = id_ms(write.change_id)
    else:
        del blocked[write.blocked_id]
    detail = "1" if write.blocked else "0"
    _record_for(tenant, write.user_id, write.change_id, "UserBlocked", "", write.blocked_id, detail)
    return True


def _set_suspension(tenant: Tenant, write: writes.SetSuspension) -> None:
    if write.suspended:
        tenant.suspensions[write.user_id] = Suspension(write.until, write.reason)
    else:
        tenant.suspensions.pop(write.user_id, None)


def _revoke(tenant: Tenant, write: writes.Revoke) -> None:
    if write.user_id is not None:
        before = tenant.user_revocations.get(write.user_id, 0)
        tenant.user_revocations[write.user_id] = max(before, id_ms(write.change_id))
    if write.token_id is not None:
        tenant.token_revocations.add(write.token_id)


def _set_last_seen(tenant: Tenant, write: writes.SetLastSeen) -> None:
    tenant.last_seen[write.user_id] = write.last_seen


def _room(tenant: Tenant, conversation_id: str) -> Room:
    room = tenant.rooms.get(conversation_id)
    if room is None:
        raise NotFound(field="conversation_id")
    return room


def _record(room: Room, change_id: int, kind: str, subject: str = "", detail: str = "") -> None:
    conversation_id = room.conversation.conversation_id
    room.changes.append(MissedChange(change_id, conversation_id, kind, subject, detail))


def _record_for(
    tenant: Tenant,
    user_id: str,
    change_id: int,
    kind: str,
    conversation_id: str,
    subject: str = "",
    detail: str = "",
) -> None:
    change = MissedChange(change_id, conversation_id, kind, subject, detail)
    tenant.user_changes[user_id].append(change)


_APPLIERS: dict[type[writes.Write], Callable[[Tenant, Any], Any]] = {
    writes.NewMessage: _new_message,
    writes.EditMessage: _edit,
    writes.DeleteMessage: _delete,
    writes.MoveMarker: _move_marker,
    writes.CreateConversation: _create,
    writes.ReviseConversation: _revise,
    writes.SetOwnSettings: _set_own,
    writes.AddMember: _add_member,
    writes.RemoveMember: _remove_member,
    writes.SetRole: _set_role,
    writes.DeleteConversation: _delete_conversation,
    writes.LinkOrder: _link_order,
    writes.SetOrderStatus: _set_order_status,
    writes.PutProduct: _put_product,
    writes.RetireProduct: _retire_product,
    writes.TouchProduct: _touch_product,
    writes.SetBlock: _set_block,
    writes.SetSuspension: _set_suspension,
    writes.Revoke: _revoke,
    writes.SetLastSeen: _set_last_seen,
}
