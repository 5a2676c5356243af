"""Counts afresh what is kept beside the messages: buckets, inbox order, memberships, unread.

It only reads, while nodes write: a difference counts when it is found again and again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple, Self

from tradewire.adapters.scylla.draft import Bounded, scopes
from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.errors import translated
from tradewire.adapters.scylla.layout import NEWEST_BUCKET, buckets_between, period_of, slot_of
from tradewire.adapters.scylla.options import Options
from tradewire.adapters.scylla.prepared import Prepared
from tradewire.adapters.scylla.reads import ConversationReads
from tradewire.adapters.scylla.requests import Row
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.domain import limits
from tradewire.domain.ids import MAX_ID, id_at
from tradewire.domain.recount import Recount
from tradewire.ports import Unread

AT_ONCE = 16
"""Conversations, or members of one, that are looked at side by side."""

SCANNED = 500
PROBED = 100
FEW = 3
PAUSES_S = (0.5, 2.0)
"""Between one look at a conversation and the next, as long as there are differences."""

ALL_IDS = (0, MAX_ID)
MESSAGES_PAGE = 1_000
COUNTED = 20
"""Members of a crowded conversation whose unread messages are counted."""

AHEAD_MS = 60_000
"""How far the clock of a node may be ahead of this one."""

_STATEMENTS = {
    # Reads every partition there is: only this tool of the operator's does.
    "ALL_CONVERSATIONS": "SELECT tenant, conversation_id FROM {keyspace}.conversations",
    "ACTIVITY_ROW": """
        SELECT bucket FROM {keyspace}.activity
        WHERE tenant = ? AND scope = ? AND period = ? AND slot = ? AND conversation_id = ?""",
    "PERIOD_ROW": """
        SELECT period FROM {keyspace}.activity_periods
        WHERE tenant = ? AND scope = ? AND period = ?""",
    "CREATION_ROW": """
        SELECT created FROM {keyspace}.creations
        WHERE tenant = ? AND scope = ? AND created = ? AND conversation_id = ?""",
    "CROWD_ROW": """
        SELECT user_id FROM {keyspace}.crowds
        WHERE tenant = ? AND user_id = ? AND conversation_id = ?""",
}

Differences = dict[str, str]
"""What differs, and how: a line each."""


class ScanningEngine(Engine):
    """An engine that knows the statements of this tool as well."""

    async def open(self) -> None:
        await super().open()
        keyspace = self._options.keyspace
        texts = {name: text.format(keyspace=keyspace) for name, text in _STATEMENTS.items()}
        prepared = await asyncio.to_thread(self.connected.prepare, texts)
        self._prepared |= {name: Prepared(name, each) for name, each in prepared.items()}

    async def scan(self, name: str) -> AsyncIterator[list[Row]]:
        """Whatever a statement finds, page after page. Raises as `rows` does."""
        statement = self._prepared[name].bound(())
        statement.fetch_size = SCANNED
        found = await _fetched(lambda: self.connected.session.execute(statement))
        yield list(found.current_rows)
        while found.has_more_pages:
            await _fetched(found.fetch_next_page)
            yield list(found.current_rows)


async def _fetched(fetch: Callable[[], Any]) -> Any:
    """What the driver fetches, blocking."""
    try:
        return await asyncio.to_thread(fetch)
    except Exception as error:  # whatever the driver raises is translated
        raise translated(error) from error


class Place(NamedTuple):
    """Where a conversation has to be found: `newest` is 0 without messages."""

    room: Room
    newest: int
    buckets: Sequence[int]

    @property
    def id(self) -> int:
        """The id that the inbox has it at."""
        return self.room.crowded_at or self.newest or self.room.created


class Verification:
    """A look through a keyspace; `now_ms` in ms since 1970."""

    def __init__(self, options: Options, now_ms: Callable[[], int]) -> None:
        self._options = options
        self._now_ms = now_ms
        self._engine = ScanningEngine(options)
        self._rooms = Rooms(self._engine)
        self._reads = ConversationReads(self._engine, self._rooms, now_ms)
        self._unread = Bounded()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StoreError: the cluster cannot be used, or has not the schema.
        """
        try:
            await self._engine.open()
        except BaseException:
            await self._engine.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._engine.close()

    async def recounts(self, tenant: str | None) -> AsyncIterator[Recount]:
        """What is found of each conversation, of one tenant or of all.

        Raises:
            Unavailable, Overloaded: the cluster did not answer.
        """
        async for page in self._engine.scan("ALL_CONVERSATIONS"):
            wanted = iter([key for key in page if tenant in (None, key[0])])
            while keys := list(islice(wanted, AT_ONCE)):
                for found in await all_of([self._recount(*key) for key in keys]):
                    yield found

    async def _recount(self, tenant: str, conversation_id: str) -> Recount:
        """What stays different at every look."""
        members, found = await self._look(tenant, conversation_id)
        for pause in PAUSES_S:
            if not found:
                break
            await asyncio.sleep(pause)
            self._unread.clear()
            members, again = await self._look(tenant, conversation_id)
            found = {what: how for what, how in again.items() if what in found}
        name = f"{tenant} {conversation_id}"
        lines = [f"{name}: {what}: {how}" for what, how in found.items()]
        return Recount(int(members is not None), members or 0, lines)

    async def _look(self, tenant: str, conversation_id: str) -> tuple[int | None, Differences]:
        """How many members a conversation has, None when it is gone; and what differs."""
        room = await self._rooms.read(tenant, conversation_id)
        if room is None:
            return None, {}
        found: Differences = {}
        place = await self._place(room, found)
        rows = enumerate(await self._engine.rows("MEMBERS", tenant, conversation_id))
        while batch := list(islice(rows, AT_ONCE)):
            looks = [
                self._of_member(place, row, counts=number < COUNTED or not room.crowded_at)
                for number, row in batch
            ]
            for each in await all_of(looks):
                found |= each
        self._rooms.drop(tenant, conversation_id)
        return len(room.roles), found

    async def _place(self, room: Room, found: Differences) -> Place:
        """Where the messages are, looked for everywhere; notes windows that are not listed."""
        key = (room.tenant, room.conversation_id)
        possible = buckets_between(room.kind, room.created, id_at(self._now_ms() + AHEAD_MS))
        listed = await self._engine.rows("BUCKETS_AFTER", *key, 0, NEWEST_BUCKET)
        newest: dict[int, int] = {}
        windows = iter(possible)
        while batch := list(islice(windows, PROBED)):
            asked = [(*key, bucket, *ALL_IDS, FEW) for bucket in batch]
            answers = [self._engine.rows("MESSAGES_BEFORE", *each) for each in asked]
            for bucket, rows in zip(batch, await all_of(answers), strict=True):
                # One that is but half there is no message yet.
                whole = [row[0] for row in rows if row[1] is not None and row[2] is not None]
                if whole and whole[0] > room.deleted_at:
                    newest[bucket] = whole[0]
        for bucket in newest.keys() - {row[0] for row in listed}:
            found[f"bucket {bucket}"] = "holds messages, but is not listed"
        return Place(room, max(newest.values(), default=0), sorted(newest))

    # --- members ----------------------------------------------------------------------------------

    async def _of_member(self, place: Place, row: Row, *, counts: bool) -> Differences:
        user_id, role, _, read, *_ = row
        room = place.room
        key = (room.tenant, user_id, [room.conversation_id])
        joined, created, hidden_at = _membership(await self._engine.row("MEMBERSHIPS", *key))
        found: Differences = {}
        if role and joined:
            if created != room.created:
                found["making"] = f"made {created}, the conversation {room.created}"
            hidden = 0 < (place.newest or room.created) <= hidden_at
            after = max(read or 0, room.deleted_at)
            looks = [
                *(self._of_scope(place, scope) for scope in scopes(room, user_id)),
                self._of_crowd(place, user_id),
            ]
            if counts:
                looks.append(self._of_unread(place, user_id, after, hidden=hidden))
            for each in await all_of(looks):
                found |= each
        elif role:
            found["membership"] = "is a member, but has it not"
        elif joined:
            found["membership"] = "is no member, but has it"
        return {f"member {user_id}: {what}": how for what, how in found.items()}

    async def _of_scope(self, place: Place, scope: str) -> Differences:
        """The rows by which an inbox finds a conversation."""
        room, slot = place.room, slot_of(place.id)
        period = (room.tenant, scope, period_of(slot))
        activity, listed, creation = await all_of(
            [
                self._engine.row("ACTIVITY_ROW", *period, slot, room.conversation_id),
                self._engine.row("PERIOD_ROW", *period),
                self._engine.row(
                    "CREATION_ROW", room.tenant, scope, room.created, room.conversation_id
                ),
            ]
        )
        found: Differences = {}
        if activity is None or activity[0] is None:
            found[f"activity of {scope}"] = f"has no row with a bucket for {place.id} (slot {slot})"
        if listed is None:
            found[f"period {period[2]} of {scope}"] = "holds activity, but is not listed"
        if creation is None:
            found[f"creation of {scope}"] = f"has no row for {room.created}"
        return found

    async def _of_crowd(self, place: Place, user_id: str) -> Differences:
        room = place.room
        if not room.crowded_at:
            return {}
        row = await self._engine.row("CROWD_ROW", room.tenant, user_id, room.conversation_id)
        return {} if row is not None else {"crowd": "resume does not look into it"}

    async def _of_unread(
        self, place: Place, user_id: str, after: int, *, hidden: bool
    ) -> Differences:
        room, now = place.room, self._now_ms()
        counted = await self._count(place, user_id, after, now)
        view = await self._reads.view(room.tenant, user_id, room.conversation_id, now)
        told = await self._told(room.tenant, user_id, now)
        found: Differences = {}
        if view is not None and view.unread_count != counted:
            found["unread"] = f"{counted} messages, the view tells {view.unread_count}"
        expected = 0 if hidden else counted
        listed = told.by_conversation.get(room.conversation_id, 0)
        whole = len(told.by_conversation) < limits.UNREAD_CONVERSATIONS
        if listed != expected and (whole or listed):
            found["list of unread"] = f"{expected} messages, the list tells {listed}"
        return found

    async def _told(self, tenant: str, user_id: str, now: int) -> Unread:
        key = (tenant, user_id)
        told: Unread | None = self._unread.get(key)
        if told is None:
            told = self._unread[key] = await self._reads.unread(tenant, user_id, now)
        return told

    async def _count(self, place: Place, user_id: str, after: int, now: int) -> int:
        """Messages by others after an id that are there, counted as far as they are told."""
        room, count = place.room, 0
        if place.newest <= after:
            return 0
        for bucket in place.buckets:
            if bucket < room.bucket(after):
                continue
            count += await self._count_in(room, bucket, user_id, after, now)
            if count >= limits.UNREAD_PER_CONVERSATION:
                return limits.UNREAD_PER_CONVERSATION
        return count

    async def _count_in(self, room: Room, bucket: int, user_id: str, after: int, now: int) -> int:
        count = 0
        key = (room.tenant, room.conversation_id, bucket)
        while count < limits.UNREAD_PER_CONVERSATION:
            asked = (*key, after, MAX_ID, MESSAGES_PAGE)
            rows = await self._engine.rows("MESSAGE_SENDERS", *asked)
            count += sum(
                sender not in (None, user_id) and (gone_at is None or gone_at > now)
                for _, sender, gone_at in rows
            )
            if len(rows) < MESSAGES_PAGE:
                break
            after = rows[-1][0]
        return count


def _membership(row: tuple[Any, ...] | None) -> tuple[int, int, int]:
    """When the user joined (0: is no member), the making, up to what it is hidden."""
    if row is None:
        return 0, 0, 0
    return row[1] or 0, row[2] or 0, row[6] or 0
