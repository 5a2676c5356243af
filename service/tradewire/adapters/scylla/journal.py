"""The commit groups: whatever gathered while others are under way goes next, in order.

A group is read for, decided, written to the outbox, made visible, answered. Several are under way
at once, if enough waits for them: one that needs no reads is decided while those before it are
written, any other waits for them, since what it reads must have what they wrote.

Once its outbox row may be there, a group is written until it is done, however long the cluster is
away: dropped, it could still appear. What took too long is not acknowledged. No other group begins
until it is settled what becomes of that, and all who are to know have been told: who takes over
finishes only the last ones.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import structlog
from msgspec import Struct, UnsetType

from tradewire.adapters.scylla.apply import Outcome, apply_unit
from tradewire.adapters.scylla.draft import Draft, Memory
from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.loads import ROUNDS, Loads, missing
from tradewire.adapters.scylla.outbox import EventLog, KeptBatch, KeptEvents, Outbox
from tradewire.adapters.scylla.redo import Group as Redo
from tradewire.adapters.scylla.redo import pack_draft, rows_of
from tradewire.adapters.scylla.runs import LATE_S, MARGIN_S, Run, Unfinished
from tradewire.domain.errors import Overloaded, TradewireError, Unavailable
from tradewire.domain.ids import MAX_ID, Clock
from tradewire.domain.outbox import DomainEvent
from tradewire.domain.writes import EditMessage, NewMessage, Stored, Unit, Write

UNITS_IN_FLIGHT = 4_096
WORTHWHILE = 32
"""Units that are worth a group of their own while another one is under way: each group costs two
requests, and all that they cost the cluster. A full group is worth it, however small.
"""
GATHER_S, GATHER_UNIT_S = 0.006, 0.0005
"""A group begins so long after the one before at the most, and so long for each unit of that: what
comes one by one waits for nothing, what comes fast goes together (docs/decisions/0008).
"""
GROUP_BYTES = 8 << 20
"""What the writes of a group can come to at most: all of it goes into one row of the outbox, and
Apache Cassandra refuses a row of more than half a segment of its commit log (32 MiB by default).
"""
WRITE_BYTES = 16 << 10
"""What a write can come to besides its text."""

PATIENCE_S = 2.0
"""How long a unit waits for its group to begin; then it is refused and was not stored. What begins
later could hardly be acknowledged in time."""

RETRY_S = (0.05, 1.0)

_log = structlog.get_logger(__name__)

Done = Callable[[Outcome], None]
OnGroup = Callable[[int, float], None]
"""Hears of every commit group: its units, and the seconds that it took."""
Announce = Callable[[Sequence[Redo]], Awaitable[None]]
"""Tells of groups that became visible too late to be acknowledged."""
DropRetried = Callable[[int, Sequence[Unfinished]], Awaitable[None]]
"""Drops those that were sent again meanwhile from such groups of a run."""


class Waiting(Struct, gc=False):
    """A unit that was appended; `since` in seconds."""

    unit: Unit
    done: Done
    since: float


class Group(Struct):
    """A group under way.

    Attributes:
        least: the least id in it.
        row: what its outbox row holds, once it is there.
    """

    units: list[Waiting]
    least: int
    begun: float
    row: tuple[int, int, bytes, bytes] | None = None

    @property
    def late(self) -> bool:
        """Whether it took so long that a resume may have missed it, or another has its keys: from
        when the first of its units was appended, for who retries has waited from then on.
        """
        return time.monotonic() - self.units[0].since > LATE_S


class ScyllaJournal:
    """See ports.Journal. It works for one run after another; between two it refuses everything.

    Args:
        group_units: units in a group at most.
        groups_in_flight: groups under way at once at most.
    """

    def __init__(
        self,
        engine: Engine,
        cell: str,
        memory: Memory,
        clock: Clock,
        on_group: OnGroup,
        drop_retried: DropRetried,
        announce: Announce,
        *,
        group_units: int,
        groups_in_flight: int,
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._clock = clock
        self._on_group = on_group
        self._drop_retried = drop_retried
        self._announce = announce
        self._group_units = group_units
        self._groups_in_flight = groups_in_flight
        self._worthwhile = min(WORTHWHILE, group_units)
        self._loads = Loads(engine)
        self._kept = KeptEvents()
        self._log = EventLog(engine, cell, self._own_horizon, self._kept)
        self._waiting: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._groups: deque[Group] = deque()
        self._settling: set[asyncio.Task[None]] = set()
        self._written: asyncio.Task[None] | None = None
        self._adding = asyncio.Lock()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._run: Run | None = None
        self._newest = 0
        self._last_batch = 0
        self._begun = 0.0
        self._begun_units = 0

    @property
    def in_flight(self) -> int:
        """Units that were appended and are not done, and late groups that are not settled."""
        return self._in_flight + len(self._settling)

    @property
    def last_batch(self) -> int:
        """The last batch id that was written, or may have been."""
        return self._last_batch

    def begin(self, run: Run, newest: int) -> None:
        """Take units for this run; `newest` is the greatest id in the store."""
        self._memory.forget()
        self._outbox = Outbox(self._engine, run.run)
        self._kept.begin(run.run)
        self._newest = max(self._newest, newest)
        self._last_batch = 0
        self._run = run

    def end(self) -> None:
        """The run is over: refuse what comes, and what waits."""
        self._run = None
        self._kept.begin(0)
        self._refuse_waiting()

    def append(self, unit: Unit, done: Done) -> None:
        if self._run is None or not self._run.alive:
            raise Unavailable
        if self._in_flight >= UNITS_IN_FLIGHT:
            raise Overloaded
        self._in_flight += 1
        self._idle.clear()
        self._waiting.append(Waiting(unit, done, time.monotonic()))
        self._wake.set()

    async def events(self, after: int, limit: int) -> list[DomainEvent]:
        return await self._log.read(after, limit)

    async def newest_id(self) -> int:
        return self._newest

    def horizon(self, now_id: int) -> int:
        """No event with an id up to this will still appear; `now_id`: an id issued just now."""
        return min(self._least_pending(), now_id)

    async def work(self) -> None:
        """Commit group after group, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._settling and len(self._groups) < self._places():
                pause = self._pause()
                if pause > 0:
                    await asyncio.sleep(pause)
                else:
                    await self._begin_group()

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        await self._idle.wait()
        if self._settling:
            await asyncio.wait(self._settling)

    def _places(self) -> int:
        """How many groups may be under way: at low rates messages had better go together."""
        return self._groups_in_flight if len(self._waiting) >= self._worthwhile else 1

    def _pause(self) -> float:
        """Seconds in which units had better gather for the next group."""
        if len(self._waiting) >= self._worthwhile:
            return 0.0
        return self._begun + min(GATHER_S, self._begun_units * GATHER_UNIT_S) - time.monotonic()

    # --- one group --------------------------------------------------------------------------------

    async def _begin_group(self) -> None:
        run, units = self._run, self._gather()
        if run is None or not units:
            return
        self._begun, self._begun_units = time.monotonic(), len(units)
        group = Group(units, min(_least_id(each.unit) for each in units), self._begun)
        self._groups.append(group)
        draft = Draft(self._memory, self._clock.now_ms())
        try:
            await self._read(draft, units)
        except TradewireError as error:
            self._finish(group, [error] * len(units))
            return
        except Exception:  # noqa: BLE001  # the groups after it must go on
            _log.exception("a commit group could not be read for")
            self._finish(group, [Unavailable()] * len(units))
            return
        if run is not self._run:
            # Its ids are of a run that is over: they must not appear in the one that began since.
            self._finish(group, [Unavailable()] * len(units))
            return
        outcomes = [apply_unit(draft, each.unit) for each in units]
        draft.settle()
        previous = self._written
        self._written = asyncio.create_task(
            self._write(group, run, draft, outcomes, previous), name="commit group"
        )

    def _gather(self) -> list[Waiting]:
        """Units for a group; those that waited too long are refused."""
        now = time.monotonic()
        units: list[Waiting] = []
        size = 0
        while self._waiting and len(units) < self._group_units:
            size += _bytes_at_most(self._waiting[0].unit)
            if units and size > GROUP_BYTES:
                break
            each = self._waiting.popleft()
            if self._run is None or not self._run.alive or now - each.since > PATIENCE_S:
                self._answer(each, Unavailable())
            else:
                units.append(each)
        return units

    async def _read(self, draft: Draft, units: Sequence[Waiting]) -> None:
        """Read what the group needs, after what was decided before is visible."""
        for _ in range(ROUNDS):
            wanted = {key for each in units for key in missing(draft, each.unit)}
            if not wanted:
                return
            if self._written is not None:
                await asyncio.wait((self._written,))
            await self._loads.fetch(draft, wanted)

    async def _write(
        self,
        group: Group,
        run: Run,
        draft: Draft,
        outcomes: list[Outcome],
        previous: "asyncio.Task[None] | None",
    ) -> None:
        durable = run is self._run and await self._make_durable(group, run, draft)
        late = durable and group.late
        if previous is not None and not previous.done():
            await asyncio.wait((previous,))
        if durable:
            # Who read a conversation meanwhile may have remembered it as it was before.
            draft.settle()
        if late or not durable:
            # Its events may be fewer yet, or be told by others.
            self._kept.forget(self._last_batch)
            outcomes = [_unless_refused(outcome) for outcome in outcomes]
        elif self._settling:
            # The first message of a key may be one that is dropped yet.
            outcomes = [_unless_repeated(outcome) for outcome in outcomes]
        self._on_group(len(group.units), time.monotonic() - group.begun)
        self._newest = max(self._newest, draft.newest)
        if late and group.row is not None:
            settling = asyncio.create_task(self._settle(group, run), name="late group")
            self._settling.add(settling)
            self._answer_all(group, outcomes)
        else:
            self._finish(group, outcomes)

    async def _settle(self, group: Group, run: Run) -> None:
        """Drop what was sent again meanwhile of a group that was not acknowledged in time, and tell
        of the rest.
        """
        assert group.row is not None
        left = Unfinished(*group.row)
        try:
            if any(message.key is not None for _, message, _ in left.hidden):
                # Who has looked for a key before it was there has written its own by then.
                await asyncio.sleep(LATE_S + MARGIN_S)
                await self._insist(run, lambda: self._drop_retried(run.run, [left]))
            await self._insist(run, lambda: self._announce([left.group]))
        except Exception:  # noqa: BLE001  # the groups after it must go on
            _log.exception("a late group could not be settled")
        finally:
            self._settling.remove(cast("asyncio.Task[None]", asyncio.current_task()))
            self._groups.remove(group)
            self._wake.set()

    async def _make_durable(self, group: Group, run: Run, draft: Draft) -> bool:
        """Write a group until it is done; False when the run ended before: its fate is unknown."""
        if not (draft.mutations or draft.placed):
            return run.alive
        batch_id = self._last_batch = max(draft.newest, self._last_batch + 1)
        draft.mark_once()
        events, redo = pack_draft(draft)
        outbox = self._outbox

        async def add() -> None:
            group.row = (await outbox.add(batch_id, events, redo), batch_id, events, redo)

        # One after another: who finishes this run must find no gap before the last row.
        async with self._adding:
            added = await self._insist(run, add)
        if not added:
            return False
        self._kept.add(run.run, KeptBatch(batch_id, len(events), draft.events, draft.by_id()))
        # From here on the group is anybody's to finish.
        rows = rows_of(draft)
        return await self._insist(run, lambda: self._engine.write(rows))

    async def _insist(self, run: Run, attempt: Callable[[], Awaitable[None]]) -> bool:
        """Do it until it succeeds while the run is alive; whether it did."""
        pause = RETRY_S[0]
        while run.alive:
            try:
                await attempt()
            except TradewireError as error:
                _log.warning("a commit group is held up", reason=str(error.__cause__ or error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_S[1])
            else:
                return run.alive
        return False

    def _finish(self, group: Group, outcomes: Sequence[Outcome]) -> None:
        self._groups.remove(group)
        self._wake.set()
        self._answer_all(group, outcomes)

    def _answer_all(self, group: Group, outcomes: Sequence[Outcome]) -> None:
        for each, outcome in zip(group.units, outcomes, strict=True):
            self._answer(each, outcome)

    def _answer(self, each: Waiting, outcome: Outcome) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()
        try:
            each.done(outcome)
        except Exception:  # noqa: BLE001  # the others are owed their answers
            _log.exception("a callback of the store failed")

    def _refuse_waiting(self) -> None:
        while self._waiting:
            self._answer(self._waiting.popleft(), Unavailable())

    def _least_pending(self) -> int:
        """One below the least id that is under way; one below MAX_ID when nothing is."""
        waiting = next(
            (least for each in self._waiting if (least := _least_id(each.unit)) < MAX_ID), MAX_ID
        )
        return min([waiting, *(group.least for group in self._groups)]) - 1

    def _own_horizon(self) -> tuple[int, int, int]:
        # A lapsed run is told of no further than it has registered: another one finishes it.
        run = self._run.run if self._run is not None and self._run.alive else 0
        # What begins while the log is read is not told: a group may be there before an older one.
        return run, self.horizon(self._clock.next_id()), self._last_batch


def _unless_refused(outcome: Outcome) -> Outcome:
    return outcome if isinstance(outcome, TradewireError) else Unavailable()


def _unless_repeated(outcome: Outcome) -> Outcome:
    if isinstance(outcome, TradewireError):
        return outcome
    repeated = any(isinstance(each, Stored) and each.duplicate for each in outcome)
    return Unavailable() if repeated else outcome


def _bytes_at_most(unit: Unit) -> int:
    return sum(map(_bytes_of, unit.writes))


def _bytes_of(write: Write) -> int:
    text: str | UnsetType | None = None
    if isinstance(write, NewMessage):
        text = write.message.text
    elif isinstance(write, EditMessage):
        text = write.text
    return WRITE_BYTES + 4 * len(text or "")


def _least_id(unit: Unit) -> int:
    return min(map(_id_of, unit.writes), default=MAX_ID)


def _id_of(write: Write) -> int:
    if isinstance(write, NewMessage):
        return write.message_id
    found: int = getattr(write, "change_id", 0) or getattr(write, "event_id", MAX_ID)
    return found
