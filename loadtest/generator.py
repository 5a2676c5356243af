"""The load generator, a process of its own: reads a `Plan`, prints a `Traffic` or `Footprint`.

It measures the processor time of both sides over one window, so neither is charged for setting
up or for the last messages coming in.
"""

import asyncio
import gc
import itertools
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

import msgspec
import psutil
import uvloop
from hdrh.histogram import HdrHistogram

from loadtest.cpu import cpu_s, engine_cpu_s, engine_process, own_cpu_s, used
from loadtest.flow import Flow
from loadtest.messages import DECODERS, MESSAGE_TEXT, Message, ServerFrame, frame_encoder
from loadtest.plan import (
    ClosedLoop,
    Endpoint,
    Footprint,
    Idle,
    OpenLoop,
    Pair,
    Percentiles,
    Plan,
    Traffic,
)
from loadtest.schedule import Schedule
from loadtest.websocket import HANDSHAKE_SECONDS, connect

DRAIN_SECONDS = 5.0
"""How long the last messages may take before they count as lost."""
ECHO_SECONDS = 0.2
"""How long to listen for repeats after everything arrived."""
SETTLE_SECONDS = 1.0
"""How long the server may tidy up before its memory is read."""
OPENING_AT_ONCE = 32
FIRST_PAIRS = 50
"""Idle connections opened before the first reading, so that one-time costs are left out."""
TIMER_SECONDS = 0.001
"""The grain of the event loop's timers; shorter sleeps would spin."""
GREATEST_MICROSECONDS = 600_000_000


@dataclass(slots=True)
class Tally:
    """What all sessions of a run share."""

    refill: bool = False
    measure_from: float = inf
    acknowledged: int = 0
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    lateness: "array[float]" = field(default_factory=lambda: array("d"))
    faults: Counter[str] = field(default_factory=Counter)


class Session:
    """One connection: sends into its conversation and checks what its peer sends."""

    def __init__(self, plan: Plan, tally: Tally, outbound: Flow, inbound: Flow) -> None:
        self._plan = plan
        self._decode = DECODERS[plan.protocol]
        self._tally = tally
        self._outbound = outbound
        self._inbound = inbound
        self._last = 0
        self._welcomed = asyncio.Event()

    async def open(self, at: Endpoint) -> None:
        """Connect and wait for the ``Welcome``; raises as `connect` does, or `TimeoutError`."""
        subprotocol = f"chat.v1.{self._plan.protocol}"
        self._socket = await connect(at.host, at.port, at.path, subprotocol, self._receive)
        await asyncio.wait_for(self._welcomed.wait(), HANDSHAKE_SECONDS)

    def send(self, dues: Sequence[float]) -> None:
        """Write a message for each scheduled time, all at once."""
        first = self._last + 1
        self._last += len(dues)
        for n, due in enumerate(dues, first):
            self._outbound.sent(n, due)
        self._socket.send(b"".join([self._encode(n) for n in range(first, self._last + 1)]))

    def close(self) -> None:
        """Close the connection; the server having done so before is a fault."""
        if self._socket.closed.done():
            self._tally.faults[self._socket.closed.result()] += 1
        self._socket.close()

    def _receive(self, payloads: list[bytes]) -> None:
        now = perf_counter()
        replies = 0
        for payload in payloads:
            frame = self._decode(payload)
            if frame.type == "MessageReceived" and frame.message is not None:
                self._delivered(frame.message, now)
            elif frame.type == "Reply":
                self._replied(frame)
                replies += 1
            elif frame.type == "Welcome":
                self._greeted(frame.session_id)
        if replies and self._tally.refill:
            self.send([now] * replies)

    def _delivered(self, message: Message, now: float) -> None:
        flow, tally = self._inbound, self._tally
        due = flow.delivered(message.key, message.message_id)
        if message.text != MESSAGE_TEXT or message.conversation_id != flow.conversation_id:
            tally.faults["altered"] += 1
        if due is not None and due >= tally.measure_from:
            tally.latencies.append(now - due)

    def _replied(self, frame: ServerFrame) -> None:
        if not isinstance(frame.id, int):
            self._tally.faults["reply without our id"] += 1
        elif frame.result is not None:
            result = frame.result
            self._outbound.acknowledged(frame.id, result.message.message_id, result.duplicate)
            self._tally.acknowledged += 1
        else:
            self._outbound.refused(frame.id)
            code = frame.error.code if frame.error else "no result"
            self._tally.faults[f"refused: {code}"] += 1

    def _greeted(self, session_id: str) -> None:
        flow = self._outbound
        flow.session_id = session_id
        self._encode = frame_encoder(self._plan.protocol, flow.conversation_id, session_id)
        self._welcomed.set()


