"""What other nodes tell this one, beyond what goes to connections."""

from tradewire.domain.events import Event, UserOffline, UserOnline
from tradewire.domain.types import Presence as Chosen
from tradewire.usecases.context import CACHE_AGE_S, DOUBTFUL_AGE_S, Context
from tradewire.usecases.presence import Presence
from tradewire.usecases.typing import Typing


class Neighbours:
    """Implements edge.cluster.Listener with the use cases of this node."""

    def __init__(self, context: Context, presence: Presence, typing: Typing) -> None:
        self._context = context
        self._presence = presence
        self._typing = typing

    def forget(self, cache: str, tenant: str, key: str) -> None:
        """A cached value is out of date."""
        self._context.caches[cache].forget((tenant, key))

    def hear(self, tenant: str, event: Event) -> None:
        """An event was told to users here."""
        self._typing.hear(tenant, event)

    def appears(self, tenant: str, user_id: str, status: Chosen | None) -> None:
        """How a user wants to appear."""
        self._presence.choose((tenant, user_id), status)

    def doubt_caches(self, *, doubtful: bool) -> None:
        """Whether changes on other nodes may go unheard at present."""
        for cache in self._context.caches.values():
            cache.age_s = DOUBTFUL_AGE_S if doubtful else CACHE_AGE_S

    def missed(self) -> None:
        """Changes on other nodes may have gone unheard: nothing cached can be trusted."""
        for cache in self._context.caches.values():
            cache.forget_all()

    async def appearance(
        self, tenant: str, user_id: str
    ) -> tuple[UserOnline | UserOffline, frozenset[str]]:
        """How a user appears now, and the users who must not see it.

        Raises:
            Unavailable, Overloaded: the store did not answer.
        """
        return await self._presence.appearance(tenant, user_id)

    async def settled(self) -> None:
        """Wait until every send that has been taken is stored or refused.

        Raises:
            Unavailable: not within the deadline.
        """
        await self._context.commit()
