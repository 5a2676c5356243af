"""What the memory store holds: one tenant's state in plain dictionaries."""

from collections import defaultdict
from dataclasses import dataclass, field

from tradewire.domain.types import Conversation, Edit, Member, Message, OrderCard, ProductCard
from tradewire.ports import MissedChange, Suspension


@dataclass
class Seat:
    """A member of a conversation, with the settings and markers that are the member's own.

    `muted_until` in ms since 1970; `read_change` and `delivered_change` are the ids of the changes
    that last moved the markers, 0 when a sent message did.
    """

    member: Member
    public: bool = True
    read_change: int = 0
    delivered_change: int = 0
    archived: bool = False
    pinned: bool = False
    hidden: bool = False
    muted_until: int | None = None


@dataclass
class Room:
    """A conversation with all that belongs to it; messages by id, ascending.

    `created` is the id of its making.
    """

    created: int
    conversation: Conversation
    seats: dict[str, Seat]
    messages: dict[int, Message] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    edits: dict[int, list[Edit]] = field(default_factory=dict)
    changes: list[MissedChange] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """Id of the newest message, 0 when there is none."""
        return next(reversed(self.messages), 0)


@dataclass
class Tenant:
    """Everything of one tenant."""

    rooms: dict[str, Room] = field(default_factory=dict)
    user_changes: dict[str, list[MissedChange]] = field(default_factory=lambda: defaultdict(list))
    products: dict[str, ProductCard] = field(default_factory=dict)
    retired: dict[str, int] = field(default_factory=dict)
    shown_products: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    orders: dict[str, tuple[OrderCard, str]] = field(default_factory=dict)
    blocks: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    suspensions: dict[str, Suspension] = field(default_factory=dict)
    user_revocations: dict[str, int] = field(default_factory=dict)
    token_revocations: set[str] = field(default_factory=set)
    last_seen: dict[str, int] = field(default_factory=dict)
