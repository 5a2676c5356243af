"""What every use case works with: the ports, the caches of what policy needs, and the commit."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tradewire.domain import policy
from tradewire.domain.caller import Caller
from tradewire.domain.errors import NotFound, TradewireError, Unavailable
from tradewire.domain.ids import Clock
from tradewire.domain.writes import Unit, Write
from tradewire.ports import Access, Hub, Store, Suspension
from tradewire.telemetry.metrics import Metrics
from tradewire.usecases.cache import Cache

COMMIT_DEADLINE_S = 10.0
CACHE_AGE_S = 30.0
"""How long a cached conversation may differ from the store, should a change made on another node
not be heard of; those made here are seen at once.
"""

DOUBTFUL_AGE_S = 2.0
"""The same while other nodes are known not to be heard."""

Key = tuple[str, str]


class Context:
    """The ports and caches that the use cases share.

    Attributes:
        access: by (tenant, conversation_id); None: no such conversation.
        blocks: by (tenant, user_id), users with a block between them, either way.
        suspensions: by (tenant, user_id).
        revocations: by (tenant, user_id), when the user's tokens were revoked.
        revoked_tokens: by (tenant, token id).
        caches: those whose changes other nodes are told of, by name.
    """

    def __init__(
        self, store: Store, hub: Hub, clock: Clock, metrics: Metrics | None = None
    ) -> None:
        self.metrics = metrics or Metrics()
        self.store = store
        self.hub = hub
        self.clock = clock
        self.access: Cache[Key, Access | None] = Cache(
            lambda key: store.conversations.access(*key),
            CACHE_AGE_S,
            on_change=lambda key: hub.changed("access", *key),
        )
        self.blocks: Cache[Key, frozenset[str]] = Cache(
            lambda key: store.people.block_relations(*key),
            CACHE_AGE_S,
            on_change=lambda key: hub.changed("blocks", *key),
        )
        self.suspensions: Cache[Key, Suspension | None] = Cache(
            lambda key: store.people.suspension(*key), CACHE_AGE_S
        )
        self.revocations: Cache[Key, int | None] = Cache(
            lambda key: store.people.revoked_at(*key), CACHE_AGE_S
        )
        self.revoked_tokens: Cache[Key, bool] = Cache(
            lambda key: store.people.token_revoked(*key), CACHE_AGE_S
        )
        self.caches: dict[str, Cache[Key, Any]] = {"access": self.access, "blocks": self.blocks}

    async def member_access(self, tenant: str, user_id: str, conversation_id: str) -> Access:
        """A conversation that the user is a member of.

        Raises:
            NotFound: no such conversation, or not for this user.
        """
        access = await self.access.get((tenant, conversation_id))
        if access is None or user_id not in access.roles:
            raise NotFound(field="conversation_id")
        return access

    async def allow(self, caller: Caller, conversation_id: str, action: policy.Action) -> Access:
        """A conversation in which the caller may do this.

        Raises:
            NotFound, Forbidden, ReadOnly, ConversationClosed: see policy.require.
        """
        access = await self.access.get((caller.tenant, conversation_id))
        if access is None:
            raise NotFound(field="conversation_id")
        policy.require(caller, access.conversation, access.roles.get(caller.user_id), action)
        return access

    def present_access(self, tenant: str, access: Access) -> Access:
        """The conversation as the last commit left it; `access` is how it was seen before.

        Every change of a conversation renews what is cached of it when it is committed. So what is
        committed next, though decided on the older state, is told to those who are members then.
        """
        return self.access.peek((tenant, access.conversation.conversation_id)) or access

    async def commit(
        self,
        *writes: Write,
        committed: Callable[[Sequence[Any]], None] | None = None,
        handles: tuple[str, str] | None = None,
    ) -> Sequence[Any]:
        """Append a unit and wait for its results.

        `committed` is called with them in commit order, before anything that was appended later:
        the place to renew caches and to tell the hub. For a unit whose event was handled before,
        the results are empty and `committed` is not called.

        Raises:
            Unavailable: not durable, or not known to be, within the deadline.
            TradewireError: what a write refused.
        """
        waiter: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()

        def done(outcome: Sequence[Any] | TradewireError) -> None:
            if isinstance(outcome, TradewireError):
                if not waiter.done():
                    waiter.set_exception(outcome)
                return
            if outcome and committed is not None:
                committed(outcome)
            if not waiter.done():
                waiter.set_result(outcome)

        self.store.journal.append(Unit(writes, handles), done)
        try:
            return await asyncio.wait_for(waiter, COMMIT_DEADLINE_S)
        except TimeoutError as error:
            raise Unavailable from error
