"""What a user missed: the oldest of it, from however many conversations.

The user's activity says which conversations moved in which slots. It is walked from the oldest on,
some slots at a time, and what happened in these is gathered, until there is more than is told.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.history import History, begin_of, both, one_of_each_key
from tradewire.adapters.scylla.layout import (
    buckets_between,
    oldest_change,
    slot_of,
    slot_start,
)
from tradewire.adapters.scylla.memberships import Markers, members_of, room_of_seat, seats
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.adapters.scylla.slots import Group, Slots
from tradewire.domain import rules
from tradewire.domain.ids import MAX_ID, id_at
from tradewire.domain.limits import CHANGES_DAYS, RECEIPT_MEMBERS
from tradewire.domain.packing import unpack_message
from tradewire.domain.types import Message
from tradewire.ports import Missed, MissedChange

WALKED = 20_000
"""Rows of activity read at most; what comes after counts as left out."""

ROWS = (20, 250)
"""Rows of activity read at a time: as many as may be told, within these."""

CHUNK = 200
"""Messages or changes of one conversation read at a time."""

AHEAD_MS = 7_200_000
"""How far ids may be ahead of this node's clock, and much more."""

Item = tuple[int, str, str, str, str, int | None, bytes]
"""Id, conversation id, kind ("" for a message), subject, detail, the id of the change if that is
another one, and the body of a message.
"""


