"""Direct conversations: each of the two users writes on one device and reads on another."""

from tests.chaos.load import (
    Load,
    RovingClientReader,
    RovingClientWriter,
    RovingSocketReader,
    RovingSocketWriter,
)
from tests.fault.load import Told, open_direct

ROOMS = 3


class Room:
    """A conversation, who writes in it and who reads it."""

    def __init__(self, load: Load, number: int, room: str) -> None:
        one, other = users_of(number)
        self.id = room
        self.users = (one, other)
        self.in_order = (other,)
        self.writers = (RovingSocketWriter(load, one, room), RovingClientWriter(load, other, room))
        self.readers = (RovingSocketReader(load, one), RovingClientReader(load, other))

    @property
    def acknowledged(self) -> list[Told]:
        """What was acknowledged, in no order."""
        return [told for writer in self.writers for told in writer.acknowledged.values()]


def users_of(number: int) -> tuple[str, str]:
    """The two users of a room."""
    return f"buyer{number}", f"seller{number}"


async def open_rooms(load: Load) -> list[Room]:
    """All rooms, made on any node."""
    rooms = []
    for number in range(ROOMS):
        one, other = users_of(number)
        rooms.append(Room(load, number, await open_direct(load.any_node(), one, other)))
    return rooms
