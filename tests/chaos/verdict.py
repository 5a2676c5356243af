"""What must hold when all is over, by the clients' own records: each check lists what is wrong."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, Self

from tests.chaos.load import Auditor, Json, next_object, opened
from tests.chaos.rooms import Room
from tests.fault.load import Told, event_log, history, numbers_of
from tests.fault.process import ServerProcess
from tradewire.adapters.scylla.cluster import Connected, connect
from tradewire.adapters.scylla.options import Options
from tradewire.domain.packing import unpack_events

SHOWN = 5
"""Of each kind of fault, so many are told in full."""
REPEATED_AT_ONCE = 50
ANSWER_S = 20.0


def faults(what: str, found: Iterable[Any]) -> list[str]:
    """A line for a kind of fault, none when there is nothing."""
    listed = sorted(found)
    if not listed:
        return []
    return [f"{what}: {len(listed)}, such as {listed[:SHOWN]}"]


class Reader(Protocol):
    """Who has heard messages, by id."""

    @property
    def received(self) -> Mapping[int, Told]: ...


class Recorded(Protocol):
    """A conversation with the records of its clients; `in_order`: users who sent one message after
    the other.
    """

    @property
    def id(self) -> str: ...

    @property
    def users(self) -> Sequence[str]: ...

    @property
    def in_order(self) -> Sequence[str]: ...

    @property
    def readers(self) -> Iterable[Reader]: ...

    @property
    def acknowledged(self) -> Sequence[Told]: ...


async def wrong_in_history(nodes: Sequence[ServerProcess], room: Recorded) -> list[str]:
    """History is the same on every node, in rising ids, each acknowledged message once, and readers
    were told just that.
    """
    read = [await history(node, room.users[0], room.id) for node in nodes]
    stored, acknowledged = read[0], room.acknowledged
    ids = [told.message_id for told in stored]
    keys = Counter((told.sender, told.key) for told in stored)
    wrong = [] if ids == sorted(set(ids)) else [f"{room.id}: history is not in rising ids"]
    for other in read[1:]:
        wrong += faults("not on every node", set(stored) ^ set(other))
    wrong += faults("one key, several messages", (key for key, n in keys.items() if n > 1))
    wrong += faults("acknowledged and not in history", set(acknowledged) - set(stored))
    wrong += faults("in history and never acknowledged", set(stored) - set(acknowledged))
    for user in room.in_order:
        numbers = numbers_of(stored, user)
        wrong += faults(
            f"{user}'s order was not kept",
            (pair for pair in pairwise(numbers) if pair[0] > pair[1]),
        )
    for reader in room.readers:
        told = set(reader.received.values())
        name = type(reader).__name__
        wrong += faults(f"{name} was not told", set(stored) - told)
        wrong += faults(f"{name} was told, and history does not have it", told - set(stored))
    return wrong


async def wrong_in_repeats(node: ServerProcess, room: Room, told: Sequence[Told]) -> list[str]:
    """Each key that is sent again yields the message that it was acknowledged with."""
    wrong: list[str] = []
    for user in room.users:
        own = [each for each in told if each.sender == user]
        async with opened(node, user) as socket:
            await next_object(socket, ANSWER_S)
            for first in range(0, len(own), REPEATED_AT_ONCE):
                part = own[first : first + REPEATED_AT_ONCE]
                for number, each in enumerate(part):
                    fields = {"conversation_id": room.id, "key": each.key, "text": each.text}
                    await socket.send_json({"type": "SendMessage", "id": number, **fields})
                for _ in part:
                    while (heard := await next_object(socket, ANSWER_S))["type"] != "Reply":
                        pass
                    wrong += _wrong_in_repeat(part[heard["id"]], heard)
    return wrong


def _wrong_in_repeat(told: Told, heard: Json) -> list[str]:
    if "error" in heard:
        return [f"repeating {told}: {heard['error']}"]
    again = heard["result"]
    if again["duplicate"] and Told.of(again["message"]) == told:
        return []
    return [f"repeating {told}: {again}"]


async def wrong_in_event_log(
    nodes: Sequence[ServerProcess], auditor: Auditor, acknowledged: Sequence[Told]
) -> list[str]:
    """Each acknowledged message's MessageSent is in the log once, and that of no other is; who has
    read it all the time has read the same.
    """
    logs = [[event async for event in event_log(node)] for node in nodes]
    await auditor.read(nodes[0])
    wrong = []
    for log in (*logs, auditor.events):
        sequences = [int(event["sequence"]) for event in log]
        if sequences != sorted(set(sequences)):
            wrong.append("the sequences of the log do not rise")
        ids = Counter(event["id"] for event in log)
        wrong += faults("event told twice", (id_ for id_, n in ids.items() if n > 1))
        sent = Counter(
            Told.of(event["data"]["message"]) for event in log if event["type"] == "MessageSent"
        )
        wrong += faults("acknowledged and not in the log", set(acknowledged) - set(sent))
        wrong += faults("in the log and never acknowledged", set(sent) - set(acknowledged))
    first = {event["id"] for event in logs[0]}
    wrong += faults("missed by who read on", first - {event["id"] for event in auditor.events})
    return wrong


class StoredRun(NamedTuple):
    """A run as its row says."""

    run: int
    node: int
    owner: str
    finished: int | None


class Tables:
    """The outbox as it lies in the cluster, read with the plain driver."""

    def __init__(self, options: Options, cell: str) -> None:
        self._options = options
        self._cell = cell
        self._connected: Connected | None = None

    async def __aenter__(self) -> Self:
        self._connected = await asyncio.to_thread(connect, self._options)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._connected is not None
        await asyncio.to_thread(self._connected.close)

    async def runs(self) -> list[StoredRun]:
        """Every life that a node began."""
        rows = await self._rows(
            "SELECT run, node, owner, finished FROM {}.runs WHERE cell = %s", self._cell
        )
        return [StoredRun(*row) for row in rows if row[1] is not None]

    async def unfinished(self) -> list[StoredRun]:
        """Runs that nobody has ended."""
        return [run for run in await self.runs() if run.finished is None]

    async def wrong_in_outbox(self, acknowledged: Sequence[Told]) -> list[str]:
        """Each acknowledged message is in one batch, and no other is in any."""
        batches: Counter[int] = Counter()
        for run in await self.runs():
            for message_id in await self._sent_in(run):
                batches[message_id] += 1
        ids = {told.message_id for told in acknowledged}
        return [
            *faults("acknowledged and in no batch", ids - set(batches)),
            *faults("in several batches", (id_ for id_, n in batches.items() if n > 1)),
            *faults("in a batch and never acknowledged", set(batches) - ids),
        ]

    async def _sent_in(self, run: StoredRun) -> list[int]:
        found: list[int] = []
        for (slice_,) in await self._rows(
            "SELECT slice FROM {}.outbox_slices WHERE run = %s", run.run
        ):
            for batch_id, events in await self._rows(
                "SELECT batch_id, events FROM {}.outbox WHERE run = %s AND slice = %s",
                run.run,
                slice_,
            ):
                if run.finished is None or batch_id <= run.finished:
                    found += [e.id for e in unpack_events(events) if e.type == "MessageSent"]
        return found

    async def _rows(self, statement: str, *values: Any) -> list[Any]:
        assert self._connected is not None
        session, text = self._connected.session, statement.format(self._options.keyspace)
        return await asyncio.to_thread(lambda: list(session.execute(text, values)))