class ResumeReads:
    """Reads what users missed."""

    def __init__(
        self, engine: Engine, rooms: Rooms, history: History, now_ms: Callable[[], int]
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._history = history
        self._now_ms = now_ms

    async def missed(self, tenant: str, user_id: str, after: int, limit: int) -> Missed:
        """See ports.Conversations.missed."""
        harvest = Harvest(after, limit)
        now = self._now_ms()
        sources = _Sources(self._engine, self._rooms, self._history, tenant, user_id, now)
        own, crowds = await both(
            self._engine.rows("USER_CHANGES", tenant, user_id, after, limit + 1),
            self._engine.rows("CROWDS", tenant, user_id),
        )
        harvest.add((*row, b"") for row in own)
        await sources.gather(harvest, dict.fromkeys((row[0] for row in crowds), after), MAX_ID)
        end = await self._walk(tenant, user_id, harvest, sources)
        return harvest.missed(end, now)

    async def _walk(
        self, tenant: str, user_id: str, harvest: "Harvest", sources: "_Sources"
    ) -> int:
        """Gather from all conversations, the oldest slots first; up to which id all is there."""
        slots = Slots(
            *(self._engine, tenant, user_id, slot_of(harvest.after)),
            descending=False,
            size=min(max(harvest.limit, ROWS[0]), ROWS[1]),
        )
        end = MAX_ID
        while groups := await slots.next():
            end = MAX_ID if slots.ended else slot_start(groups[-1].slot + 1)
            await sources.gather(harvest, _begins(groups), end)
            if groups[-1].last and harvest.end < end:
                return end
            if slots.rows >= WALKED and not slots.ended:
                return end if groups[-1].last else slot_start(groups[-1].slot)
        return MAX_ID


class Harvest:
    """The oldest of what was found, hardly more than is told.

    Attributes:
        end: what is younger need not be looked for.
    """

    def __init__(self, after: int, limit: int) -> None:
        self.after = after
        self.limit = limit
        self.end = MAX_ID
        self._items: list[Item] = []

    def add(self, items: Iterable[Item]) -> None:
        """Take what is after the id that was asked for."""
        self._items += [item for item in items if self.after < item[0] < self.end]
        if len(self._items) > self.limit + self.limit // 4:
            self.cut()

    def cut(self) -> None:
        """Drop what is too much, and note from where on it is."""
        if len(self._items) > self.limit:
            self._items.sort()
            del self._items[self.limit + 1 :]
            self.end = self._items[self.limit][0]

    def missed(self, end: int, now: int) -> Missed:
        """What is told; up to `end` all was looked for."""
        items = sorted(item for item in self._items if item[0] < end)
        kept = items[: self.limit]
        return Missed(
            one_of_each_key([_message(item, now) for item in kept if not item[2]]),
            _latest(item for item in kept if item[2]),
            truncated=len(items) > self.limit or end < MAX_ID,
        )


class _Sources:
    """The conversations of one user, each read as far as the walk has come."""

    def __init__(
        self,
        engine: Engine,
        rooms: Rooms,
        history: History,
        tenant: str,
        user_id: str,
        now: int,
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._history = history
        self._user = (tenant, user_id)
        self._oldest_change = oldest_change(now, CHANGES_DAYS)
        self._newest = id_at(now + AHEAD_MS)
        self._rooms_found: dict[str, Room | None] = {}
        self._since: dict[str, int] = {}

    async def gather(self, harvest: Harvest, begins: dict[str, int], end: int) -> None:
        """Gather what happened in conversations before the id `end`.

        Args:
            begins: by conversation, after which id; of one that was read before, after that.
        """
        new = {each: begins[each] for each in begins if each not in self._rooms_found}
        await self._find(harvest.after, new)
        reads = []
        for conversation_id in begins:
            room = self._rooms_found[conversation_id]
            if room is not None:
                since = self._since[conversation_id]
                reads.append(self._read(harvest, room, since, end, first=conversation_id in new))
                self._since[conversation_id] = end - 1
        await all_of(reads)
        harvest.cut()

    async def _find(self, after: int, begins: dict[str, int]) -> None:
        """Find those of these conversations that the user is a member of now."""
        tenant, _ = self._user
        here = await seats(self._engine, *self._user, list(begins))
        found = await all_of([room_of_seat(self._rooms, tenant, seat) for seat in here.values()])
        self._rooms_found |= dict.fromkeys(begins)
        for (conversation_id, seat), room in zip(here.items(), found, strict=True):
            if room is not None:
                # Of what was there before a user joined, the user's activity does not tell.
                begin = 0 if seat.joined > after else begins[conversation_id]
                self._rooms_found[conversation_id] = room
                self._since[conversation_id] = max(after, begin, begin_of(room))

    async def _read(
        self, harvest: Harvest, room: Room, lower: int, end: int, *, first: bool
    ) -> None:
        reads = [
            self._messages(harvest, room, lower, end),
            self._changes(harvest, room, lower, end),
        ]
        if first:
            reads.append(self._receipts(harvest, room))
        await all_of(reads)

    async def _messages(self, harvest: Harvest, room: Room, lower: int, end: int) -> None:
        size = min(harvest.limit + 1, CHUNK)
        end = min(end, self._newest)
        while lower < (upper := min(end, harvest.end)):
            rows = await self._history.stretch(
                "MESSAGES_AFTER", room, lower, upper, size, descending=False
            )
            harvest.add(
                (message_id, room.conversation_id, "", "", "", None, body)
                for message_id, sender, body in rows
                if sender is not None and body is not None
            )
            if len(rows) < size:
                return
            lower = rows[-1][0]

    async def _changes(self, harvest: Harvest, room: Room, lower: int, end: int) -> None:
        lower = max(lower, self._oldest_change)
        for bucket in buckets_between(room.kind, lower, min(end, self._newest)):
            if bucket > room.bucket(harvest.end):
                return
            lower = await self._changes_in(bucket, harvest, room, lower, end)

    async def _changes_in(
        self, bucket: int, harvest: Harvest, room: Room, lower: int, end: int
    ) -> int:
        place = (room.tenant, room.conversation_id, bucket)
        size = min(harvest.limit + 1, CHUNK)
        while lower < (upper := min(end, harvest.end)):
            rows = await self._engine.rows("CHANGES", *place, lower, upper, size)
            harvest.add(
                (change_id, room.conversation_id, kind, subject, detail or "", told_as, b"")
                for change_id, kind, subject, detail, told_as in rows
                if kind is not None and subject is not None
            )
            if len(rows) < size:
                break
            lower = rows[-1][0]
        return lower

    async def _receipts(self, harvest: Harvest, room: Room) -> None:
        """Receipts of all members that tell of them, in a crowd only the user's own."""
        _, user_id = self._user
        key = (room.tenant, room.conversation_id)
        if room.crowded_at or len(room.roles) > RECEIPT_MEMBERS:
            rows = await self._engine.rows("MEMBER", *key, user_id)
        else:
            rows = await self._engine.rows("MEMBERS", *key)
        for each in members_of(rows, room.deleted_at):
            if each.user_id == user_id or not each.private:
                harvest.add(_receipts(room.conversation_id, each))


def _begins(groups: Iterable[Group]) -> dict[str, int]:
    """Conversations with the id after which something may have happened there.

    One slot before the first that tells of it: another node may have known of a new member late.
    """
    begins: dict[str, int] = {}
    for group in groups:
        begin = max(slot_start(group.slot - 1) - 1, 0)
        for conversation_id, _ in group.rows:
            begins.setdefault(conversation_id, begin)
    return begins


def _receipts(conversation_id: str, markers: Markers) -> Iterable[Item]:
    """The last receipts of a member."""
    user_id = markers.user_id
    return (
        (
            *(markers.read_change, conversation_id, "MessageRead", user_id),
            *(str(markers.read), None, b""),
        ),
        (
            *(markers.delivered_change, conversation_id, "MessageDelivered", user_id),
            *(str(markers.delivered), None, b""),
        ),
    )


def _message(item: Item, now: int) -> Message:
    message_id, conversation_id, *_, body = item
    return rules.as_of(unpack_message(conversation_id, message_id, body), now)


def _latest(items: Iterable[Item]) -> list[MissedChange]:
    """Of several changes of one kind and subject the last, in the order of their ids."""
    latest: dict[tuple[str, str, str], MissedChange] = {}
    changes = [
        MissedChange(told_as or change_id, conversation_id, kind, subject, detail)
        for change_id, conversation_id, kind, subject, detail, told_as, _ in items
    ]
    for change in sorted(changes, key=attrgetter("change_id")):
        key = (change.conversation_id, change.kind, change.subject)
        latest.pop(key, None)
        latest[key] = change
    return list(latest.values())
