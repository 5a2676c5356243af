"""Counting unread messages: of one conversation, and of all of a user.

Of all: what was counted is kept in a mark, with an id up to which all was seen. A conversation has
a row in its members' activity whenever something changes in it, so only those with rows since the
mark are counted again.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
import structlog

from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.history import History, both
from tradewire.adapters.scylla.layout import NEWEST_SLOT, slot_of, slot_start
from tradewire.adapters.scylla.memberships import Seat, markers_of, room_of_seat, seats
from tradewire.adapters.scylla.requests import Row
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.adapters.scylla.slots import Group, Slots
from tradewire.domain.errors import TradewireError
from tradewire.domain.ids import MAX_ID, id_at
from tradewire.domain.limits import UNREAD_CONVERSATIONS, UNREAD_PER_CONVERSATION
from tradewire.ports import Unread

VISITED = 2_000
"""Conversations counted at most, besides those that held unread messages before."""

WALKED = 10_000
"""Rows of activity read at most."""

FEW = 300
"""So many conversations are all counted, rather than looked for in a long past."""

LOOKED = 2_000
"""Messages looked at in one conversation: many may be gone."""

SETTLED_MS = 120_000
"""Rows of activity older than this are all there, whoever wrote them and whatever its clock."""

WORTH_A_MARK = 10
"""Conversations that a new mark must spare the next count, or a tenth of those that it holds."""

ROWS_A_CONVERSATION = 50
"""Rows of activity that are as much work as to count a conversation."""

_AT_ONCE = 200
_CHUNK = 1_000

_log = structlog.get_logger(__name__)


class Tally(NamedTuple):
    """How many messages of a conversation are unread, and the newest of them.

    Attributes:
        lasts: whether it holds until something happens; not where messages may expire.
    """

    newest: int
    unread: int
    lasts: bool


class Mark(NamedTuple):
    """What was counted.

    Attributes:
        up_to: what changed at a later id, or in the slot of this one, is to be counted again.
        capped: whether conversations with unread messages may be missing.
    """

    up_to: int
    capped: bool
    tallies: Mapping[str, Tally]


class Seen(NamedTuple):
    """Conversations that may have changed since the mark, those that moved last first.

    Attributes:
        up_to: what a mark may say that is made now.
        spared: how many need not be looked at again if there is a mark, with what their rows cost.
        complete: whether none is missing.
        whole: whether these are all conversations of the user.
    """

    conversation_ids: Sequence[str]
    up_to: int
    spared: int
    complete: bool
    whole: bool


NOTHING = Tally(0, 0, lasts=True)
NO_MARK = Mark(0, capped=False, tallies={})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, int, int, bool]]).decode


class UnreadReads:
    """Counts unread messages."""

    def __init__(self, engine: Engine, rooms: Rooms, history: History) -> None:
        self._engine = engine
        self._rooms = rooms
        self._history = history

    async def count(self, room: Room, user_id: str, read: int, newest: int, now: int) -> Tally:
        """Messages by others above the marker `read` and up to `newest`, gone ones left out.

        They are counted from the newest back: what is old is more likely to be gone.
        """
        lower, upper = max(read, room.deleted_at), min(newest, MAX_ID - 1) + 1
        rows: list[Row] = []
        count, size = 0, UNREAD_PER_CONVERSATION
        while upper - lower > 1 and count < UNREAD_PER_CONVERSATION and len(rows) < LOOKED:
            found = await self._history.stretch(
                "SENDERS_BEFORE", room, lower, upper, size, descending=True
            )
            rows += found
            count += sum(_is_unread(row, user_id, now) for row in found)
            if len(found) < size:
                break
            upper, size = found[-1][0], _CHUNK
        return Tally(
            next((row[0] for row in rows if row[1] is not None), 0),
            min(count, UNREAD_PER_CONVERSATION),
            lasts=not any(row[2] for row in rows),
        )

    async def read(self, tenant: str, user_id: str, now: int) -> Unread:
        """See ports.Conversations.unread."""
        return await _Count(self._engine, self._rooms, self, tenant, user_id, now).read()

    async def total(self, tenant: str, user_id: str, now: int) -> int:
        """See ports.Conversations.unread_total."""
        return await _Count(self._engine, self._rooms, self, tenant, user_id, now).total()


class _Count:
    """One count of all unread messages of a user."""

    def __init__(
        self,
        engine: Engine,
        rooms: Rooms,
        reads: UnreadReads,
        tenant: str,
        user_id: str,
        now: int,
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._reads = reads
        self._user = (tenant, user_id)
        self._now = now
        self._seats: dict[str, Seat] = {}

    async def read(self) -> Unread:
        """The counts of conversations, the newest of them."""
        shown, capped = await self._count()
        counts = dict(islice(shown.items(), UNREAD_CONVERSATIONS))
        stopped = len(shown) > len(counts) or UNREAD_PER_CONVERSATION in counts.values()
        return Unread(counts, capped or stopped)

    async def total(self) -> int:
        """The sum of those that are neither archived nor muted."""
        shown, _ = await self._count()
        counts = (count for each, count in shown.items() if not self._is_quiet(self._seats[each]))
        return sum(islice(counts, UNREAD_CONVERSATIONS))

    def _is_quiet(self, seat: Seat) -> bool:
        return seat.archived or seat.muted_until > self._now

    async def _count(self) -> tuple[dict[str, int], bool]:
        """Count what may have changed since the mark; the rest is as it was.

        The counts in the order in which they are told, and whether some may be missing.
        """
        mark, crowds = await both(self._mark(), self._engine.rows("CROWDS", *self._user))
        seen = await self._seen(mark)
        known = {} if seen.whole else mark.tallies
        again = [each for each in known if not (seen.complete and known[each].lasts)]
        moved = [*dict.fromkeys((*(row[0] for row in crowds), *seen.conversation_ids, *again))]
        fresh = await self._tallies(moved[: VISITED + UNREAD_CONVERSATIONS])
        kept = {each: tally for each, tally in known.items() if each not in fresh}
        self._seats |= await seats(self._engine, *self._user, list(kept))
        tallies = self._newest_first({**kept, **fresh})
        capped = not seen.complete or len(fresh) < len(moved) or (mark.capped and not seen.whole)
        await self._put_mark(seen, tallies, capped)
        shown = {
            each: tally.unread
            for each, tally in tallies.items()
            if not is_hidden(self._seats[each], tally.newest)
        }
        return shown, capped

    # --- what is to be counted --------------------------------------------------------------------

    async def _seen(self, mark: Mark) -> Seen:
        end = max(slot_of(mark.up_to) - 1, 0)
        slots = Slots(self._engine, *self._user, NEWEST_SLOT, descending=True, end=end)
        groups = await slots.next()
        if mark.capped or not (mark.up_to or slots.ended):
            rows = await self._engine.rows("CREATIONS_BEFORE", *self._user, MAX_ID, FEW + 1)
            if len(rows) <= FEW:
                ids = [row[1] for row in rows]
                return Seen(ids, self._up_to(groups), len(ids), complete=True, whole=True)
        found = _ids(groups)
        while not slots.ended and len(found) < VISITED and slots.rows < WALKED:
            more = await slots.next()
            groups += more
            found |= _ids(more)
        settled = [group for group in groups if group.slot < slot_of(self._up_to(groups)) - 1]
        rows_spared = sum(len(group.rows) for group in settled)
        spared = len(_ids(settled)) + rows_spared // ROWS_A_CONVERSATION
        whole = slots.ended and not mark.up_to
        return Seen(list(found), self._up_to(groups), spared, complete=slots.ended, whole=whole)

    def _up_to(self, groups: Sequence[Group]) -> int:
        """What is settled, but no more than was seen: this node's clock may be ahead of others'."""
        top = slot_start(groups[0].slot) if groups else 0
        return min(id_at(self._now - SETTLED_MS), top)

    async def _tallies(self, moved: Sequence[str]) -> dict[str, Tally]:
        """Tallies of conversations, until there are more than are told."""
        tallies: dict[str, Tally] = {}
        found = 0
        for at in range(0, len(moved), _AT_ONCE):
            if found > UNREAD_CONVERSATIONS:
                break
            asked = moved[at : at + _AT_ONCE]
            here = await seats(self._engine, *self._user, asked)
            counted = await all_of([self._tally(seat) for seat in here.values()])
            found += sum(tally.unread > 0 for tally in counted)
            tallies |= dict.fromkeys(asked, NOTHING) | dict(zip(here, counted, strict=True))
            self._seats |= here
        return tallies

    async def _tally(self, seat: Seat) -> Tally:
        tenant, user_id = self._user
        room, row = await both(
            room_of_seat(self._rooms, tenant, seat),
            self._engine.row("MEMBER", tenant, seat.conversation_id, user_id),
        )
        if room is None:
            return NOTHING
        read = markers_of(row, room.deleted_at).read if row is not None else 0
        return await self._reads.count(room, user_id, read, MAX_ID, self._now)

    def _newest_first(self, tallies: Mapping[str, Tally]) -> dict[str, Tally]:
        """Those with unread messages, in the order in which they are told."""
        unread = [
            (each, tally) for each, tally in tallies.items() if tally.unread and each in self._seats
        ]
        return dict(sorted(unread, key=lambda pair: pair[1].newest, reverse=True))

    # --- the mark ---------------------------------------------------------------------------------

    async def _mark(self) -> Mark:
        row = await self._engine.row("UNREAD_MARK", *self._user)
        if row is None or row[0] is None:
            return NO_MARK
        up_to, capped, tallies = row
        return Mark(up_to, bool(capped), {each[0]: Tally(*each[1:]) for each in _decode(tallies)})

    async def _put_mark(self, seen: Seen, tallies: Mapping[str, Tally], capped: bool) -> None:
        """Let the next count go on from here, if that spares it much."""
        if seen.spared < max(WORTH_A_MARK, len(tallies) // 10):
            return
        kept = [(each, *tally) for each, tally in tallies.items()][:UNREAD_CONVERSATIONS]
        capped = capped or len(kept) < len(tallies)
        mark = (*self._user, seen.up_to, capped, _encode(kept).decode(), self._now * 1_000)
        try:
            await self._engine.write([("PUT_UNREAD_MARK", mark)])
        except TradewireError as error:
            _log.warning("what is unread could not be noted", reason=str(error))


def is_hidden(seat: Seat, newest: int) -> bool:
    """Whether a user has hidden a conversation since its newest message (0: it has none)."""
    return 0 < seat.hidden_at >= newest


def _is_unread(row: Row, user_id: str, now: int) -> bool:
    _, sender, gone_at = row
    return sender is not None and sender != user_id and (gone_at is None or gone_at > now)


def _ids(groups: Iterable[Group]) -> dict[str, None]:
    return dict.fromkeys(row[0] for group in groups for row in group.rows)
