"""Products of the marketplace, whose cards follow in every conversation (protocol §7)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from tradewire.domain.events import ProductUpdated
from tradewire.domain.incoming import IncomingEvent, ProductDeleted
from tradewire.domain.incoming import ProductUpdated as ProductEvent
from tradewire.domain.types import ProductCard, Role
from tradewire.domain.writes import PutProduct, RetireProduct, TouchProduct
from tradewire.usecases.context import Context

PAGE = 200
"""Conversations told in one unit."""


class Products:
    """Keeps the newest version of each product and tells those who see its card.

    The card is stored first and the conversations that show it are read after: one that shows it
    later has the new card anyway. The event counts as handled with its last unit, so one that a
    crash cut short is handled again and then tells all conversations, whether or not they heard
    before: telling a card twice redraws it twice. A version older than the known one tells nobody.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    async def updated(self, event: IncomingEvent, product: ProductEvent) -> bool:
        """Store a product's card and tell who sees it; False for an event handled before."""
        card = ProductCard(**structs.asdict(product))
        return await self._change(event, PutProduct(tenant=event.tenant, product=card))

    async def deleted(self, event: IncomingEvent, product: ProductDeleted) -> bool:
        """Mark a product as deleted and tell who sees it; False for an event handled before."""
        retire = RetireProduct(
            tenant=event.tenant, product_id=product.product_id, version=product.version
        )
        return await self._change(event, retire)

    async def _change(self, event: IncomingEvent, write: PutProduct | RetireProduct) -> bool:
        tenant, context = event.tenant, self._context
        product_id, version = _subject(write)
        await context.commit(write)
        card = (await context.store.catalogue.products(tenant, [product_id])).get(product_id)
        if card is None or card.version != version:
            return bool(await context.commit(write, handles=(tenant, event.ce_id)))
        after = ""
        while True:
            shown = await context.store.conversations.showing_product(
                tenant, product_id, after, PAGE
            )
            last = len(shown) < PAGE
            mark = (tenant, event.ce_id) if last else None
            results = await self._tell(tenant, write, card, shown, mark)
            if last:
                return bool(results)
            after = shown[-1]

    async def _tell(
        self,
        tenant: str,
        write: PutProduct | RetireProduct,
        card: ProductCard,
        conversation_ids: Sequence[str],
        mark: tuple[str, str] | None,
    ) -> Sequence[Any]:
        """One unit that tells a page; `write` is done by now and gives an empty page a result."""
        roles = await self._members(tenant, conversation_ids)
        touches = [
            TouchProduct(
                tenant=tenant,
                conversation_id=conversation_id,
                change_id=self._context.clock.next_id(),
                product_id=card.product_id,
            )
            for conversation_id in roles
        ]

        def committed(_: Sequence[Any]) -> None:
            for touch in touches:
                told = ProductUpdated(
                    change_id=str(touch.change_id),
                    conversation_id=touch.conversation_id,
                    product=card,
                )
                self._context.hub.publish(
                    tenant, roles[touch.conversation_id], told, event_id=touch.change_id
                )

        return await self._context.commit(write, *touches, committed=committed, handles=mark)

    async def _members(
        self, tenant: str, conversation_ids: Sequence[str]
    ) -> dict[str, Mapping[str, Role]]:
        """The members of those conversations that are still there."""
        found = await asyncio.gather(
            *(self._context.access.get((tenant, each)) for each in conversation_ids)
        )
        return {
            conversation_id: access.roles
            for conversation_id, access in zip(conversation_ids, found, strict=True)
            if access is not None
        }


def _subject(write: PutProduct | RetireProduct) -> tuple[str, int]:
    if isinstance(write, PutProduct):
        return write.product.product_id, write.product.version
    return write.product_id, write.version
