"""What a node does when its cluster is away, refuses it, or its own clock jumps."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.harness import Server, serving
from tests.e2e.places import Place
from tests.engines import Keyspace, keyspace_on
from tests.fault.load import Told, open_direct
from tests.fault.process import ServerProcess
from tradewire.adapters.scylla.store import ScyllaStore
from tradewire.client import CommandError
from tradewire.domain.ids import Clock
from tradewire.testing.clock import ManualClock
from tradewire.testing.engines import Cassandra, EngineMissing, cassandra
from tradewire.testing.store_contract.shop import Shop

LEASE_S = 2
REFUSED_S = 15.0
DEADLINE_S = 30.0
HOUR_MS = 3_600_000


def own_engine(**options: Any) -> Any:
    """An engine of this module's own. Without one the test is skipped, and fails in CI."""
    stack = ExitStack()
    try:
        return stack, stack.enter_context(cassandra(quick=True, kinds=("process",), **options))
    except EngineMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def freezable(cassandra_engine: Cassandra) -> Iterator[Cassandra]:
    """A lone database that may be frozen: that of all tests if it is a process of ours."""
    if cassandra_engine.kind == "process":
        yield cassandra_engine
        return
    stack, engine = own_engine()
    with stack:
        yield engine


@pytest.fixture
async def server(freezable: Cassandra, tmp_path: Path) -> AsyncIterator[Server]:
    """A node on it that serves."""
    with keyspace_on(freezable.hosts) as keyspace:
        place = Place({**keyspace.environ, "DATA_DIR": str(tmp_path)})
        async with serving(place, NODE_LEASE_SECONDS=str(LEASE_S)) as serving_:
            yield serving_


async def readiness(server: Server) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/readyz") as response:
        return response.status, await response.json(content_type=None)


async def ready(server: Server) -> None:
    """Wait until a node says that it is."""
    async with asyncio.timeout(DEADLINE_S):
        while (await readiness(server))[0] != 200:
            await asyncio.sleep(0.1)


async def post(server: Server, room: str, number: int) -> Any:
    """Send a message, by a key that is the same each time."""
    body = {"conversation_id": room, "key": f"key {number}", "text": f"alice {number}"}
    async with server.http("alice") as http:
        return await http.request("POST", "/v1/messages", json=body)


async def page(server: Server, room: str) -> list[Told]:
    """What bob sees of a short conversation."""
    async with server.http("bob") as http:
        found = await http.request("GET", f"/v1/conversations/{room}/messages")
    return [Told.of(message) for message in found["messages"]]


@pytest.mark.timeout(180, func_only=True)
async def test_a_frozen_database_refuses_sends_and_all_goes_on_by_itself_when_it_thaws(
    freezable: Cassandra, server: Server
) -> None:
    room = await open_direct(server, "alice", "bob")
    first = await post(server, room, 0)
    freezable.pause(0)
    try:
        refused = await asyncio.gather(
            *(asyncio.wait_for(post(server, room, number), REFUSED_S) for number in range(1, 4)),
            return_exceptions=True,
        )
        codes = [error.code for error in refused if isinstance(error, CommandError)]
        assert codes == ["unavailable"] * 3, refused
        status, body = await asyncio.wait_for(readiness(server), REFUSED_S)
        assert status == 503
        assert body["checks"]["store"], body
    finally:
        freezable.resume(0)
    await ready(server)
    again = [await post(server, room, number) for number in range(4)]
    assert again[0]["duplicate"]
    assert again[0]["message"] == first["message"]
    told = [Told.of(each["message"]) for each in again]
    assert await page(server, room) == sorted(told)


@pytest.mark.timeout(120, func_only=True)
async def test_a_pause_too_short_to_lose_the_lease_loses_nothing(
    freezable: Cassandra, server: Server
) -> None:
    room = await open_direct(server, "alice", "bob")
    await post(server, room, 0)
    freezable.pause(0)
    try:
        sending = asyncio.create_task(post(server, room, 1))
        await asyncio.sleep(LEASE_S / 4)
    finally:
        freezable.resume(0)
    result = await asyncio.wait_for(sending, REFUSED_S)
    assert not result["duplicate"]
    assert [told.text for told in await page(server, room)] == ["alice 0", "alice 1"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cassandra]:
    """A database that asks who is there."""
    stack, engine = own_engine(authenticated=True)
    with stack:
        yield engine


