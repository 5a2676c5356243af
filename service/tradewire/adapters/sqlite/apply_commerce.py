"""Writes to orders, products and users."""

import msgspec

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.domain import rules
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import id_ms
from tradewire.domain.types import OrderCard, ProductCard
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
_decode_order = msgspec.json.Decoder(OrderCard).decode
_decode_product = msgspec.json.Decoder(ProductCard).decode


def set_order_status(session: WriteSession, write: SetOrderStatus) -> OrderChanged | None:
    """Apply a SetOrderStatus."""
    row = session.database.execute(sql.ORDER, (write.tenant, write.order_id)).fetchone()
    if row is None:
        raise NotFound(field="order_id")
    conversation_id, card = row
    order = rules.with_status(_decode_order(card), write.change)
    if order is None:
        return None
    put = (_encode(order).decode(), write.tenant, write.order_id)
    session.database.execute(sql.PUT_ORDER, put)
    tracked = session.find(write.tenant, conversation_id)
    if tracked is not None:
        session.change(tracked, write.change_id, "OrderUpdated", write.order_id)
    return OrderChanged(conversation_id, order)


def put_product(session: WriteSession, write: PutProduct) -> bool:
    """Apply a PutProduct."""
    product = write.product
    known = _product(session, write.tenant, product.product_id)
    if known is not None and known[0] >= product.version:
        return False
    _put(session, write.tenant, product.product_id, product.version, product)
    return True


def retire_product(session: WriteSession, write: RetireProduct) -> bool:
    """Apply a RetireProduct."""
    known = _product(session, write.tenant, write.product_id)
    if known is not None and known[0] >= write.version:
        return False
    card = known[1] if known else None
    after = rules.retired(write, card) if card else None
    _put(session, write.tenant, write.product_id, write.version, after)
    return True


def touch_product(session: WriteSession, write: TouchProduct) -> None:
    """Apply a TouchProduct."""
    tracked = session.find(write.tenant, write.conversation_id)
    if tracked is not None:
        session.change(tracked, write.change_id, "ProductUpdated", write.product_id)


def set_block(session: WriteSession, write: SetBlock) -> bool:
    """Apply a SetBlock."""
    pair = (write.tenant, write.user_id, write.blocked_id)
    if write.blocked:
        changed = session.database.execute(sql.ADD_BLOCK, (*pair, id_ms(write.change_id)))
    else:
        changed = session.database.execute(sql.REMOVE_BLOCK, pair)
    if not changed.rowcount:
        return False
    detail = "1" if write.blocked else "0"
    session.database.execute(
        sql.ADD_USER_CHANGE,
        (
            write.tenant,
            write.user_id,
            write.change_id,
            "",
            "UserBlocked",
            write.blocked_id,
            detail,
        ),
    )
    return True


def set_suspension(session: WriteSession, write: SetSuspension) -> None:
    """Apply a SetSuspension."""
    user = (write.tenant, write.user_id)
    if write.suspended:
        session.database.execute(sql.SUSPEND, (*user, write.until, write.reason))
    else:
        session.database.execute(sql.LIFT_SUSPENSION, user)


def revoke(session: WriteSession, write: Revoke) -> None:
    """Apply a Revoke."""
    at = id_ms(write.change_id)
    if write.user_id is not None:
        session.database.execute(sql.REVOKE_USER, (write.tenant, write.user_id, at))
    if write.token_id is not None:
        session.database.execute(sql.REVOKE_TOKEN, (write.tenant, write.token_id, at))


def set_last_seen(session: WriteSession, write: SetLastSeen) -> None:
    """Apply a SetLastSeen."""
    session.database.execute(sql.SEE, (write.tenant, write.user_id, write.last_seen))


def _product(
    session: WriteSession, tenant: str, product_id: str
) -> tuple[int, ProductCard | None] | None:
    """The version that is known, and its card unless it was deleted before it was known."""
    row = session.database.execute(sql.PRODUCT, (tenant, product_id)).fetchone()
    if row is None:
        return None
    return row[0], _decode_product(row[1]) if row[1] is not None else None


def _put(
    session: WriteSession, tenant: str, product_id: str, version: int, card: ProductCard | None
) -> None:
    text = None if card is None else _encode(card).decode()
    session.database.execute(sql.PUT_PRODUCT, (tenant, product_id, version, text))
