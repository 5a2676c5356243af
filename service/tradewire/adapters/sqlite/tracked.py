"""What the writer remembers of conversations, so that a busy one needs no reads."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tradewire.domain.ids import SLOT_SHIFT, slot_of
from tradewire.domain.limits import RECEIPT_MEMBERS

SLOT_MASK: Final = (1 << SLOT_SHIFT) - 1

ALWAYS: Final = 1 << 40
"""A `moved` beyond all slots: resume looks into the conversation whenever it is asked."""

NOBODY: Final = ""
ANYBODY: Final = "*"
"""No user id has this form."""

_REMEMBERED = 50_000


class Tracked(Struct):
    """A conversation as its member rows have it, all of them alike.

    Attributes:
        newest: id of the newest message, 0 when there is none.
        members: how many there are.
        activity, moved: as in the table `members`.
        unmarked: the one member who may lack the mark `unread`, or NOBODY, or ANYBODY.
        hidden: whether a member may have hidden it.
    """

    number: int
    newest: int
    members: int
    activity: int
    moved: int
    unmarked: str = ANYBODY
    hidden: bool = False

    @property
    def crowded(self) -> bool:
        """Whether it has so many members that a message does not touch their rows."""
        return self.members > RECEIPT_MEMBERS

    def is_settled(self, message_id: int, sender: str) -> bool:
        """Whether the members' rows already say all that a message would change in them."""
        return (
            self.activity == message_id | SLOT_MASK
            and not self.hidden
            and self.unmarked in (NOBODY, sender)
        )

    def advance(self, message_id: int) -> bool:
        """Take note of a new message; whether `activity` or `moved` changed by it."""
        slot, before = slot_of(message_id), (self.activity, self.moved)
        if slot_of(self.newest) < slot:
            self.activity = message_id
        else:
            self.activity = message_id | SLOT_MASK
        self.newest = message_id
        self.moved = max(self.moved, slot)
        return before != (self.activity, self.moved)

    def move(self, change_id: int) -> bool:
        """Take note of a change; whether `moved` changed by it."""
        before = self.moved
        self.moved = ALWAYS if self.crowded else max(before, slot_of(change_id))
        return self.moved != before

    def marked(self, sender: str) -> bool:
        """Whether all but the sender of a message are known to have the mark `unread`."""
        return self.unmarked in (NOBODY, sender)

    def mark(self, sender: str) -> None:
        """Take note that all but the sender of a message got the mark."""
        self.unmarked = sender if self.unmarked == ANYBODY else NOBODY

    def unmark(self, user_id: str) -> None:
        """Take note that a member lost the mark."""
        self.unmarked = user_id if self.unmarked in (NOBODY, user_id) else ANYBODY


Key = tuple[str, str]


class Remembered:
    """The conversations used last, by (tenant, conversation_id); a bounded number of them."""

    def __init__(self, load: Callable[[str, str], Tracked], size: int = _REMEMBERED) -> None:
        self._load = load
        self._half = size // 2
        self._recent: dict[Key, Tracked] = {}
        self._older: dict[Key, Tracked] = {}

    def get(self, tenant: str, conversation_id: str) -> Tracked:
        """The conversation. Raises what the load raises."""
        key = (tenant, conversation_id)
        found = self._recent.get(key)
        if found is None:
            found = self._older.pop(key, None) or self._load(tenant, conversation_id)
            if len(self._recent) >= self._half:
                self._older, self._recent = self._recent, {}
            self._recent[key] = found
        return found

    def forget(self, tenant: str, conversation_id: str) -> None:
        """Read it again the next time."""
        self._recent.pop((tenant, conversation_id), None)
        self._older.pop((tenant, conversation_id), None)

    def clear(self) -> None:
        """Forget all."""
        self._recent.clear()
        self._older.clear()
