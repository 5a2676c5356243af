"""What a look through a store finds: indexes and marks that do not agree with what they are of."""

from msgspec import Struct


class Recount(Struct, frozen=True):
    """What was found of one conversation, or of what belongs to none.

    Attributes:
        conversations: how many were looked at: 1 or 0.
        members: how many were looked at.
        differences: a line each.
    """

    conversations: int
    members: int
    differences: list[str]
