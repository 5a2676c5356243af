"""Nodes are stopped and started again one after another: clients reconnect, and notice no more."""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import Keyspace
from tests.fault.cluster import Cluster, Room, cluster_on, open_rooms
from tests.fault.load import FINISH_S, Load, history, numbers_of
from tests.fault.process import ServerProcess
from tests.fault.waiting import until
from tests.kafka import bus_on
from tradewire.testing.engines import Kafka

ROOMS = 10
DEVICES = 2
CLIENTS = 2 * ROOMS * (1 + DEVICES)
REST_S = 3.0
DRAIN_S = 3.0
STEADY = 50
"""Messages between two stops."""
BACK_S = 15.0


async def restart(cluster: Cluster, node: ServerProcess) -> float:
    """Stop a node and start it again; the time over which its clients came back."""
    before = set(cluster.proxy.links)
    node.signal(signal.SIGTERM)
    assert await node.ended() == 0, node.errors
    await node.start()
    await until(lambda: len(cluster.proxy.links) == CLIENTS, BACK_S)
    opened = [link.opened for link in cluster.proxy.links if link not in before]
    return max(opened) - min(opened)


async def write_and_restart(load: Load, cluster: Cluster, rooms: list[Room]) -> list[float]:
    """Restart each node while everyone writes and reads; the spreads of the reconnects."""
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(reader.run()) for room in rooms for reader in room.readers]
        writing = [group.create_task(writer.run()) for room in rooms for writer in room.writers]
        spreads = []
        for node in cluster.nodes:
            await load.reach(load.acknowledged + STEADY)
            spreads.append(await restart(cluster, node))
        await load.reach(load.acknowledged + STEADY)
        load.finishing = True
        await asyncio.wait(writing, timeout=FINISH_S)
        await until(lambda: all(room.told_all() for room in rooms), FINISH_S)
        for task in reading:
            task.cancel()
    return spreads


@pytest.mark.fault
@pytest.mark.timeout(240, func_only=True)
async def test_a_rolling_restart_costs_clients_nothing_but_a_reconnect(
    keyspace: Keyspace,
    kafka_engine: Kafka,
    tmp_path: Path,
    seed: int,
    tell: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = time.monotonic()
    load = Load(random.Random(seed))
    async with (
        bus_on(kafka_engine.brokers) as bus,
        cluster_on(keyspace, bus, tmp_path, DRAIN_SECONDS=str(DRAIN_S)) as cluster,
    ):
        await cluster.start()
        rooms = await open_rooms(load, cluster, ROOMS, rest_s=REST_S, devices=DEVICES)
        with caplog.at_level(logging.WARNING, "tradewire.client"):
            spreads = await write_and_restart(load, cluster, rooms)
        assert caplog.records == []
        for room in rooms:
            stored = await history(cluster, room.users[0], room.id)
            assert stored == sorted(set(room.acknowledged))
            for writer in room.writers:
                numbers = numbers_of(stored, writer.user)
                assert numbers == list(range(len(writer.acknowledged)))
            for reader in room.readers:
                assert set(reader.received.values()) == set(stored)
    told = ", ".join(f"{spread:.1f} s" for spread in spreads)
    tell(
        f"seed {seed}, {time.monotonic() - begun:.0f} s: {len(spreads)} nodes restarted,"
        f" {load.acknowledged} messages acknowledged, reconnects spread over {told}"
    )
    assert min(spreads) > DRAIN_S / 2
