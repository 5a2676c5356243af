"""Domain events of other services that this one handles (protocol §7).

The names are the events' own: `incoming.UserBlocked` is the platform's word about a user, while
`events.UserBlocked` is what a client is told. A time is aware of its offset.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from tradewire.domain.types import Money, Name, OrderItem, ProductCard

EventId = Annotated[str, Meta(min_length=1, max_length=256)]
Moment = Annotated[datetime, Meta(tz=True)]
Version = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class OrderCreated(Struct, frozen=True, kw_only=True):
    """An order was placed: it is linked to the conversation of its buyer and seller."""

    order_id: Name
    buyer_id: Name
    seller_id: Name
    listing_id: Name | None = None
    items: list[OrderItem]
    total: Money
    status: str
    created_at: Moment


class OrderStatusChanged(Struct, frozen=True, kw_only=True):
    """An order took another status."""

    order_id: Name
    status: str
    changed_at: Moment


class ProductUpdated(ProductCard, kw_only=True):
    """A product as the catalogue has it now; the newest version wins."""


class ProductDeleted(Struct, frozen=True, kw_only=True):
    """A product is gone from the catalogue."""

    product_id: Name
    version: Version


class UserBlocked(Struct, frozen=True, kw_only=True):
    """A user was blocked: by `blocked_by`, else on the whole platform; for good without `until`."""

    user_id: Name
    blocked_by: Name | None = None
    reason: str | None = None
    until: Moment | None = None


class UserUnblocked(Struct, frozen=True, kw_only=True):
    """A block was lifted: that by `blocked_by`, else the platform's."""

    user_id: Name
    blocked_by: Name | None = None


IncomingData = (
    OrderCreated
    | OrderStatusChanged
    | ProductUpdated
    | ProductDeleted
    | UserBlocked
    | UserUnblocked
)

INCOMING_TYPES: dict[str, type[IncomingData]] = {
    "OrderCreated": OrderCreated,
    "OrderStatusChanged": OrderStatusChanged,
    "ProductUpdated": ProductUpdated,
    "ProductDeleted": ProductDeleted,
    "UserBlocked": UserBlocked,
    "UserUnblocked": UserUnblocked,
}
"""What is consumed, and the type of its data."""


class IncomingEvent(Struct, frozen=True):
    """One event to handle; `ce_id` makes handling it twice the same as once.

    Attributes:
        type: a key of INCOMING_TYPES; `data` is of that type.
        subject: the key it came under, if it says so.
    """

    ce_id: str
    tenant: str
    type: str
    subject: str | None
    data: IncomingData
