"""Identity, order and time: one id space for messages and changes.

An id is a positive 63-bit integer: 41 bits of milliseconds since 2024-01-01 UTC, 10 bits of node,
12 bits of sequence; so ids sort by time, and the id's own time can be read from it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

EPOCH_MS = 1_704_067_200_000
NODE_BITS = 10
SEQUENCE_BITS = 12
TIME_SHIFT = NODE_BITS + SEQUENCE_BITS
MAX_ID = (1 << 63) - 1

SLOT_SHIFT = TIME_SHIFT + 14
"""An activity slot is 2**14 ms (16.4 s): how finely the inbox index is kept."""

_NODE_MASK = (1 << NODE_BITS) - 1
_SEQUENCE_MASK = (1 << SEQUENCE_BITS) - 1


class Clock:
    """A hybrid logical clock that issues ids.

    It never issues an id that is not greater than all it has issued or seen, whatever the wall
    clock does: an answer sorts after what it answers, even between nodes whose clocks differ.
    """

    def __init__(self, now_ms: Callable[[], int], node: int = 0) -> None:
        self._now_ms = now_ms
        self._last = 0
        self.move_to(node)

    def now_ms(self) -> int:
        """Milliseconds since 1970 by the wall clock."""
        return self._now_ms()

    def move_to(self, node: int) -> None:
        """Issue ids of another node number from now on."""
        if not 0 <= node < 1 << NODE_BITS:
            raise ValueError(f"node must be 0..{(1 << NODE_BITS) - 1}, not {node}")
        self._node = node << SEQUENCE_BITS

    def next_id(self) -> int:
        """A fresh id, greater than every id issued or observed before."""
        floor = (self._now_ms() - EPOCH_MS) << TIME_SHIFT | self._node
        if floor <= self._last:
            floor = self._following(self._last)
        self._last = floor
        return floor

    def observe(self, seen: int) -> None:
        """Take notice of an id issued elsewhere, or read from the store."""
        self._last = max(self._last, seen)

    def _following(self, last: int) -> int:
        """The least id of this node above `last`: the next sequence number, or the next ms."""
        sequence = (last & _SEQUENCE_MASK) + 1
        time = last >> TIME_SHIFT
        candidate = time << TIME_SHIFT | self._node | sequence
        if sequence <= _SEQUENCE_MASK and candidate > last:
            return candidate
        if time << TIME_SHIFT | self._node > last:
            return time << TIME_SHIFT | self._node
        return (time + 1) << TIME_SHIFT | self._node


def node_of(value: int) -> int:
    """The number of the node that issued an id."""
    return value >> SEQUENCE_BITS & _NODE_MASK


def id_ms(value: int) -> int:
    """The time of an id in milliseconds since 1970."""
    return (value >> TIME_SHIFT) + EPOCH_MS


def id_at(ms: int) -> int:
    """The least id of that millisecond since 1970 (0 for times before 2024)."""
    return max(ms - EPOCH_MS, 0) << TIME_SHIFT


def slot_of(value: int) -> int:
    """The activity slot an id falls into."""
    return value >> SLOT_SHIFT


@lru_cache(maxsize=256)
def timestamp(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-20T10:00:00.000Z`."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_timestamp(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time.

    Raises:
        ValueError: not a time, or without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return round(moment.timestamp() * 1000)


def direct_conversation_id(tenant: str, context: str, first: str, second: str) -> str:
    """The id of the one direct conversation that two users have about a context.

    A UUIDv8 (RFC 9562 §5.8) from a hash of its arguments, whichever user comes first: nodes that
    create the conversation at once create the same one.
    """
    users = sorted((first, second))
    digest = sha256("\0".join((tenant, context, *users)).encode()).digest()
    value = int.from_bytes(digest[:16])
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))
