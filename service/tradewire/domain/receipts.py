"""Receipts, and what they make of the status of messages."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tradewire.domain.types import Member, Message


class Receipt(Struct, frozen=True, array_like=True, gc=False):
    """How far a member has read and received a conversation: message ids, 0 for nothing."""

    user_id: str
    read: int
    delivered: int

    @classmethod
    def of(cls, member: Member) -> "Receipt":
        """The receipt of a member."""
        return cls(member.user_id, int(member.last_read_id), int(member.last_delivered_id))


def add_status(messages: Iterable[Message], receipts: Sequence[Receipt]) -> None:
    """Set `read` or `delivered` on messages of one conversation that every member but the sender
    has read or received, `sent` on the others.

    `receipts` are those of all members; where there are none, messages stay as they are.
    """
    if not receipts:
        return
    users = [each.user_id for each in receipts]
    reader, others_read, all_read = _floors(users, [each.read for each in receipts])
    receiver, others_received, all_received = _floors(users, [each.delivered for each in receipts])
    for message in messages:
        sender, message_id = message.sender_id, message.id
        if message_id <= (others_read if sender == reader else all_read):
            message.status = "read"
        elif message_id <= (others_received if sender == receiver else all_received):
            message.status = "delivered"
        else:
            message.status = "sent"


def _floors(users: list[str], markers: list[int]) -> tuple[str, int, int]:
    """The user with the least marker, how far all the others have come, and how far all have."""
    least = min(markers)
    place = markers.index(least)
    others = min(markers[:place] + markers[place + 1 :], default=0)
    return users[place], others, least
