"""Blocks between users."""

from collections.abc import Sequence
from typing import Any

from tradewire.domain.caller import Caller
from tradewire.domain.commands import BlockUser, GetBlockedUsers, UnblockUser
from tradewire.domain.errors import InvalidField
from tradewire.domain.events import UserBlocked
from tradewire.domain.results import BlockedUsersResult, Nothing
from tradewire.domain.writes import SetBlock
from tradewire.usecases.context import Context


class Blocks:
    """The commands on blocks."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def block(self, caller: Caller, command: BlockUser) -> Nothing:
        """BlockUser."""
        if command.user_id == caller.user_id:
            raise InvalidField("Nobody blocks themselves.", field="user_id")
        await self._set(caller, command.user_id, blocked=True)
        return Nothing()

    async def unblock(self, caller: Caller, command: UnblockUser) -> Nothing:
        """UnblockUser: whom the caller has not blocked stays so."""
        await self._set(caller, command.user_id, blocked=False)
        return Nothing()

    async def list(self, caller: Caller, _: GetBlockedUsers) -> BlockedUsersResult:
        """GetBlockedUsers, by user id."""
        found = await self._context.store.people.blocked_by(caller.tenant, caller.user_id)
        return BlockedUsersResult([block.user_id for block in found])

    async def _set(self, caller: Caller, user_id: str, *, blocked: bool) -> None:
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            for changed in (caller.user_id, user_id):
                self._context.blocks.drop((caller.tenant, changed))
            if results[0]:
                event = UserBlocked(change_id=str(change_id), user_id=user_id, blocked=blocked)
                own = (caller.user_id,)
                self._context.hub.publish(caller.tenant, own, event, event_id=change_id)

        await self._context.commit(
            SetBlock(
                tenant=caller.tenant,
                change_id=change_id,
                user_id=caller.user_id,
                blocked_id=user_id,
                blocked=blocked,
            ),
            committed=committed,
        )