class Crowd:
    """The sessions of a plan and the flows between them."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self._plan = plan
        self._tally = tally
        self._flows: list[Flow] = []
        self.sessions: list[Session] = []

    @property
    def senders(self) -> list[Session]:
        """The sessions that are to send."""
        return self.sessions[::2] if self._plan.one_way else self.sessions

    async def open(self, pairs: Sequence[Pair]) -> None:
        """Connect both users of each pair, a few at a time."""
        opening = [meeting for pair in pairs for meeting in self._meet(pair)]
        for start in range(0, len(opening), OPENING_AT_ONCE):
            part = opening[start : start + OPENING_AT_ONCE]
            await asyncio.gather(*(session.open(endpoint) for session, endpoint in part))
        self.sessions += [session for session, _ in opening]

    async def drain(self) -> None:
        """Wait until everything under way has arrived, or the time is up, then count faults."""
        deadline = perf_counter() + DRAIN_SECONDS
        # An event would have to be looked after at each message, and the messages are measured.
        while perf_counter() < deadline and not all(f.settled for f in self._flows):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(ECHO_SECONDS)
        for flow in self._flows:
            flow.finish()

    def close(self) -> None:
        """Close every session."""
        for session in self.sessions:
            session.close()

    def _meet(self, pair: Pair) -> list[tuple[Session, Endpoint]]:
        one, other = (Flow(pair.conversation_id, self._tally.faults) for _ in range(2))
        self._flows += (one, other)
        return [
            (Session(self._plan, self._tally, one, other), pair.endpoints[0]),
            (Session(self._plan, self._tally, other, one), pair.endpoints[1]),
        ]


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of all processes at one moment."""

    time: float
    acknowledged: int
    server_cpu_s: float
    generator_cpu_s: float
    engine_cpu_s: float | None
    broker_cpu_s: float | None


class Meter:
    """Reads the clocks of the processes of a plan."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self._tally = tally
        self._servers = [psutil.Process(pid) for pid in plan.server_pids]
        self._engine = engine_process(plan.engine_pid)
        self._broker = engine_process(plan.broker_pid)

    def read(self) -> Reading:
        """Read them now."""
        return Reading(
            perf_counter(),
            self._tally.acknowledged,
            sum(map(cpu_s, self._servers)),
            own_cpu_s(),
            engine_cpu_s(self._engine),
            engine_cpu_s(self._broker),
        )


async def drive_closed(
    load: ClosedLoop, seconds: float, sessions: list[Session], tally: Tally
) -> None:
    """Fill every session; from then on each reply sends the next message."""
    tally.refill = True
    for session in sessions:
        session.send([perf_counter()] * load.in_flight)
    await asyncio.sleep(seconds)
    tally.refill = False


async def drive_open(load: OpenLoop, seconds: float, sessions: list[Session], tally: Tally) -> None:
    """Send what the schedule says, the sessions taking turns."""
    start = perf_counter()
    schedule = Schedule(load.rate, start, load.seed)
    turns = itertools.cycle(sessions)
    while schedule.next_due < start + seconds:
        await asyncio.sleep(max(TIMER_SECONDS, schedule.next_due - perf_counter()))
        for due in schedule.take(perf_counter()):
            next(turns).send([due])
            if due >= tally.measure_from:
                tally.lateness.append(perf_counter() - due)


async def exchange(plan: Plan, load: ClosedLoop | OpenLoop) -> Traffic:
    """Run one loop and measure it once it is warm."""
    tally = Tally()
    crowd = Crowd(plan, tally)
    await crowd.open(plan.pairs)
    await asyncio.sleep(plan.settle)
    meter = Meter(plan, tally)
    gc.freeze()
    seconds = plan.warm_up + load.seconds
    if isinstance(load, ClosedLoop):
        drive = drive_closed(load, seconds, crowd.senders, tally)
    else:
        drive = drive_open(load, seconds, crowd.senders, tally)
    driver = asyncio.create_task(drive, name="driver")
    await asyncio.sleep(plan.warm_up)
    before = meter.read()
    tally.measure_from = before.time
    await driver
    after = meter.read()
    await crowd.drain()
    crowd.close()
    return Traffic(
        seconds=after.time - before.time,
        acknowledged=after.acknowledged - before.acknowledged,
        server_cpu_s=after.server_cpu_s - before.server_cpu_s,
        generator_cpu_s=after.generator_cpu_s - before.generator_cpu_s,
        latency_ms=percentiles(tally.latencies),
        lateness_ms=percentiles(tally.lateness),
        faults=tally.faults,
        engine_cpu_s=used(before.engine_cpu_s, after.engine_cpu_s),
        broker_cpu_s=used(before.broker_cpu_s, after.broker_cpu_s),
    )


async def hold(plan: Plan) -> Footprint:
    """Open all connections and read the growth of the servers' resident memory."""
    tally = Tally()
    crowd = Crowd(plan, tally)
    servers = [psutil.Process(pid) for pid in plan.server_pids]
    await crowd.open(plan.pairs[:FIRST_PAIRS])
    await asyncio.sleep(SETTLE_SECONDS)
    before, first = resident(servers), len(crowd.sessions)
    await crowd.open(plan.pairs[FIRST_PAIRS:])
    await asyncio.sleep(SETTLE_SECONDS)
    grown, connections = resident(servers) - before, len(crowd.sessions) - first
    crowd.close()
    return Footprint(connections, grown / 1024 / max(connections, 1), tally.faults)


def resident(processes: Iterable[psutil.Process]) -> int:
    """Bytes of memory, of all processes together."""
    return sum(int(process.memory_info().rss) for process in processes)


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Summarize times given in seconds, to three digits."""
    histogram = HdrHistogram(1, GREATEST_MICROSECONDS, 3)
    for value in seconds:
        histogram.record_value(max(1, round(value * 1e6)))
    return Percentiles(
        histogram.get_value_at_percentile(50) / 1000,
        histogram.get_value_at_percentile(99) / 1000,
        histogram.get_max_value() / 1000,
    )


async def run(plan: Plan) -> Traffic | Footprint:
    """Do what the plan says."""
    if isinstance(plan.load, Idle):
        return await hold(plan)
    return await exchange(plan, plan.load)


def main() -> None:
    """Read the plan from standard input, write the result to standard output."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    result = uvloop.run(run(plan))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
