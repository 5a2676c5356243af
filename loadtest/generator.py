"""The load generator, a process of its own: does what a `Plan` says and tells what came of it."""

import asyncio
import gc
import itertools
import random
import sys
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import uvloop

from loadtest.flow import Flow, Order
from loadtest.plan import (
    ClosedLoop,
    Conversation,
    Ended,
    Idle,
    Kind,
    OpenLoop,
    Plan,
    Ready,
    Start,
    Storm,
)
from loadtest.schedule import Schedule
from loadtest.session import Actor, Session, Shared
from loadtest.tally import Tally

if TYPE_CHECKING:
    from loadtest.http_reader import HttpReader
    from loadtest.order_events import Publisher

QUIET_SECONDS = 5.0
"""How long nothing at all may come before what is still missing counts as lost."""
DRAIN_SECONDS = 60.0
"""How long the last messages may take altogether."""
ECHO_SECONDS = 0.2
"""How long to listen for repeats after everything arrived."""
OPENING_AT_ONCE = 32
TIMER_SECONDS = 0.001
"""The grain of the event loop's timers; shorter sleeps would spin."""
PLAN_BYTES = 256 << 20


class Crowd:
    """All who act in a plan."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self._plan = plan
        self._tally = tally
        self._shared = Shared(plan, tally)
        self._orders_seen: dict[tuple[int, str], Order] = {}
        self._readers = self._make_readers()
        self.sessions = [] if self._readers else self._make_sessions()
        self._publisher = self._make_publisher()

    def actors(self, kind: Kind) -> Sequence[Actor]:
        """Those who carry out such operations, in turns."""
        if kind == "order":
            assert self._publisher is not None
            return [self._publisher]
        acting = [c.acts_in is not None for c in self._plan.connections]
        everybody: Sequence[Actor] = self._readers or self.sessions
        return list(itertools.compress(everybody, acting))

    async def open(self) -> None:
        """Connect everybody, a few at a time; raises what connecting raises."""
        for reader in self._readers:
            await reader.open()
        for start in range(0, len(self.sessions), OPENING_AT_ONCE):
            part = self.sessions[start : start + OPENING_AT_ONCE]
            await asyncio.gather(*(session.open() for session in part))
        if self._publisher is not None:
            await self._publisher.open()

    async def drain(self) -> None:
        """Wait until everything under way has arrived, or nothing comes any more; count faults."""
        deadline = perf_counter() + DRAIN_SECONDS
        self._tally.heard_at = perf_counter()
        # An event would have to be looked after at each message, and the messages are measured.
        while not (self._settled or perf_counter() > self._until(deadline)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(ECHO_SECONDS)
        gone = {session.number for session in self.sessions if session.gone}
        for session in self.sessions:
            if session.flow is not None:
                session.flow.finish(gone, sender_gone=session.gone)
        for flow in self._publisher.flows if self._publisher else ():
            flow.finish(gone)

    async def close(self) -> None:
        """Close every connection."""
        for session in self.sessions:
            session.close()
        for reader in self._readers:
            await reader.close()
        if self._publisher is not None:
            await self._publisher.close()

    @property
    def _settled(self) -> bool:
        flows = self._shared.flows.values()
        return self._tally.in_flight <= 0 and all(flow.settled for flow in flows)

    def _until(self, deadline: float) -> float:
        return min(deadline, self._tally.heard_at + QUIET_SECONDS)

    def _make_readers(self) -> "list[HttpReader]":
        plan = self._plan
        if plan.over != "http":
            return []
        from loadtest.http_reader import HttpReader  # noqa: PLC0415  # others start faster

        return [
            HttpReader(plan, self._tally, connection, plan.conversations[connection.acts_in or 0])
            for connection in plan.connections
        ]

    def _make_sessions(self) -> list[Session]:
        plan, sessions = self._plan, []
        for number, connection in enumerate(plan.connections):
            acts_in = connection.acts_in
            conversation = None if acts_in is None else plan.conversations[acts_in]
            flow = self._flow(number, conversation) if conversation else None
            sessions.append(Session(self._shared, number, flow, conversation))
        return sessions

    def _flow(self, sender: int, conversation: Conversation) -> Flow | None:
        """From one connection to all others of its conversation, if it is to send at all."""
        load = self._plan.load
        if isinstance(load, Idle) or "send" not in load.shares:
            return None
        receivers = {
            number: self._orders_seen.setdefault((number, conversation.conversation_id), Order())
            for number in conversation.receivers
            if number != sender
        }
        return Flow(conversation.conversation_id, self._tally.faults, receivers)

    def _make_publisher(self) -> "Publisher | None":
        if self._plan.orders is None:
            return None
        from loadtest.order_events import Publisher  # noqa: PLC0415  # it needs the driver

        return Publisher(self._shared, self._plan.orders)


class Turns:
    """Who carries out which operation next: kinds at random by their shares, actors in turns."""

    def __init__(self, crowd: Crowd, load: ClosedLoop | OpenLoop, seed: int) -> None:
        self._random = random.Random(seed)
        self._kinds = list(load.shares)
        self._weights = list(itertools.accumulate(load.shares.values()))
        self._actors: dict[Kind, Iterator[Actor]] = {
            kind: itertools.cycle(crowd.actors(kind)) for kind in self._kinds
        }

    def kind(self) -> Kind:
        """The next kind."""
        if len(self._kinds) == 1:
            return self._kinds[0]
        return self._random.choices(self._kinds, cum_weights=self._weights)[0]

    def perform(self, due: float) -> None:
        """Have the next operation carried out."""
        kind = self.kind()
        next(self._actors[kind]).perform(kind, [due])

    def fill(self, actor: Actor, times: int, now: float) -> None:
        """Have this actor carry out so many operations."""
        if len(self._kinds) == 1:
            actor.perform(self._kinds[0], [now] * times)
            return
        for _ in range(times):
            actor.perform(self.kind(), [now])


async def drive_closed(load: ClosedLoop, until: float, crowd: Crowd, tally: Tally) -> None:
    """Fill every connection; from then on each reply brings the next operation."""
    turns = Turns(crowd, load, seed=0)
    tally.refill = turns.fill
    for actor in crowd.actors(next(iter(load.shares))):
        turns.fill(actor, load.in_flight, perf_counter())
    await asyncio.sleep(until - perf_counter())
    tally.refill = None


async def drive_open(
    load: OpenLoop, start: float, until: float, crowd: Crowd, tally: Tally
) -> None:
    """Do what the schedule says."""
    schedule = Schedule(load.rate, start, load.seed, load.ramp)
    turns = Turns(crowd, load, load.seed)
    while schedule.next_due < until:
        await asyncio.sleep(max(TIMER_SECONDS, schedule.next_due - perf_counter()))
        for due in schedule.take(min(perf_counter(), until)):
            turns.perform(due)
            tally.sent(due, perf_counter())


async def strike(storm: Storm, begin: float, sessions: Sequence[Session], tally: Tally) -> None:
    """Cut the connections at their time and wait until all are back."""
    await asyncio.sleep(begin + storm.after - perf_counter())
    tally.storming = True
    await asyncio.gather(*(sessions[number].reconnect() for number in storm.connections))
    tally.storming = False


async def watch(tally: Tally, edges: Sequence[float]) -> None:
    """Turn the seconds when nothing else does."""
    for edge in edges[1:]:
        await asyncio.sleep(max(0.0, edge - perf_counter()))
        tally.roll(max(edge, perf_counter()))  # a timer may be early by its grain


async def drive(plan: Plan, start: float, crowd: Crowd, tally: Tally) -> None:
    """Run the load from the start to the end of its measured window."""
    load, edges = plan.load, plan.edges(start)
    begin, until = start + plan.lead, edges[-1]
    tally.begin(edges, begin)
    await asyncio.sleep(max(0.0, start - perf_counter()))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch(tally, edges), name="watch")
        if plan.storm is not None:
            tasks.create_task(strike(plan.storm, begin, crowd.sessions, tally), name="storm")
        if isinstance(load, ClosedLoop):
            tasks.create_task(drive_closed(load, until, crowd, tally), name="closed loop")
        elif isinstance(load, OpenLoop):
            tasks.create_task(drive_open(load, start, until, crowd, tally), name="open loop")


async def run(plan: Plan, lines: asyncio.StreamReader) -> None:
    """Carry out the plan; what is told goes to standard output, a line each."""
    tally = Tally(say)
    crowd = Crowd(plan, tally)
    await crowd.open()
    await asyncio.sleep(plan.settle)
    gc.freeze()
    say(Ready())
    start = msgspec.json.decode(await lines.readline(), type=Start)
    await drive(plan, start.at, crowd, tally)
    await crowd.drain()
    await crowd.close()
    tally.finish(perf_counter())
    say(Ended(tally.faults))


def say(line: msgspec.Struct) -> None:
    """Tell the parent."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


async def listen() -> asyncio.StreamReader:
    """Standard input, line by line."""
    reader = asyncio.StreamReader(limit=PLAN_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin.buffer)
    return reader


async def main() -> None:
    """Read the plan from standard input and carry it out."""
    lines = await listen()
    plan = msgspec.json.decode(await lines.readline(), type=Plan)
    await run(plan, lines)


if __name__ == "__main__":
    uvloop.run(main())
