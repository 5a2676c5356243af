"""Which partition a thing is in: buckets of messages, slots and periods of activity; timestamps.

All of it follows from ids, so a partition is known without asking.
"""

from typing import Final

from tradewire.domain.ids import EPOCH_MS, TIME_SHIFT, id_ms
from tradewire.domain.types import Kind

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000

BUCKET_DAYS: Final[dict[Kind, int]] = {"direct": 30, "group": 10, "channel": 1}
"""How long a window of messages lasts: so that a partition keeps below 100,000 rows or 100 MB."""

NEWEST_BUCKET: Final = (1 << 31) - 1

SLOT_SHIFT: Final = TIME_SHIFT + 16
"""A slot of activity is 2**16 ms (65.5 s): a conversation has one row in it, however busy."""

PERIOD_SHIFT: Final = 13
"""A period is 2**13 slots (6.2 days): a partition of a user's activity."""

NEWEST_SLOT: Final = (1 << 31) - 1
NEWEST_PERIOD: Final = NEWEST_SLOT >> PERIOD_SHIFT


def bucket_of(kind: Kind, value: int) -> int:
    """The window of time that an id falls into, for a conversation of this kind."""
    return (value >> TIME_SHIFT) // (BUCKET_DAYS[kind] * DAY_MS)


def buckets_between(kind: Kind, first: int, last: int) -> range:
    """The windows from one id to another."""
    return range(bucket_of(kind, first), bucket_of(kind, last) + 1)


def slot_of(value: int) -> int:
    """The slot of activity that an id falls into."""
    return value >> SLOT_SHIFT


def slot_start(slot: int) -> int:
    """The least id of a slot."""
    return slot << SLOT_SHIFT


def period_of(slot: int) -> int:
    """The period that a slot is in."""
    return slot >> PERIOD_SHIFT


def listing_scope(user_id: str, listing_id: str) -> str:
    """The scope of a user's activity about one listing; no user id has this form."""
    return f"{user_id} {listing_id}"


def marker_timestamp(up_to: int) -> int:
    """The write timestamp (µs since 1970) of a marker: that of the id that it holds.

    A later marker wins whenever it arrives; of two within a millisecond the engine keeps the
    greater value.
    """
    return id_ms(up_to) * 1000


def hour_of(ms: int) -> int:
    """The hour since 1970 that a time (ms since 1970) lies in."""
    return ms // HOUR_MS


class Timestamps:
    """Write timestamps (µs since 1970) that always rise, near the time of the ids they are for."""

    def __init__(self) -> None:
        self._last = 0

    def after(self, value: int) -> int:
        """One for a write with this id, above all that were given before."""
        self._last = max(self._last + 1, id_ms(value) * 1000)
        return self._last

    def over(self, seen: int, value: int) -> int:
        """One for a write with this id over one that was read: above that, and else in the order of
        ids, so that of two nodes that write over the same one the younger id stays.
        """
        in_order = id_ms(value) * 1000 + (value % (1 << TIME_SHIFT) * 1000 >> TIME_SHIFT)
        given = max(seen + 1, in_order)
        self._last = max(self._last, given)
        return given


def oldest_change(now: int, days: int) -> int:
    """The least id that is not older than so many days; `now` in ms since 1970."""
    return max(now - days * DAY_MS - EPOCH_MS, 0) << TIME_SHIFT
