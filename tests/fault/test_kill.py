"""SIGKILL at random moments under load: what was acknowledged is there, once and in order."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.places import embedded
from tests.fault.load import (
    FINISH_S,
    ClientReader,
    ClientWriter,
    Load,
    SocketReader,
    SocketWriter,
    Told,
    event_log,
    history,
    numbers_of,
    open_direct,
)
from tests.fault.process import ServerProcess, free_port
from tests.fault.waiting import until

ROOMS = 4
KILLS_UNDER_LOAD = int(os.environ.get("TRADEWIRE_KILLS") or 20)
"""`make fault` has more of them."""
KILLS_AT_START = KILLS_UNDER_LOAD // 5
MESSAGES = 400 * KILLS_UNDER_LOAD
ACKNOWLEDGED_BETWEEN_KILLS = (50, 800)
LATEST_S = 0.02
"""A kill comes up to so long after the message it waited for, so it can hit any step of a group."""
START_S = 1.0
REPEATED = 5
"""Messages of each writer that are sent again at the end."""


class Room:
    """A direct conversation: each of the two users writes on one device and reads on another."""

    def __init__(self, load: Load, server: ServerProcess, number: int, room: str) -> None:
        one, other = users_of(number)
        self.id = room
        self.writers = (
            SocketWriter(load, server, one, room),
            ClientWriter(load, server, other, room),
        )
        self.readers = (SocketReader(load, server, one), ClientReader(server, other))

    @property
    def acknowledged(self) -> list[Told]:
        """What the server acknowledged, in no order."""
        return [told for writer in self.writers for told in writer.acknowledged.values()]

    def told_all(self) -> bool:
        """Whether both readers have heard of everything that was acknowledged."""
        return all(len(reader.received) >= len(self.acknowledged) for reader in self.readers)


def users_of(number: int) -> tuple[str, str]:
    return f"buyer{number}", f"seller{number}"


async def open_rooms(load: Load, server: ServerProcess) -> list[Room]:
    rooms = []
    for number in range(ROOMS):
        one, other = users_of(number)
        rooms.append(Room(load, server, number, await open_direct(server, one, other)))
    return rooms


async def kill_under_load(load: Load, server: ServerProcess) -> None:
    await load.reach(load.acknowledged + load.rng.randint(*ACKNOWLEDGED_BETWEEN_KILLS))
    await asyncio.sleep(load.rng.uniform(0, LATEST_S))
    await server.kill()


async def kill_at_start(load: Load, server: ServerProcess) -> None:
    await server.spawn()
    await asyncio.sleep(load.rng.uniform(0, START_S))
    await server.kill()


async def kill_again_and_again(load: Load, server: ServerProcess) -> None:
    at_start = set(load.rng.sample(range(KILLS_UNDER_LOAD), KILLS_AT_START))
    for number in range(KILLS_UNDER_LOAD):
        await kill_under_load(load, server)
        if number in at_start:
            await kill_at_start(load, server)
        await server.start()
    await load.reach(MESSAGES)
    load.finishing = True


async def write_and_kill(load: Load, server: ServerProcess, rooms: list[Room]) -> None:
    """Let everyone write and read until all is killed, acknowledged and read."""
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(reader.run()) for room in rooms for reader in room.readers]
        writing = [group.create_task(writer.run()) for room in rooms for writer in room.writers]
        await kill_again_and_again(load, server)
        await asyncio.wait(writing, timeout=FINISH_S)
        assert all(task.done() for task in writing)
        await until(lambda: all(room.told_all() for room in rooms), FINISH_S)
        for task in reading:
            task.cancel()


async def check_room(server: ServerProcess, room: Room) -> None:
    """History, acknowledgements and readers agree on what there is, and on its order."""
    stored = await history(server, room.writers[0].user, room.id)
    assert stored == sorted(stored), "history does not read in the order of ids"
    assert len({(told.sender, told.key) for told in stored}) == len(stored), "one key, two messages"
    assert set(room.acknowledged) - set(stored) == set(), "acknowledged and lost"
    assert set(stored) - set(room.acknowledged) == set(), "stored though never acknowledged"
    for writer in room.writers:
        numbers = numbers_of(stored, writer.user)
        assert numbers == list(range(len(numbers))), f"{writer.user}'s order was not kept"
    for reader in room.readers:
        assert set(stored) ^ set(reader.received.values()) == set()


async def check_repeats(load: Load, server: ServerProcess, room: Room) -> None:
    """A repetition after all these crashes yields the first message."""
    for writer in room.writers:
        known = list(writer.acknowledged.values())
        async with server.http(writer.user) as http:
            for told in load.rng.sample(known, REPEATED):
                body = {"conversation_id": room.id, "key": told.key, "text": told.text}
                result = await http.request("POST", "/v1/messages", json=body)
                assert result["duplicate"]
                assert Told.of(result["message"]) == told


async def check_event_log(server: ServerProcess, rooms: list[Room]) -> None:
    """Each acknowledged message's MessageSent is in the log once, and that of no other is."""
    sequences: list[int] = []
    sent: Counter[Told] = Counter()
    ids: Counter[str] = Counter()
    async for event in event_log(server):
        sequences.append(int(event["sequence"]))
        ids[event["id"]] += 1
        if event["type"] == "MessageSent":
            sent[Told.of(event["data"]["message"])] += 1
    assert sequences == sorted(set(sequences))
    assert set(ids.values()) == {1}
    assert sent == Counter(told for room in rooms for told in room.acknowledged)


@pytest.mark.fault
@pytest.mark.timeout(480)
async def test_nothing_acknowledged_is_lost_doubled_or_reordered_by_sigkill(
    tmp_path: Path, seed: int, tell: Callable[[str], None]
) -> None:
    load = Load(random.Random(seed))
    async with ServerProcess(
        embedded(tmp_path / "data"), port=free_port(), measured=False
    ) as server:
        await server.start()
        rooms = await open_rooms(load, server)
        await write_and_kill(load, server, rooms)
        await server.kill()
        await server.start()
        for room in rooms:
            await check_room(server, room)
            await check_repeats(load, server, room)
            await check_room(server, room)
        await check_event_log(server, rooms)
    tell(
        f"seed {seed}: {KILLS_UNDER_LOAD + KILLS_AT_START + 1} kills,"
        f" {sum(len(room.acknowledged) for room in rooms)} messages,"
        f" {load.acknowledged} acknowledged, {load.retried} retried,"
        f" {load.duplicates} duplicates answered"
    )
    assert load.retried > load.duplicates > 0, "the kills hit nothing"
