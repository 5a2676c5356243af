"""Several nodes on one keyspace: who lives, who holds whose connections, who was refused."""

import asyncio
import time
from typing import Any

import pytest

from tests.integration.test_scylla_nodes import Node, Start, eventually
from tradewire.adapters.scylla import nodes, sessions
from tradewire.domain.errors import Unavailable
from tradewire.domain.ids import id_at, id_ms, node_of
from tradewire.domain.writes import Revoke, SetSuspension
from tradewire.ports import ROUTE_AGE_S, Refusal


async def holders(asking: Node, user: str) -> set[int]:
    """The numbers of the nodes that have connections of a user, as one of the others knows it."""
    key = (asking.shop.tenant, user)
    return set((await asking.store.cluster.find([key]))[key])


async def found(asking: Node, user: str, *nodes: Node) -> None:
    """Wait until just these nodes are found for a user."""
    numbers = {node.store.cluster.node for node in nodes}

    async def are_found() -> bool:
        return await holders(asking, user) == numbers

    await eventually(are_found, f"{user} is found on {sorted(numbers)}")


async def join(node: Node, user: str) -> None:
    await node.store.cluster.join(node.shop.tenant, user)


async def leave(node: Node, user: str) -> None:
    await node.store.cluster.leave(node.shop.tenant, user)


async def rows_of(node: Node, user: str) -> list[int]:
    [(place, _)] = node.store.engine.together("ADD_SESSION", [(node.shop.tenant, user)])
    rows = await node.store.engine.rows_at(place, "SESSIONS", node.shop.tenant, [user])
    return [run for _, run in rows]


def run_of(node: Node) -> int:
    assert node.store._run is not None
    return node.store._run.run


async def lose_lease(node: Node) -> None:
    """Take a node its lease, and wait for its next life."""
    run = node.store._run
    assert run is not None
    await node.store.engine.decide("DROP_LEASE", run._lease.name, run._lease._holder)

    async def lives_anew() -> bool:
        return node.store._run not in (None, run)

    await eventually(lives_anew, "another run")


class TestNodes:
    async def test_each_knows_the_others(self, start: Start) -> None:
        nodes = [await start() for _ in range(3)]
        for node in nodes:
            cluster = node.store.cluster
            assert cluster.node == node_of(node.clock.next_id())
            others = {other.store.cluster.node: run_of(other) for other in nodes if other != node}

            async def are_known(node: Node = node, others: dict[int, int] = others) -> bool:
                return node.store.cluster.others == others

            await eventually(are_known, "the others are known")

    async def test_who_ends_in_good_order_is_gone(self, start: Start) -> None:
        leaving, staying = await start(), await start()
        number = leaving.store.cluster.node
        await eventually(lambda: _knows(staying, leaving), "it is known")
        await leaving.store.close()
        await eventually(lambda: _is_gone(staying, number), "it is gone")

    async def test_who_dies_is_gone_when_its_run_was_taken_over(self, start: Start) -> None:
        dying, staying = await start(), await start()
        number = dying.store.cluster.node
        await eventually(lambda: _knows(staying, dying), "it is known")
        await dying.die()
        await eventually(lambda: _is_gone(staying, number), "it is gone")

    async def test_it_is_alone_from_when_the_last_other_one_ended(self, start: Start) -> None:
        staying = await start()
        await eventually(lambda: _is_alone(staying), "nobody else is there")
        leaving = await start()
        await eventually(lambda: _knows(staying, leaving), "the other one is known")
        known_at = time.monotonic()
        assert not staying.store.cluster.alone_since(known_at)
        await leaving.store.close()
        await eventually(lambda: _is_alone(staying), "it is alone again")
        assert not staying.store.cluster.alone_since(known_at)

    async def test_one_that_came_and_went_between_two_looks_was_there(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nodes, "LOOK_S", 600.0)
        staying = await start()
        await staying.store.cluster.look()
        await staying.store.cluster.look()
        before = time.monotonic()
        assert staying.store.cluster.alone_since(before)
        passing = await start()
        await passing.store.close()
        await staying.store.cluster.look()
        assert not staying.store.cluster.alone_since(before)

    async def test_who_cannot_look_does_not_know_that_it_is_alone(self, start: Start) -> None:
        node = await start()
        await eventually(lambda: _is_alone(node), "nobody else is there")
        node.stop_at("RUNS")

        async def is_unknown() -> bool:
            return not await _is_alone(node)

        await eventually(is_unknown, "what was seen is too old")

    async def test_a_former_life_of_its_own_is_no_other_node(self, start: Start) -> None:
        node, other = await start(), await start()
        run = run_of(node)
        await lose_lease(node)

        async def is_finished() -> bool:
            rows = await node.store.engine.rows("RUNS", node.cell)
            return any(row[0] == run and row[4] is not None for row in rows)

        await eventually(is_finished, "the former run is finished")
        await node.store.cluster.look()
        assert set(node.store.cluster.others) == {other.store.cluster.node}


