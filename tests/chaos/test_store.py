"""Nodes and databases killed and frozen under load: what was acknowledged is there, once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.cell import CELL, LEASE_S, NODES, Cell, cell
from tests.chaos.load import Auditor, Load
from tests.chaos.rooms import Room, open_rooms
from tests.chaos.verdict import (
    Tables,
    faults,
    wrong_in_event_log,
    wrong_in_history,
    wrong_in_repeats,
)
from tests.engines import Keyspace
from tests.fault.load import FINISH_S
from tests.fault.process import ServerProcess
from tradewire.testing.engines import Cassandra

KILLS = 20
KILLED_TOGETHER = 0.15
KILLED_AT_START = 0.15
START_S = 3.0
SOON = 0.5
"""How often a killed node is back before its lease has run out."""
ACKNOWLEDGED_BETWEEN_KILLS = (10, 150)
LATEST_S = 0.02
STEADY = 300
"""Messages between two blows."""
FREEZE_S = 3 * LEASE_S
PAUSE_S = 5.0
FINISHED_S = 100.0
"""A takeover that is itself cut off is gone on with after a minute."""


async def kill_nodes(load: Load, cell: Cell) -> None:
    """SIGKILL at random moments; the others take over, or the node is back before."""
    while cell.kills < KILLS:
        victim, other = load.rng.sample(cell.nodes, NODES)
        await load.reach(load.acknowledged + load.rng.randint(*ACKNOWLEDGED_BETWEEN_KILLS))
        await asyncio.sleep(load.rng.uniform(0, LATEST_S))
        await cell.kill(victim)
        dead = [victim]
        if load.rng.random() < KILLED_TOGETHER:
            await asyncio.sleep(load.rng.uniform(0, 2 * LEASE_S))
            await cell.kill(other)
            dead.append(other)
        if load.rng.random() >= SOON:
            await asyncio.sleep(load.rng.uniform(LEASE_S, 2 * LEASE_S))
        if load.rng.random() < KILLED_AT_START:
            await kill_at_start(load, cell, victim)
        await asyncio.gather(*(node.start() for node in dead))
        if cell.kills % 5 == 0:
            cell.tell(f"{cell.kills} kills")
    cell.tell(f"{cell.kills} kills")


async def kill_at_start(load: Load, cell: Cell, node: ServerProcess) -> None:
    await node.spawn()
    await asyncio.sleep(load.rng.uniform(0, START_S))
    await cell.kill(node)


async def kill_a_database(load: Load, cell: Cell) -> None:
    """With two of three databases all goes on, the start of a node included."""
    index = load.rng.randrange(len(cell.database.hosts))
    victim = load.rng.choice(cell.nodes)
    await load.reach(load.acknowledged + load.rng.randint(*ACKNOWLEDGED_BETWEEN_KILLS))
    await cell.kill_database(index)
    await load.reach(load.acknowledged + STEADY)
    await cell.kill(victim)
    await victim.start()
    await load.reach(load.acknowledged + STEADY)
    await cell.start_database(index)
    await load.reach(load.acknowledged + STEADY)
    cell.tell(f"database {index} killed and back")


async def freeze_a_node(load: Load, cell: Cell) -> None:
    """Frozen for longer than its lease, a node loses it, and begins anew by itself."""
    node = load.rng.choice(cell.nodes)
    before = cell.takeovers
    await load.reach(load.acknowledged + load.rng.randint(*ACKNOWLEDGED_BETWEEN_KILLS))
    await asyncio.sleep(load.rng.uniform(0, LATEST_S))
    await cell.freeze(node, FREEZE_S)
    await cell.serves(node)
    await load.reach(load.acknowledged + STEADY)
    assert cell.takeovers > before, "nobody took over from the frozen node"
    cell.tell(f"frozen for {FREEZE_S:.0f} s")


async def freeze_databases(load: Load, cell: Cell) -> None:
    """Without a quorum nothing is promised and the nodes say why; afterwards all goes on."""
    frozen = load.rng.sample(range(len(cell.database.hosts)), 2)
    pids = [node.pid for node in cell.nodes]
    await load.reach(load.acknowledged + load.rng.randint(*ACKNOWLEDGED_BETWEEN_KILLS))
    begun = time.monotonic()
    await cell.freeze_databases(frozen, PAUSE_S)
    for node, readiness in zip(cell.nodes, cell.readiness, strict=True):
        looks = readiness.since(begun)
        assert any(status == 503 and '"store"' in body for status, body in looks), looks
        await cell.serves(node)
    await load.reach(load.acknowledged + STEADY)
    assert [node.pid for node in cell.nodes] == pids
    cell.tell(f"databases {frozen} frozen for {PAUSE_S:.0f} s")


async def write_through_it_all(load: Load, cell: Cell, rooms: list[Room], auditor: Auditor) -> None:
    """Let everyone write and read until all has happened and every message is acknowledged."""
    async with asyncio.TaskGroup() as group:
        for_ever = [reader.run() for room in rooms for reader in room.readers]
        for_ever += [auditor.run(), *(readiness.watch() for readiness in cell.readiness)]
        reading = [group.create_task(each) for each in for_ever]
        writing = [group.create_task(writer.run()) for room in rooms for writer in room.writers]
        for happens in (kill_nodes, kill_a_database, freeze_a_node, freeze_databases):
            await happens(load, cell)
        load.finishing = True
        await asyncio.wait(writing, timeout=FINISH_S)
        assert all(task.done() for task in writing)
        for task in reading:
            task.cancel()


async def resume_once_more(load: Load, rooms: list[Room]) -> None:
    """One resume, from wherever the last one stood, must tell the rest."""
    for room in rooms:
        for reader in room.readers:
            await reader.visit(load.any_node(), 0)


async def eventually(condition: Callable[[], Awaitable[bool]], deadline_s: float) -> None:
    async with asyncio.timeout(deadline_s):
        while not await condition():
            await asyncio.sleep(1)


@pytest.mark.chaos
@pytest.mark.timeout(900, func_only=True)
async def test_nothing_acknowledged_is_lost_doubled_or_reordered_whoever_is_killed_or_frozen(
    database: Cassandra,
    chaos_keyspace: Keyspace,
    tmp_path: Path,
    seed: int,
    tell: Callable[[str], None],
) -> None:
    begun = time.monotonic()
    load = Load(seed)
    auditor = Auditor(load)
    tell(f"logs in {tmp_path}")
    async with (
        Tables(chaos_keyspace.options, CELL) as tables,
        cell(load, database, chaos_keyspace, tmp_path, tell) as happening,
    ):
        rooms = await open_rooms(load)
        await write_through_it_all(load, happening, rooms, auditor)
        await resume_once_more(load, rooms)
        happening.tell("all is written")

        async def all_finished() -> bool:
            return len(await tables.unfinished()) == NODES

        with suppress(TimeoutError):
            await eventually(all_finished, FINISHED_S)
        unfinished = await tables.unfinished()
        wrong = faults("runs unfinished", unfinished) if len(unfinished) != NODES else []
        happening.tell("the dead nodes' runs are finished")
        acknowledged = [told for room in rooms for told in room.acknowledged]
        for room in rooms:
            wrong += await wrong_in_history(happening.nodes, room)
            half = set(load.rng.sample(room.acknowledged, len(room.acknowledged) // 2))
            for node, part in zip(
                happening.nodes, (half, set(room.acknowledged) - half), strict=True
            ):
                wrong += await wrong_in_repeats(node, room, sorted(part))
            wrong += await wrong_in_history(happening.nodes, room)
        acknowledged += happening.probes
        wrong += await wrong_in_event_log(happening.nodes, auditor, acknowledged)
        await happening.stop()
        wrong += faults("runs unfinished after SIGTERM", await tables.unfinished())
        wrong += await tables.wrong_in_outbox(acknowledged)
    tell(
        f"seed {seed}, {time.monotonic() - begun:.0f} s: {happening.kills} nodes killed,"
        f" {happening.freezes} frozen, {happening.database_kills} databases killed,"
        f" {happening.database_freezes} frozen; {len(acknowledged)} messages,"
        f" {load.acknowledged} acknowledged, {load.retried} retried,"
        f" {load.duplicates} duplicates answered, refused {dict(load.refused)},"
        f" {len(load.late)} announced late, nothing acknowledged for {load.away_s:.1f} s,"
        f" {happening.takeovers} runs taken over,"
        f" {sum(r.record.resumes for room in rooms for r in room.readers)} resumes"
    )
    assert not wrong, "\n".join(wrong)
    assert load.retried > load.duplicates > 0, "the kills hit nothing"
    assert load.retried > happening.kills, "the kills hit nothing"
