"""Turning away who was let in: after a block on the platform or a revocation, here or elsewhere."""

import asyncio

from tradewire.domain.errors import Close
from tradewire.domain.ids import id_at, id_ms
from tradewire.ports import Cluster, Refusal
from tradewire.usecases.context import Context

WINDOW_MS = 60_000
"""How far back each look reaches: a refusal appears that long after its id at most, when its commit
was held up, or another node had to finish it."""


class Refusals:
    """Hears what other nodes have refused."""

    def __init__(self, context: Context, cluster: Cluster) -> None:
        self._context = context
        self._cluster = cluster
        self._looked_at = context.clock.now_ms()
        self._heard: set[int] = set()

    async def look(self) -> None:
        """Let take effect what has been refused since the last look; to be called twice a second.

        Raises:
            Unavailable, Overloaded: the store did not answer; the next look makes up for it.
        """
        now, after = self._context.clock.now_ms(), id_at(self._looked_at - WINDOW_MS)
        self._heard = {refusal_id for refusal_id in self._heard if refusal_id > after}
        for refusal in await self._cluster.refusals(after):
            if refusal.id not in self._heard and await self._stands(refusal):
                take_effect(self._context, refusal)
                self._heard.add(refusal.id)
                # Each may look through all connections: the others must not wait for many.
                await asyncio.sleep(0)
        self._looked_at = now

    async def _stands(self, refusal: Refusal) -> bool:
        """Whether it still holds. The suspension may not be there yet: then the next look sees."""
        if not refusal.blocked or refusal.user_id is None:
            return True
        user = (refusal.tenant, refusal.user_id)
        self._context.suspensions.drop(user)
        suspension = await self._context.suspensions.get(user)
        return suspension is not None and suspension.holds(self._context.clock.now_ms())


def take_effect(context: Context, refusal: Refusal) -> None:
    """Refuse a user or a token on this node, and close the connections that it had."""
    tenant, hub = refusal.tenant, context.hub
    closed = 0
    if refusal.token_id is not None:
        context.revoked_tokens.put((tenant, refusal.token_id), True)
        closed = hub.disconnect_token(tenant, refusal.token_id)
    elif refusal.user_id is not None and refusal.blocked:
        closed = hub.disconnect(tenant, refusal.user_id, Close.BLOCKED)
    elif refusal.user_id is not None:
        user, at = (tenant, refusal.user_id), id_ms(refusal.id)
        context.revocations.put(user, max(context.revocations.peek(user) or 0, at))
        closed = hub.disconnect(*user, Close.UNAUTHENTICATED, issued_before=at / 1_000)
    if closed:
        took = context.clock.now_ms() - id_ms(refusal.id)
        context.metrics.refusal_seconds.observe(max(took, 0) / 1_000)
