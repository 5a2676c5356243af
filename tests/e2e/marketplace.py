"""Events of the marketplace, as its other services tell them (protocol §7)."""

from itertools import count
from typing import Any

Json = dict[str, Any]

_numbers = count(1)


def cloud_event(kind: str, ce_id: str | None = None, **data: Any) -> Json:
    """An event of another service in structured form, with an id of its own if none is given."""
    return {
        "specversion": "1.0",
        "id": ce_id or f"event-{next(_numbers)}",
        "source": "/marketplace",
        "type": kind,
        "data": data,
    }


def product(product_id: str, version: int, **changed: Any) -> Json:
    """The data of a `ProductUpdated`."""
    card = {
        "product_id": product_id,
        "seller_id": "seller",
        "title": f"Version {version}",
        "price": {"amount": "19.90", "currency": "EUR"},
        "image_url": "https://shop.example/p.jpg",
        "url": "https://shop.example/p",
        "status": "active",
        "version": version,
    }
    return card | changed


def order_created(order_id: str, *, items: list[str], **changed: Any) -> Json:
    """The data of an `OrderCreated` of these products."""
    price = {"amount": "19.90", "currency": "EUR"}
    order = {
        "order_id": order_id,
        "buyer_id": "buyer",
        "seller_id": "seller",
        "items": [
            {"product_id": item, "title": f"The {item}", "quantity": 1, "unit_price": price}
            for item in items
        ],
        "total": price,
        "status": "placed",
        "created_at": "2026-11-20T10:00:00.000Z",
    }
    return order | changed


def order_status(order_id: str, status: str, *, minute: int) -> Json:
    """The data of an `OrderStatusChanged`."""
    return {
        "order_id": order_id,
        "status": status,
        "changed_at": f"2026-11-20T11:{minute:02}:00.000Z",
    }