class TestPassword:
    def place(self, guarded: Cassandra, folder: Path, password: str) -> Place:
        return Place(
            {
                "SCYLLA_HOSTS": ",".join(guarded.hosts),
                "SCYLLA_KEYSPACE": "guarded",
                "SCYLLA_REPLICATION_FACTOR": "1",
                "SCYLLA_USERNAME": "cassandra",
                "SCYLLA_PASSWORD": password,
                "DATA_DIR": str(folder),
            }
        )

    @pytest.mark.timeout(120, func_only=True)
    async def test_a_wrong_password_ends_a_node_with_2_and_names_both_settings(
        self, guarded: Cassandra, tmp_path: Path
    ) -> None:
        place = self.place(guarded, tmp_path, "wrong")
        async with ServerProcess(place, measured=False) as process:
            await process.spawn()
            assert await process.ended() == 2
            assert "SCYLLA_USERNAME" in process.errors
            assert "SCYLLA_PASSWORD" in process.errors
            assert "Traceback" not in process.errors
            assert "wrong" not in process.errors

    @pytest.mark.timeout(120, func_only=True)
    async def test_with_the_right_one_it_serves(self, guarded: Cassandra, tmp_path: Path) -> None:
        place = self.place(guarded, tmp_path, "cassandra")
        migrating = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tradewire", "migrate", "up"),
            env={**os.environ, **place.environ},
        )
        assert await migrating.wait() == 0
        async with ServerProcess(place, measured=False) as process:
            await process.start()
            room = await open_direct(process, "alice", "bob")
            await post(process, room, 0)


class TestClockThatJumps:
    @pytest.fixture
    def wall(self) -> ManualClock:
        return ManualClock(time.time_ns() // 1_000_000)

    @pytest.fixture
    async def shop(self, keyspace: Keyspace, wall: ManualClock) -> AsyncIterator[Shop]:
        """A shop whose store goes by that clock."""
        await keyspace.clear()
        clock = Clock(wall)
        store = ScyllaStore(keyspace.options, cell="jumps", clock=clock, lease_s=60)
        await store.open()
        shop = Shop(store, wall)
        shop.ids = clock
        yield shop
        await store.close()

    @pytest.mark.parametrize(
        "jumps_ms",
        [(-HOUR_MS,), (HOUR_MS,), (-HOUR_MS, 2 * HOUR_MS, -HOUR_MS)],
        ids=["back", "forward", "back and forth"],
    )
    async def test_ids_rise_and_everything_takes_effect(
        self, shop: Shop, wall: ManualClock, jumps_ms: tuple[int, ...]
    ) -> None:
        room = await shop.direct()
        sent = [await shop.send(room, text="before", key="k0")]
        for number, jump in enumerate(jumps_ms, 1):
            sending = [shop.append(shop.message(room, text=f"{number}.0", key=f"k{number}.0"))]
            wall.advance(jump)
            sending += [
                shop.append(shop.message(room, text=f"{number}.{n}", key=f"k{number}.{n}"))
                for n in range(1, 4)
            ]
            sent += [shop.taken(outcome)[0].message for outcome in await asyncio.gather(*sending)]
            await self.check_all_takes_effect(shop, wall, room, sent)
            wall.advance(1_000)
            sent.append(await shop.send(room, text=f"{number} after", key=f"k{number} after"))
            await self.check_all_takes_effect(shop, wall, room, sent)

    async def check_all_takes_effect(
        self, shop: Shop, wall: ManualClock, room: str, sent: list[Any]
    ) -> None:
        ids = [message.id for message in sent]
        assert ids == sorted(set(ids))
        stored = await shop.store.messages.after(shop.tenant, room, 0, 1_000)
        assert [message.id for message in stored] == ids
        for message in (sent[0], sent[-1]):
            again = shop.message(room, key=message.key, content_hash=self.content_of(message))
            result = (await shop.write(again))[0]
            assert (result.duplicate, result.message.id) == (True, message.id)
        for message in (sent[0], sent[-1]):
            text = f"edited after {len(sent)}"
            edited = await shop.edit(message, text=text)
            [found] = await shop.store.messages.by_id(shop.tenant, [(room, message.id)])
            assert (edited.text, found.text) == (text, text)
        unread = await shop.unread("bob")
        moved = await shop.read(room, "bob")
        assert (moved.moved, moved.up_to) == (bool(unread), ids[-1])
        assert await shop.unread("bob") == {}
        [view] = [await shop.view("bob", room)]
        marks = {member.user_id: member.last_read_id for member in view.members or ()}
        assert marks["bob"] == str(ids[-1])
        assert (await shop.missed("bob", ids[-1] - 1)).messages

    def content_of(self, message: Any) -> bytes:
        """What `Shop` made of the text that it was sent with."""
        return {"k0": b"before"}.get(message.key) or message.key.removeprefix("k").encode()
