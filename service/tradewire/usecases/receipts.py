"""Read and delivered markers."""

from collections.abc import Sequence
from typing import Any

from tradewire.domain.caller import Caller
from tradewire.domain.commands import MarkMessagesAsDelivered, MarkMessagesAsRead
from tradewire.domain.errors import InvalidField
from tradewire.domain.events import MessageDelivered, MessageRead
from tradewire.domain.ids import MAX_ID
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.domain.results import Nothing, ReadResult
from tradewire.domain.writes import Moved, MoveMarker
from tradewire.usecases.context import Context


class Receipts:
    """The commands that move markers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def read(self, caller: Caller, command: MarkMessagesAsRead) -> ReadResult:
        """MarkMessagesAsRead: listed messages mark all up to the newest of them."""
        moved = await self._move(caller, command.conversation_id, _up_to(command), read=True)
        return ReadResult(moved.marked, str(moved.up_to))

    async def delivered(self, caller: Caller, command: MarkMessagesAsDelivered) -> Nothing:
        """MarkMessagesAsDelivered."""
        await self._move(caller, command.conversation_id, int(command.up_to), read=False)
        return Nothing()

    async def _move(self, caller: Caller, conversation_id: str, up_to: int, *, read: bool) -> Moved:
        access = await self._context.member_access(caller.tenant, caller.user_id, conversation_id)
        public = len(access.roles) <= RECEIPT_MEMBERS
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            if not results[0].moved:
                return
            event = (MessageRead if read else MessageDelivered)(
                change_id=str(change_id),
                conversation_id=conversation_id,
                user_id=caller.user_id,
                up_to=str(results[0].up_to),
            )
            roles = self._context.present_access(caller.tenant, access).roles
            audience = [user for user in roles if user not in blocked]
            self._context.hub.publish(
                caller.tenant,
                audience if public else (caller.user_id,),
                event,
                event_id=change_id,
            )

        results = await self._context.commit(
            MoveMarker(
                tenant=caller.tenant,
                conversation_id=conversation_id,
                user_id=caller.user_id,
                read=read,
                up_to=up_to,
                change_id=change_id,
                public=public,
            ),
            committed=committed,
        )
        moved: Moved = results[0]
        return moved


def _up_to(command: MarkMessagesAsRead) -> int:
    if (command.up_to is not None) + (command.message_ids is not None) + command.all != 1:
        raise InvalidField("One of up_to, message_ids and all is needed.", field="up_to")
    if command.message_ids is not None:
        return max(map(int, command.message_ids))
    return MAX_ID if command.up_to is None else int(command.up_to)
