"""Delivery receipts, which the client sends by itself (protocol §4, MarkMessagesAsDelivered)."""

import asyncio
from itertools import islice

from tradewire.client.codec import Json


class DeliveryReceipts:
    """What was received and not yet said so: one id for each conversation, the newest."""

    def __init__(self) -> None:
        self._up_to: dict[str, int] = {}
        self._waiting = asyncio.Event()

    def received(self, message: Json) -> None:
        """A message by someone else reached this device."""
        conversation_id, message_id = message["conversation_id"], int(message["message_id"])
        self._up_to[conversation_id] = max(message_id, self._up_to.get(conversation_id, 0))
        self._waiting.set()

    async def take(self, limit: int) -> list[Json]:
        """Wait for receipts, and take the commands for the `limit` oldest of them."""
        await self._waiting.wait()
        taken = [(name, self._up_to.pop(name)) for name in list(islice(self._up_to, limit))]
        if not self._up_to:
            self._waiting.clear()
        return [
            {"type": "MarkMessagesAsDelivered", "conversation_id": name, "up_to": str(message_id)}
            for name, message_id in taken
        ]
