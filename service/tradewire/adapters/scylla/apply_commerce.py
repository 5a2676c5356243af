"""Writes to orders, products and users."""

import msgspec

from tradewire.adapters.scylla.draft import Draft
from tradewire.adapters.scylla.layout import hour_of, marker_timestamp
from tradewire.domain import rules
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import id_at, id_ms
from tradewire.domain.types import ProductCard
from tradewire.domain.writes import (
    OrderChanged,
    PutProduct,
    RetireProduct,
    Revoke,
    SetBlock,
    SetLastSeen,
    SetOrderStatus,
    SetSuspension,
    TouchProduct,
)

_encode = msgspec.json.Encoder().encode


def set_order_status(draft: Draft, write: SetOrderStatus) -> OrderChanged | None:
    """Apply a SetOrderStatus."""
    key = ("order", write.tenant, write.order_id)
    known = draft.get(key)
    if known is None:
        raise NotFound(field="order_id")
    conversation_id, card = known
    order = rules.with_status(card, write.change)
    if order is None:
        return None
    timestamp = draft.timestamp(write.change_id)
    added = [_encode(write.change).decode()]
    draft.emit("ADD_STATUS", timestamp, added, write.tenant, write.order_id)
    draft.put(key, (conversation_id, order))
    room = draft.find(write.tenant, conversation_id)
    if room is not None:
        draft.change(room, write.change_id, timestamp, "OrderUpdated", write.order_id)
    return OrderChanged(conversation_id, order)


def put_product(draft: Draft, write: PutProduct) -> bool:
    """Apply a PutProduct."""
    product = write.product
    known = _product(draft, write.tenant, product.product_id)
    if known is not None and known[0] >= product.version:
        return False
    _put(draft, write.tenant, product.product_id, product.version, product)
    return True


def retire_product(draft: Draft, write: RetireProduct) -> bool:
    """Apply a RetireProduct."""
    known = _product(draft, write.tenant, write.product_id)
    if known is not None and known[0] >= write.version:
        return False
    card = known[1] if known else None
    after = rules.retired(write, card) if card else None
    _put(draft, write.tenant, write.product_id, write.version, after)
    return True


def touch_product(draft: Draft, write: TouchProduct) -> None:
    """Apply a TouchProduct."""
    room = draft.find(write.tenant, write.conversation_id)
    if room is not None:
        timestamp = draft.timestamp(write.change_id)
        draft.change(room, write.change_id, timestamp, "ProductUpdated", write.product_id)


def set_block(draft: Draft, write: SetBlock) -> bool:
    """Apply a SetBlock."""
    key = ("block", write.tenant, write.user_id, write.blocked_id)
    if bool(draft.get(key)) == write.blocked:
        return False
    since = id_ms(write.change_id) if write.blocked else 0
    draft.put(key, since)
    timestamp = draft.timestamp(write.change_id)
    draft.emit("SET_BLOCK", write.tenant, write.user_id, write.blocked_id, since, timestamp)
    draft.emit("SET_BLOCKER", write.tenant, write.blocked_id, write.user_id, since, timestamp)
    draft.tell(
        *(write.tenant, write.user_id, write.change_id, "", "UserBlocked", write.blocked_id),
        "1" if write.blocked else "0",
    )
    return True


def set_suspension(draft: Draft, write: SetSuspension) -> None:
    """Apply a SetSuspension."""
    timestamp = draft.timestamp(write.change_id)
    row = (write.tenant, write.user_id, write.suspended, write.until, write.reason)
    draft.emit("SET_SUSPENSION", *row, timestamp)
    if write.suspended:
        _refuse(draft, write, None, blocked=True)


def revoke(draft: Draft, write: Revoke) -> None:
    """Apply a Revoke."""
    # Whichever is written last, the newest counts.
    revoked = (id_ms(write.change_id), marker_timestamp(write.change_id))
    if write.user_id is not None:
        draft.emit("REVOKE_USER", write.tenant, write.user_id, *revoked)
    if write.token_id is not None:
        draft.emit("REVOKE_TOKEN", write.tenant, write.token_id, *revoked)
    _refuse(draft, write, write.token_id, blocked=False)


def set_last_seen(draft: Draft, write: SetLastSeen) -> None:
    """Apply a SetLastSeen."""
    timestamp = draft.timestamp(write.event_id)
    draft.emit("SEE", write.tenant, write.user_id, write.last_seen, timestamp)


def _refuse(
    draft: Draft, write: SetSuspension | Revoke, token_id: str | None, *, blocked: bool
) -> None:
    """Have all nodes hear of it."""
    at = write.change_id
    refusal = (hour_of(id_ms(at)), at, write.tenant, write.user_id, token_id, blocked)
    draft.newest = max(draft.newest, at)
    draft.emit("ADD_REFUSAL", *refusal, draft.timestamp(at))


def _product(draft: Draft, tenant: str, product_id: str) -> tuple[int, ProductCard | None] | None:
    found: tuple[int, ProductCard | None] | None = draft.get(("product", tenant, product_id))
    return found


def _put(
    draft: Draft, tenant: str, product_id: str, version: int, card: ProductCard | None
) -> None:
    draft.put(("product", tenant, product_id), (version, card))
    text = None if card is None else _encode(card).decode()
    timestamp = draft.timestamp(id_at(draft.now))
    draft.emit("PUT_PRODUCT", tenant, product_id, version, text, timestamp)
