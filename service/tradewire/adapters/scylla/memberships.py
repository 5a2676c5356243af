"""Members seen from their conversation, and conversations seen from a member; read fresh."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.requests import Row
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.domain.receipts import Receipt
from tradewire.domain.types import Member

ASKED = 100
"""Conversations, or members, asked for in one statement."""


class Seat(NamedTuple):
    """A conversation that a user is a member of, with the user's own settings.

    Attributes:
        joined: the id of the user's joining.
        created: the id of the conversation's making.
        muted_until, hidden_at: ms and id; 0 for not.
    """

    conversation_id: str
    joined: int
    created: int
    archived: bool
    pinned: bool
    muted_until: int
    hidden_at: int


class Markers(NamedTuple):
    """A row of MEMBERS; what it holds of a former conversation of the same id counts as none.

    Attributes:
        role: "" for one who is no member.
        read_change, delivered_change: which changes moved the markers, 0 for none.
    """

    user_id: str
    role: str
    joined_at: str
    read: int
    delivered: int
    read_change: int
    delivered_change: int
    private: bool

    def member(self) -> Member:
        """The member as others see it."""
        return Member(
            user_id=self.user_id,
            role=self.role,  # type: ignore[arg-type]  # the store holds no others
            joined_at=self.joined_at,
            last_read_id=str(self.read),
            last_delivered_id=str(self.delivered),
        )

    def receipt(self) -> Receipt:
        """The member's receipt."""
        return Receipt(self.user_id, self.read, self.delivered)


def parts_of(ids: Sequence[str]) -> list[Sequence[str]]:
    """As many ids together as are asked for in one statement."""
    return [ids[at : at + ASKED] for at in range(0, len(ids), ASKED)]


async def seats(
    engine: Engine, tenant: str, user_id: str, conversation_ids: Sequence[str]
) -> dict[str, Seat]:
    """Those of these conversations that a user is a member of now, by id."""
    reads = [
        engine.rows("MEMBERSHIPS", tenant, user_id, part) for part in parts_of(conversation_ids)
    ]
    return {
        conversation_id: Seat(
            *(conversation_id, joined, created or 0, bool(archived), bool(pinned)),
            *(muted_until or 0, hidden_at or 0),
        )
        for rows in await all_of(reads)
        for conversation_id, joined, created, archived, pinned, muted_until, hidden_at in rows
        if joined
    }


async def room_of_seat(rooms: Rooms, tenant: str, seat: Seat) -> Room | None:
    """The conversation of a seat; a remembered one may be a former one of the same id."""
    room = await rooms.get(tenant, seat.conversation_id)
    if room is not None and room.created != seat.created:
        room = await rooms.read(tenant, seat.conversation_id)
    return room


def members_of(rows: Iterable[Row], deleted_at: int) -> list[Markers]:
    """The members among rows of MEMBERS; `deleted_at` is that of the conversation."""
    return [markers_of(row, deleted_at) for row in rows if row[1]]


def markers_of(row: Row, deleted_at: int) -> Markers:
    """A row of MEMBERS."""
    user_id, role, joined_at, read, delivered, read_change, delivered_change, private = row
    read = _above(read, deleted_at)
    return Markers(
        *(user_id, role or "", joined_at or "", read, max(read, _above(delivered, deleted_at))),
        *(_above(read_change, deleted_at), _above(delivered_change, deleted_at), bool(private)),
    )


def _above(marker: int | None, deleted_at: int) -> int:
    return marker if marker is not None and marker > deleted_at else 0