class TestSessions:
    async def test_a_user_is_found_on_the_nodes_that_were_joined(self, start: Start) -> None:
        asking, one, other = await start(), await start(), await start()
        await join(one, "alice")
        await found(asking, "alice", one)
        await join(other, "alice")
        await join(asking, "alice")
        await found(asking, "alice", one, other)
        await leave(one, "alice")
        await found(asking, "alice", other)
        assert await holders(asking, "bob") == set()

    async def test_who_joins_a_node_that_just_began_is_found_at_once(self, start: Start) -> None:
        asking, one = await start(), await start()
        await eventually(lambda: _knows(asking, one), "the other is known")
        new = await start()
        await join(new, "alice")
        assert await holders(asking, "alice") == {new.store.cluster.node}

    async def test_tenants_are_apart(self, start: Start) -> None:
        asking, one = await start(), await start()
        await eventually(lambda: _knows(asking, one), "the other is known")
        await one.store.cluster.join(one.shop.elsewhere, "alice")
        assert await holders(asking, "alice") == set()

    async def test_what_is_known_is_a_second_old_at_most(self, start: Start) -> None:
        asking, one = await start(), await start()
        await eventually(lambda: _knows(asking, one), "the other is known")
        assert await holders(asking, "alice") == set()
        await join(one, "alice")
        joined = asyncio.get_running_loop().time()
        await found(asking, "alice", one)
        assert asyncio.get_running_loop().time() - joined < ROUTE_AGE_S + 0.5

    async def test_those_who_ask_at_once_share_a_read(self, start: Start) -> None:
        asking, one = await start(), await start()
        await eventually(lambda: _knows(asking, one), "the other is known")
        seen: list[str] = []
        asking.store.engine.on_statement = seen.append
        keys = [(asking.shop.tenant, user) for user in ("alice", "bob", "carol")]
        await asyncio.gather(*(asking.store.cluster.find(keys) for _ in range(20)))
        assert seen.count("SESSIONS") == 1

    async def test_a_node_alone_asks_nobody(self, start: Start) -> None:
        node = await start()
        seen: list[str] = []
        node.store.engine.on_statement = seen.append
        await node.store.cluster.look()
        assert await holders(node, "alice") == set()
        assert "SESSIONS" not in seen

    async def test_who_leaves_and_joins_quickly_is_found(self, start: Start) -> None:
        asking, one = await start(), await start()
        for round_ in range(20):
            user = f"user-{round_}"
            await join(one, user)
            # All at once, in this order; what arrives last does not count.
            await asyncio.gather(
                leave(one, user), join(one, user), leave(one, user), join(one, user)
            )
            assert await rows_of(asking, user) == [run_of(one)]
            await asyncio.gather(leave(one, user), join(one, user), leave(one, user))
            assert await rows_of(asking, user) == []

    async def test_the_users_of_a_dead_node_are_not_found(self, start: Start) -> None:
        asking, dying = await start(), await start()
        await join(dying, "alice")
        await found(asking, "alice", dying)
        await dying.die()
        await found(asking, "alice")
        assert await rows_of(asking, "alice") == [run_of(dying)]

    async def test_after_a_lost_lease_users_are_found_in_the_new_life(self, start: Start) -> None:
        asking, node = await start(), await start()
        for user in ("alice", "bob"):
            await join(node, user)
        await leave(node, "bob")
        before = node.store.cluster.node
        await lose_lease(node)
        after = node.store.cluster.node
        await found(asking, "alice", node)
        assert (before != after, await holders(asking, "bob")) == (True, set())

    async def test_who_cannot_join_now_is_joined_later(self, start: Start) -> None:
        asking, node = await start(), await start()
        node.stop_at("ADD_SESSION")
        with pytest.raises(Unavailable):
            await join(node, "alice")
        assert await rows_of(asking, "alice") == []
        node.store.engine.on_statement = None
        await found(asking, "alice", node)

    async def test_rows_are_renewed_before_they_expire(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node = await start()
        await join(node, "alice")
        seen: list[str] = []
        node.store.engine.on_statement = seen.append
        await node.store.cluster._sessions.renew()
        assert "ADD_SESSION" not in seen
        monkeypatch.setattr(sessions, "RENEWED_S", 0.0)
        await node.store.cluster._sessions.renew()
        assert "ADD_SESSION" in seen
        assert await rows_of(node, "alice") == [run_of(node)]

    async def test_a_failed_look_is_not_remembered(self, start: Start) -> None:
        asking, one = await start(), await start()
        await eventually(lambda: _knows(asking, one), "the other is known")
        await join(one, "alice")
        asking.stop_at("SESSIONS")
        with pytest.raises(Unavailable):
            await holders(asking, "alice")
        asking.store.engine.on_statement = None
        assert await holders(asking, "alice") == {one.store.cluster.node}


class TestRefusals:
    async def test_every_node_hears_of_them_by_id(self, start: Start) -> None:
        one, other = await start(), await start()
        tenant = one.shop.tenant
        ids = [node.clock.next_id() for node in (one, one, one, one)]
        for write in (
            SetSuspension(tenant=tenant, change_id=ids[0], user_id="alice", suspended=True),
            SetSuspension(tenant=tenant, change_id=ids[1], user_id="alice", suspended=False),
            Revoke(tenant=tenant, change_id=ids[2], user_id="bob"),
            Revoke(tenant=tenant, change_id=ids[3], token_id="t-1"),
        ):
            await one.shop.write(write)
        expected = [
            Refusal(ids[0], tenant, "alice", None, blocked=True),
            Refusal(ids[2], tenant, "bob", None, blocked=False),
            Refusal(ids[3], tenant, None, "t-1", blocked=False),
        ]
        assert await _refusals(other, ids[0] - 1) == expected
        assert await _refusals(other, ids[0]) == expected[1:]
        assert await _refusals(other, id_at(id_ms(ids[0]) - 10 * 3_600_000)) == expected

    async def test_those_of_a_dead_node_are_finished_by_another(self, start: Start) -> None:
        dying, heir = await start(), await start()
        dying.stop_at("BATCH")
        at = dying.clock.next_id()
        write = SetSuspension(
            tenant=dying.shop.tenant, change_id=at, user_id="alice", suspended=True
        )
        dying.shop.append(write)
        await eventually(lambda: _has_outbox_row(heir, dying), "the outbox row is there")
        await dying.die()
        refusal = Refusal(at, dying.shop.tenant, "alice", None, blocked=True)

        async def heard() -> bool:
            return await _refusals(heir, at - 1) == [refusal]

        await eventually(heard, "the refusal is there")
        assert await heir.store.people.suspension(dying.shop.tenant, "alice") is not None

    async def test_a_look_reads_one_partition_but_around_the_hour(self, start: Start) -> None:
        node = await start()
        seen: list[str] = []
        node.store.engine.on_statement = seen.append
        half_past = id_ms(node.clock.next_id()) // 3_600_000 * 3_600_000 + 1_800_000
        node.store.cluster._clock._now_ms = lambda: half_past
        await node.store.cluster.refusals(id_at(half_past - 60_000))
        assert seen.count("REFUSALS") == 1


async def _refusals(node: Node, after: int) -> list[Refusal]:
    """Refusals of the node's tenant: tests share the keyspace."""
    heard = await node.store.cluster.refusals(after)
    return [each for each in heard if each.tenant == node.shop.tenant]


async def _is_alone(node: Node) -> bool:
    return node.store.cluster.alone_since(time.monotonic())


async def _is_gone(node: Node, number: int) -> bool:
    return number not in node.store.cluster.others


async def _knows(node: Node, other: Node) -> bool:
    return other.store.cluster.node in node.store.cluster.others


async def _has_outbox_row(heir: Node, dying: Node) -> bool:
    slices = await heir.store.engine.rows("SLICES", run_of(dying))
    rows: list[Any] = []
    for (slice_,) in slices:
        rows += await heir.store.engine.rows("BATCHES", run_of(dying), slice_, 0, 100)
    return bool(rows)
