"""Orders of the marketplace in the conversations of their buyers and sellers (protocol §7)."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec import structs

from tradewire.domain.content import check_text
from tradewire.domain.contexts import direct_conversation
from tradewire.domain.errors import InvalidField
from tradewire.domain.events import MessageReceived, OrderLinked, OrderUpdated
from tradewire.domain.ids import id_ms, timestamp
from tradewire.domain.incoming import IncomingEvent, OrderCreated, OrderStatusChanged
from tradewire.domain.types import SYSTEM, ContentType, Message, OrderCard, StatusChange
from tradewire.domain.writes import (
    CreateConversation,
    LinkOrder,
    NewMessage,
    OrderChanged,
    SetOrderStatus,
    Stored,
)
from tradewire.ports import Access
from tradewire.usecases.context import Context
from tradewire.usecases.conversations import announce
from tradewire.usecases.moments import milliseconds


class Orders:
    """Takes note of orders, links them to conversations and tells their members.

    An order, or a status of it, is posted once, by however many events it is told.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def check_created(self, order: OrderCreated) -> None:
        """Raise unless the order can be linked.

        Raises:
            InvalidField: buyer and seller are not two users, or the time is out of range.
            TextTooLong: the status cannot be shown.
        """
        for field in ("buyer_id", "seller_id"):
            if getattr(order, field) == SYSTEM:
                raise InvalidField(f"{SYSTEM} is no user.", field=field)
        if order.buyer_id == order.seller_id:
            raise InvalidField("The seller is the buyer.", field="seller_id")
        check_text(order.status, "status")
        milliseconds(order.created_at, "created_at")

    async def check_status(
        self, tenant: str, changed: OrderStatusChanged, placed: Collection[tuple[str, str]]
    ) -> None:
        """Raise unless the order is known, or among the `placed` (tenant, order id).

        Raises:
            InvalidField: there is no such order, or the time is out of range.
            TextTooLong: the status cannot be shown.
        """
        check_text(changed.status, "status")
        milliseconds(changed.changed_at, "changed_at")
        if (tenant, changed.order_id) in placed:
            return
        if await self._card(tenant, changed.order_id) is None:
            raise InvalidField("There is no such order.", field="order_id")

    async def created(self, event: IncomingEvent, order: OrderCreated) -> bool:
        """Link an order to its conversation and post its card; False for an event handled before.

        One that is known already is left as it is.
        """
        tenant, catalogue = event.tenant, self._context.store.catalogue
        linked = await catalogue.order_conversation(tenant, order.order_id)
        if linked is None:
            return await self._place(event, order)
        link = self._link(tenant, linked, order)
        return bool(await self._context.commit(link, handles=(tenant, event.ce_id)))

    async def status_changed(self, event: IncomingEvent, changed: OrderStatusChanged) -> bool:
        """Add a status to a known order and post it; False for an event handled before.

        An order whose conversation was deleted takes its status in silence.
        """
        tenant, mark = event.tenant, (event.tenant, event.ce_id)
        said_at = timestamp(milliseconds(changed.changed_at, "changed_at"))
        change = StatusChange(changed.status, said_at)
        card = await self._card(tenant, changed.order_id)
        said_before = card is not None and change in card.history
        access = await self._access(tenant, changed.order_id)
        status = SetOrderStatus(
            tenant=tenant,
            change_id=self._context.clock.next_id(),
            order_id=changed.order_id,
            change=change,
        )
        if access is None or said_before:
            return bool(await self._context.commit(status, handles=mark))
        members = access.roles
        post = self._post_status(tenant, access.conversation.conversation_id, status)

        def committed(results: Sequence[Any]) -> None:
            self._tell_status(tenant, members, status.change_id, results[0])
            self._tell_message(tenant, members, results[1])

        return bool(await self._context.commit(status, post, committed=committed, handles=mark))

    async def _card(self, tenant: str, order_id: str) -> OrderCard | None:
        cards = await self._context.store.catalogue.orders(tenant, [order_id])
        return cards.get(order_id)

    async def _access(self, tenant: str, order_id: str) -> Access | None:
        """The conversation that an order is linked to, if it is still there."""
        linked = await self._context.store.catalogue.order_conversation(tenant, order_id)
        return None if linked is None else await self._context.access.get((tenant, linked))

    async def _place(self, event: IncomingEvent, order: OrderCreated) -> bool:
        """Conversation, link and card in one unit; ids are issued in the order of telling."""
        tenant = event.tenant
        create = self._create(tenant, order)
        link = self._link(tenant, create.conversation_id, order)
        post = self._post(
            tenant,
            create.conversation_id,
            "order",
            key=f"order:{order.order_id}",
            metadata={"order_id": order.order_id},
        )

        def committed(results: Sequence[Any]) -> None:
            made, linked, stored = results
            announce(self._context, create, made)
            if linked:
                self._context.access.drop((tenant, link.conversation_id))
                self._tell_linked(link)
            self._tell_message(tenant, _parties(link.order), stored, link.order)

        return bool(
            await self._context.commit(
                create, link, post, committed=committed, handles=(tenant, event.ce_id)
            )
        )

    def _create(self, tenant: str, order: OrderCreated) -> CreateConversation:
        change_id = self._context.clock.next_id()
        conversation, members = direct_conversation(
            tenant,
            change_id,
            order.buyer_id,
            order.seller_id,
            created_by=order.buyer_id,
            listing_id=order.listing_id,
            product_id=None if order.listing_id else _only_product(order),
        )
        return CreateConversation(
            tenant=tenant,
            conversation_id=conversation.conversation_id,
            change_id=change_id,
            conversation=conversation,
            members=members,
            shown_to=order.buyer_id,
        )

    def _link(self, tenant: str, conversation_id: str, order: OrderCreated) -> LinkOrder:
        return LinkOrder(
            tenant=tenant,
            conversation_id=conversation_id,
            change_id=self._context.clock.next_id(),
            order=_new_card(order),
        )

    def _post_status(self, tenant: str, conversation_id: str, status: SetOrderStatus) -> NewMessage:
        # Worded so that it is true also of a status that arrives after a newer one.
        name, order_id = status.change.status, status.order_id
        return self._post(
            tenant,
            conversation_id,
            "system",
            key=f"order:{order_id}:{status.change.changed_at}:{name}",
            text=f"Order {order_id}: {name}",
            metadata={"order_id": order_id, "status": name},
        )

    def _post(
        self, tenant: str, conversation_id: str, content_type: ContentType, **fields: Any
    ) -> NewMessage:
        message_id = self._context.clock.next_id()
        message = Message(
            message_id=str(message_id),
            conversation_id=conversation_id,
            sender_id=SYSTEM,
            content_type=content_type,
            created_at=timestamp(id_ms(message_id)),
            status="sent",
            **fields,
        )
        return NewMessage(
            tenant=tenant,
            conversation_id=conversation_id,
            message_id=message.id,
            message=message,
        )

    def _tell_linked(self, link: LinkOrder) -> None:
        event = OrderLinked(
            change_id=str(link.change_id), conversation_id=link.conversation_id, order=link.order
        )
        self._context.hub.publish(link.tenant, _parties(link.order), event, event_id=link.change_id)

    def _tell_status(
        self, tenant: str, members: Iterable[str], change_id: int, changed: OrderChanged | None
    ) -> None:
        if changed is None:
            return
        event = OrderUpdated(
            change_id=str(change_id),
            conversation_id=changed.conversation_id,
            order=changed.order,
        )
        self._context.hub.publish(tenant, members, event, event_id=change_id)

    def _tell_message(
        self, tenant: str, members: Iterable[str], stored: Stored, card: OrderCard | None = None
    ) -> None:
        if stored.duplicate:
            return
        message = structs.replace(stored.message, card=card)
        self._context.hub.publish(
            tenant, members, MessageReceived(message=message), event_id=message.id
        )


def _only_product(order: OrderCreated) -> str | None:
    """The product that the order is of, when it is just one."""
    products = {item.product_id for item in order.items}
    return products.pop() if len(products) == 1 else None


def _parties(order: OrderCard) -> tuple[str, str]:
    return order.buyer_id, order.seller_id


def _new_card(order: OrderCreated) -> OrderCard:
    created_at = timestamp(milliseconds(order.created_at, "created_at"))
    return OrderCard(
        order_id=order.order_id,
        buyer_id=order.buyer_id,
        seller_id=order.seller_id,
        items=order.items,
        total=order.total,
        status=order.status,
        created_at=created_at,
        history=[StatusChange(order.status, created_at)],
    )
