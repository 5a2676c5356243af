"""Messages and conversations as a reader sees them: with receipts' status and current cards."""

from collections.abc import Iterable, Sequence

from tradewire.domain.errors import NotFound
from tradewire.domain.receipts import Receipt, add_status
from tradewire.domain.types import SYSTEM, Conversation, Message
from tradewire.usecases.context import Context


class Views:
    """Reads of single things in the form in which a client gets them."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._clock = context.clock

    async def conversation(self, tenant: str, user_id: str, conversation_id: str) -> Conversation:
        """A conversation as the user sees it.

        Raises:
            NotFound: there is none.
        """
        now = self._clock.now_ms()
        view = await self._store.conversations.view(tenant, user_id, conversation_id, now)
        if view is None:
            raise NotFound(field="conversation_id")
        await self.finish_conversations(tenant, [view])
        return view

    async def message(self, tenant: str, conversation_id: str, message_id: int) -> Message:
        """One message.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.messages.by_id(tenant, [(conversation_id, message_id)])
        if not found:
            raise NotFound(field="message_id")
        await self.add_cards(tenant, found)
        add_status(found, await self._store.messages.receipts(tenant, conversation_id))
        return found[0]

    async def finish_conversations(
        self, tenant: str, conversations: Sequence[Conversation]
    ) -> None:
        """Give the last messages of conversations their status and cards."""
        last = [shown for shown in conversations if shown.last_message is not None]
        await self.add_cards(tenant, [shown.last_message for shown in last if shown.last_message])
        for shown in last:
            if shown.last_message and shown.members and shown.member_count <= len(shown.members):
                add_status([shown.last_message], [Receipt.of(each) for each in shown.members])

    async def add_cards(self, tenant: str, messages: Iterable[Message]) -> None:
        """Put the catalogue's current card into product and order messages.

        An order's card only where one of its parties put it: naming an order reveals nothing.
        """
        products = _by_subject(messages, "product", "product_id")
        orders = _by_subject(messages, "order", "order_id")
        if products:
            for product_id, product in (
                await self._store.catalogue.products(tenant, list(products))
            ).items():
                for message in products[product_id]:
                    message.card = product
        if orders:
            for order_id, order in (
                await self._store.catalogue.orders(tenant, list(orders))
            ).items():
                parties = (order.buyer_id, order.seller_id, SYSTEM)
                for message in orders[order_id]:
                    if message.sender_id in parties:
                        message.card = order


def _by_subject(messages: Iterable[Message], kind: str, field: str) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for message in messages:
        if message.content_type == kind and message.metadata and not message.deleted:
            subject = message.metadata.get(field)
            if isinstance(subject, str):
                found.setdefault(subject, []).append(message)
    return found
