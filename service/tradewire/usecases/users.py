"""What the marketplace decides about users: blocks and suspensions (protocol §7)."""

from collections.abc import Sequence
from typing import Any

from tradewire.domain.errors import InvalidField
from tradewire.domain.events import UserBlocked
from tradewire.domain.incoming import IncomingEvent, UserUnblocked
from tradewire.domain.incoming import UserBlocked as BlockedEvent
from tradewire.domain.writes import SetBlock, SetSuspension
from tradewire.ports import Refusal
from tradewire.usecases.context import Context
from tradewire.usecases.moments import milliseconds
from tradewire.usecases.refusals import take_effect


class Users:
    """Blocks users for one another or on the whole platform, and takes it back.

    A block between two users has no end of its own: `until` is the platform's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def check(self, data: BlockedEvent | UserUnblocked) -> None:
        """Raise unless the event can be handled.

        Raises:
            InvalidField: a user blocks itself, or the time is out of range.
        """
        if data.blocked_by == data.user_id:
            raise InvalidField("A user cannot block itself.", field="blocked_by")
        if isinstance(data, BlockedEvent) and data.until is not None:
            milliseconds(data.until, "until")

    async def blocked(self, event: IncomingEvent, data: BlockedEvent) -> bool:
        """Block a user; False for an event handled before."""
        if data.blocked_by is not None:
            return await self._set_block(event, data.blocked_by, data.user_id, blocked=True)
        until = None if data.until is None else milliseconds(data.until, "until")
        return await self._suspend(
            event,
            SetSuspension(
                tenant=event.tenant,
                change_id=self._context.clock.next_id(),
                user_id=data.user_id,
                suspended=True,
                until=until,
                reason=data.reason,
            ),
        )

    async def unblocked(self, event: IncomingEvent, data: UserUnblocked) -> bool:
        """Take a block back; False for an event handled before."""
        if data.blocked_by is not None:
            return await self._set_block(event, data.blocked_by, data.user_id, blocked=False)
        lift = SetSuspension(
            tenant=event.tenant,
            change_id=self._context.clock.next_id(),
            user_id=data.user_id,
            suspended=False,
        )
        return await self._suspend(event, lift)

    async def _set_block(
        self, event: IncomingEvent, blocker: str, user_id: str, *, blocked: bool
    ) -> bool:
        tenant, context = event.tenant, self._context
        change_id = context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            context.blocks.drop((tenant, blocker))
            context.blocks.drop((tenant, user_id))
            if results[0]:
                told = UserBlocked(change_id=str(change_id), user_id=user_id, blocked=blocked)
                context.hub.publish(tenant, (blocker,), told, event_id=change_id)

        write = SetBlock(
            tenant=tenant,
            change_id=change_id,
            user_id=blocker,
            blocked_id=user_id,
            blocked=blocked,
        )
        return bool(await context.commit(write, committed=committed, handles=(tenant, event.ce_id)))

    async def _suspend(self, event: IncomingEvent, write: SetSuspension) -> bool:
        tenant, context = event.tenant, self._context

        def committed(_: Sequence[Any]) -> None:
            context.suspensions.drop((tenant, write.user_id))
            lasts = write.until is None or write.until > context.clock.now_ms()
            if write.suspended and lasts:
                refusal = Refusal(write.change_id, tenant, write.user_id, blocked=True)
                take_effect(context, refusal)

        return bool(await context.commit(write, committed=committed, handles=(tenant, event.ce_id)))
