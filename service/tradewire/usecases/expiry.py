"""Messages whose time is over are deleted, as if their sender had done it."""

from tradewire.domain.types import SYSTEM
from tradewire.usecases.context import Context
from tradewire.usecases.messages import delete_message

_BATCH = 200


class Expiry:
    """Deletes expired messages and tells the members."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        """Delete what has expired by now; to be called every now and then."""
        now = self._context.clock.now_ms()
        due = await self._context.store.messages.expired(now, _BATCH)
        for tenant, conversation_id, message_id in due:
            access = await self._context.access.get((tenant, conversation_id))
            if access is not None:
                await delete_message(self._context, tenant, access, message_id, deleted_by=SYSTEM)
