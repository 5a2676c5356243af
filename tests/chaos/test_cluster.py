"""Nodes killed, Kafka stopped, sockets cut, clocks that differ: each client still hears it all."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import aiohttp
import pytest
from aiokafka.structs import ConsumerRecord

from tests.chaos.cell import Log
from tests.chaos.load import Load
from tests.chaos.topic import wrong_in_topic
from tests.chaos.verdict import faults, wrong_in_history
from tests.engines import Keyspace, keyspace_on
from tests.fault.cluster import Cluster, Room, cluster_on, open_rooms
from tests.fault.flow import Flow, begin
from tests.fault.load import FINISH_S
from tests.fault.process import PLAIN, ServerProcess
from tests.fault.waiting import until
from tests.kafka import Bus, bus_on, message_ids
from tradewire.testing.engines import Cassandra, Kafka

KILLS = 30
KILLED_TOGETHER = 0.3
SOON = 0.5
"""How often a killed node is back before its lease has run out."""
LEASE_S = 4
ACKNOWLEDGED_BETWEEN_KILLS = (10, 80)
LATEST_S = 0.02
STEADY = 300
KAFKA_AWAY_S = 60.0
KILLS_WITHOUT_KAFKA = 4
MODULES = (PLAIN, ("tests.chaos.ahead", "2000"), PLAIN)
"""The clock of the second node is 2 s ahead of the others."""
ROOMS = 4
ROOM_REST_S = 1.0
FLOW_REST_S = 2.0
HEARD_S = 30.0
PUBLISHED_S = 100.0
"""A takeover that is itself cut off is gone on with after a minute."""
BLAMELESS = frozenset({"not_found", "forbidden", "conversation_closed", "conflict"})
"""Refusals that are no fault of the service: others have changed what a device acts on."""
FAILED = "Traceback"
"""What a node logs of what nobody foresaw."""

_REJECTED = re.compile(r'^tradewire_rejected_total\{code="(\w+)"\} (\d+)', re.MULTILINE)

Tell = Callable[[str], None]


@pytest.fixture
def lone_keyspace(lone_database: Cassandra) -> Iterator[Keyspace]:
    with keyspace_on(lone_database.hosts) as made:
        yield made


class Chaos:
    """What is done to the nodes and to Kafka, and how often."""

    def __init__(self, load: Load, cluster: Cluster, kafka: Kafka, tell: Tell) -> None:
        self.cluster = cluster
        self.kills = 0
        self.acknowledged_without_kafka = 0
        self._load = load
        self._kafka = kafka
        self._tell = tell

    async def run(self) -> None:
        """All of it, one after another."""
        await self._load.reach(STEADY)
        await self._stop_kafka()
        await self._kill_nodes(KILLS)
        await self._load.reach(self._load.acknowledged + STEADY)

    async def _stop_kafka(self) -> None:
        """Kafka dies and comes back; for the first half of the time nothing else happens."""
        before, refused = self._load.acknowledged, await self._refused()
        begun = time.monotonic()
        await asyncio.to_thread(self._kafka.kill)
        await asyncio.sleep(KAFKA_AWAY_S / 2)
        refused = await self._refused() - refused
        assert not refused, f"refused since Kafka is away: {dict(refused)}"
        await self._kill_nodes(KILLS_WITHOUT_KAFKA)
        await asyncio.sleep(max(begun + KAFKA_AWAY_S - time.monotonic(), 0))
        self.acknowledged_without_kafka = self._load.acknowledged - before
        await asyncio.to_thread(self._kafka.start)
        self._tell(f"without Kafka {self.acknowledged_without_kafka} messages were acknowledged")

    async def _kill_nodes(self, kills: int) -> None:
        """SIGKILL at random moments; the others take over, or the node is back before."""
        load, rng = self._load, self._load.rng
        while self.kills < kills:
            await load.reach(load.acknowledged + rng.randint(*ACKNOWLEDGED_BETWEEN_KILLS))
            await asyncio.sleep(rng.uniform(0, LATEST_S))
            victims = rng.sample(self.cluster.nodes, 2 if rng.random() < KILLED_TOGETHER else 1)
            await self._kill(victims)
            if rng.random() >= SOON:
                await asyncio.sleep(rng.uniform(LEASE_S, 2 * LEASE_S))
            await asyncio.gather(*(node.start() for node in victims))
        self._tell(f"{self.kills} kills, {load.acknowledged} messages acknowledged")

    async def _kill(self, victims: Sequence[ServerProcess]) -> None:
        self.kills += len(victims)
        await asyncio.gather(*(node.kill() for node in victims))

    async def _refused(self) -> Counter[str]:
        """What the nodes have refused so far for reasons of their own, by code."""
        refused: Counter[str] = Counter()
        async with aiohttp.ClientSession() as http:
            for node in self.cluster.nodes:
                async with http.get(f"{node.url}/metrics") as response:
                    for code, number in _REJECTED.findall(await response.text()):
                        refused[code] += 0 if code in BLAMELESS else int(number)
        return +refused


async def talk_through_it_all(load: Load, chaos: Chaos, rooms: list[Room], flow: Flow) -> list[str]:
    """Let everyone write, read and act until all has happened and every message is acknowledged;
    where devices then show anything but what is.
    """
    async with asyncio.TaskGroup() as group:
        for_ever = [reader.run() for room in rooms for reader in room.readers]
        for_ever += [device.run() for device in flow.devices]
        listening = [group.create_task(each) for each in for_ever]
        writing = [group.create_task(writer.run()) for room in rooms for writer in room.writers]
        writing.append(group.create_task(flow.act(lambda _: load.finishing)))
        await chaos.run()
        load.finishing = True
        await asyncio.wait(writing, timeout=FINISH_S)
        assert all(task.done() for task in writing)
        with suppress(TimeoutError):
            await until(lambda: all(room.told_all() for room in rooms), HEARD_S)
        wrong = await flow.converge(chaos.cluster)
        for task in listening:
            task.cancel()
    return wrong


async def published(bus: Bus, messages: set[str]) -> list[ConsumerRecord]:
    """What is on Kafka once it tells of these messages, or when time is up."""
    deadline = time.monotonic() + PUBLISHED_S
    while True:
        records = await bus.published()
        if messages <= set(message_ids(records)) or time.monotonic() > deadline:
            return records
        await asyncio.sleep(1)


@pytest.mark.chaos
@pytest.mark.timeout(900, func_only=True)
async def test_every_client_hears_every_message_once_whatever_happens_to_nodes_and_kafka(
    lone_keyspace: Keyspace, broker: Kafka, tmp_path: Path, seed: int, tell: Tell
) -> None:
    begun = time.monotonic()
    load = Load(seed)
    tell(f"logs in {tmp_path}")
    environ = {"NODE_LEASE_SECONDS": str(LEASE_S)}
    with ExitStack() as stack:
        async with (
            bus_on(broker.brokers) as bus,
            cluster_on(lone_keyspace, bus, tmp_path, modules=MODULES, **environ) as cluster,
        ):
            for number, node in enumerate(cluster.nodes):
                node.log = stack.enter_context(closing(Log(tmp_path / f"node{number}.log")))
            await cluster.start()
            rooms = await open_rooms(load, cluster, ROOMS, rest_s=ROOM_REST_S)
            await begin(cluster)
            tenant = cluster.place.tenant("default")
            flow = Flow(cluster.proxy, seed, tenant=tenant, rest_s=FLOW_REST_S)
            chaos = Chaos(load, cluster, broker, tell)
            wrong = await talk_through_it_all(load, chaos, rooms, flow)
            for room in rooms:
                wrong += await wrong_in_history(cluster.nodes, room)
            acknowledged = [told for room in rooms for told in room.acknowledged]
            records = await published(bus, {str(told.message_id) for told in acknowledged})
            wrong += wrong_in_topic(records, acknowledged, {room.id for room in rooms})
    tell(
        f"seed {seed}, {time.monotonic() - begun:.0f} s: {chaos.kills} nodes killed,"
        f" {flow.cuts} sockets cut, Kafka away for {KAFKA_AWAY_S:.0f} s,"
        f" in which {chaos.acknowledged_without_kafka} messages were acknowledged;"
        f" {len(acknowledged)} messages, {load.duplicates} duplicates answered,"
        f" nothing acknowledged for {load.away_s:.1f} s; {flow.told};"
        f" {len(records)} records on Kafka"
    )
    for log in tmp_path.glob("node*.log"):
        wrong += faults(log.name, (line for line in log.read_text().splitlines() if FAILED in line))
    assert not wrong, "\n".join(wrong)
    assert chaos.acknowledged_without_kafka > STEADY
