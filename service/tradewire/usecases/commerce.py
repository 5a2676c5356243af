"""Handles the domain events of other services (protocol §7): checks them, then applies them."""

from collections.abc import Collection, Sequence

from tradewire.domain.incoming import (
    IncomingEvent,
    OrderCreated,
    OrderStatusChanged,
    ProductDeleted,
    ProductUpdated,
    UserBlocked,
    UserUnblocked,
)
from tradewire.usecases.context import Context
from tradewire.usecases.orders import Orders
from tradewire.usecases.products import Products
from tradewire.usecases.users import Users


class Commerce:
    """The one door for domain events; each has the effect of one however often it comes."""

    def __init__(self, context: Context) -> None:
        self._orders = Orders(context)
        self._products = Products(context)
        self._users = Users(context)

    async def handle(self, event: IncomingEvent) -> bool:
        """Handle an event; False when it was handled before (by its `ce_id`).

        Raises:
            InvalidField, TextTooLong: it cannot be handled as it is; nothing took effect.
            Unavailable, Overloaded: handle it again later.
        """
        await self._check(event, ())
        return await self._apply(event)

    async def handle_all(self, events: Sequence[IncomingEvent]) -> tuple[int, int]:
        """Handle events in their order; how many were handled, and how many had been before.

        All are checked before the first takes effect; an order counts as known from the event on
        that creates it.

        Raises:
            InvalidField, TextTooLong: one cannot be handled as it is; none took effect.
            Unavailable, Overloaded: handle all again; those that took effect are duplicates then.
        """
        placed: set[tuple[str, str]] = set()
        for event in events:
            await self._check(event, placed)
            if isinstance(event.data, OrderCreated):
                placed.add((event.tenant, event.data.order_id))
        handled = [await self._apply(event) for event in events]
        return handled.count(True), handled.count(False)

    async def _check(self, event: IncomingEvent, placed: Collection[tuple[str, str]]) -> None:
        match event.data:
            case OrderCreated() as order:
                self._orders.check_created(order)
            case OrderStatusChanged() as changed:
                await self._orders.check_status(event.tenant, changed, placed)
            case UserBlocked() | UserUnblocked() as user:
                self._users.check(user)
            case ProductUpdated() | ProductDeleted():
                pass

    async def _apply(self, event: IncomingEvent) -> bool:
        match event.data:
            case OrderCreated() as order:
                return await self._orders.created(event, order)
            case OrderStatusChanged() as changed:
                return await self._orders.status_changed(event, changed)
            case ProductUpdated() as product:
                return await self._products.updated(event, product)
            case ProductDeleted() as product:
                return await self._products.deleted(event, product)
            case UserBlocked() as user:
                return await self._users.blocked(event, user)
            case UserUnblocked() as user:
                return await self._users.unblocked(event, user)
