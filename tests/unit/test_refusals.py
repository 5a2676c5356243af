"""What a node makes of refusals that it hears of: each takes effect once, and as it stands."""

from collections.abc import AsyncIterator
from math import inf
from typing import Any

import pytest

from tradewire.adapters.memory import MemoryStore
from tradewire.domain.caller import Caller
from tradewire.domain.errors import Blocked, Close, Unauthenticated, Unavailable
from tradewire.domain.ids import Clock
from tradewire.domain.writes import SetSuspension
from tradewire.ports import Refusal
from tradewire.testing.clock import ManualClock
from tradewire.usecases.context import Context
from tradewire.usecases.refusals import WINDOW_MS, Refusals
from tradewire.usecases.standing import Standing

TENANT = "shop"


class HeardCluster:
    """What other nodes have refused; `away`: the store does not answer."""

    def __init__(self) -> None:
        self.refused: list[Refusal] = []
        self.away = False

    async def refusals(self, after: int) -> list[Refusal]:
        if self.away:
            raise Unavailable
        return [refusal for refusal in self.refused if refusal.id > after]


class ClosingHub:
    """Takes down what it is asked to close."""

    def __init__(self) -> None:
        self.closed: list[tuple[Any, ...]] = []

    def disconnect(
        self, tenant: str, user_id: str, code: Close, *, issued_before: float = inf
    ) -> int:
        self.closed.append((tenant, user_id, code, issued_before))
        return 1

    def disconnect_token(self, tenant: str, token_id: str) -> int:
        self.closed.append((tenant, token_id))
        return 1


class NodeUnderTest:
    """A node that has just begun."""

    def __init__(self, store: MemoryStore, time: ManualClock) -> None:
        self.time = time
        self.clock = Clock(time)
        self.hub = ClosingHub()
        self.cluster = HeardCluster()
        self.context = Context(store, self.hub, self.clock)  # type: ignore[arg-type]  # its part
        self.standing = Standing(self.context)
        self.refusals = Refusals(self.context, self.cluster)  # type: ignore[arg-type]  # its part

    def refuse(self, **what: Any) -> Refusal:
        """Another node refuses something now."""
        refusal = Refusal(self.clock.next_id(), TENANT, **what)
        self.cluster.refused.append(refusal)
        return refusal

    async def suspend(self, user_id: str, *, suspended: bool = True) -> None:
        change_id = self.clock.next_id()
        await self.context.commit(
            SetSuspension(tenant=TENANT, change_id=change_id, user_id=user_id, suspended=suspended)
        )


@pytest.fixture
async def node() -> AsyncIterator[NodeUnderTest]:
    time = ManualClock()
    store = MemoryStore(time)
    yield NodeUnderTest(store, time)
    await store.close()


def caller(user_id: str = "alice", token_id: str | None = None, issued_at: float = 0) -> Caller:
    return Caller(TENANT, user_id, frozenset(), token_id, inf, issued_at)


BLOCKED = (TENANT, "alice", Close.BLOCKED, inf)


async def test_a_block_closes_once_and_is_believed_at_once(node: NodeUnderTest) -> None:
    await node.standing.check(caller())
    await node.suspend("alice")
    node.refuse(user_id="alice", blocked=True)
    for _ in range(3):
        await node.refusals.look()
    assert node.hub.closed == [BLOCKED]
    with pytest.raises(Blocked):
        await node.standing.check(caller())


async def test_a_block_that_was_lifted_meanwhile_closes_nothing(node: NodeUnderTest) -> None:
    await node.suspend("alice")
    node.refuse(user_id="alice", blocked=True)
    await node.suspend("alice", suspended=False)
    await node.refusals.look()
    assert node.hub.closed == []
    await node.standing.check(caller())


async def test_a_block_that_is_not_there_yet_is_looked_for_again(node: NodeUnderTest) -> None:
    node.refuse(user_id="alice", blocked=True)
    await node.refusals.look()
    assert node.hub.closed == []
    await node.suspend("alice")
    await node.refusals.look()
    assert node.hub.closed == [BLOCKED]


async def test_a_revoked_user_is_refused_by_the_age_of_the_token(node: NodeUnderTest) -> None:
    await node.standing.check(caller())
    node.refuse(user_id="alice")
    at = node.time() / 1_000
    await node.refusals.look()
    assert node.hub.closed == [(TENANT, "alice", Close.UNAUTHENTICATED, at)]
    for issued_at in (0, at - 0.001):
        with pytest.raises(Unauthenticated, match="revoked"):
            await node.standing.check(caller(issued_at=issued_at))
    await node.standing.check(caller(issued_at=at))
    await node.standing.check(caller("bob"))


async def test_of_two_revocations_the_newer_counts_whichever_is_heard_last(
    node: NodeUnderTest,
) -> None:
    older = Refusal(node.clock.next_id(), TENANT, "alice")
    node.time.advance(5_000)
    node.refuse(user_id="alice")
    await node.refusals.look()
    node.cluster.refused.insert(0, older)
    await node.refusals.look()
    with pytest.raises(Unauthenticated):
        await node.standing.check(caller(issued_at=node.time() / 1_000 - 1))


async def test_a_revoked_token_is_refused_wherever_it_is(node: NodeUnderTest) -> None:
    await node.standing.check(caller(token_id="t-1"))
    node.refuse(token_id="t-1")
    await node.refusals.look()
    assert node.hub.closed == [(TENANT, "t-1")]
    with pytest.raises(Unauthenticated, match="revoked"):
        await node.standing.check(caller(token_id="t-1"))
    await node.standing.check(caller(token_id="t-2"))
    await node.standing.check(caller())


async def test_one_that_appears_late_is_heard(node: NodeUnderTest) -> None:
    late = Refusal(node.clock.next_id(), TENANT, token_id="t-1")
    node.time.advance(WINDOW_MS - 1)
    node.refuse(token_id="t-2")
    await node.refusals.look()
    node.cluster.refused.insert(0, late)
    await node.refusals.look()
    assert node.hub.closed == [(TENANT, "t-2"), (TENANT, "t-1")]


async def test_what_was_refused_while_the_store_was_away_is_made_up_for(
    node: NodeUnderTest,
) -> None:
    node.cluster.away = True
    node.refuse(token_id="t-1")
    for _ in range(2):
        node.time.advance(10 * WINDOW_MS)
        with pytest.raises(Unavailable):
            await node.refusals.look()
    node.cluster.away = False
    await node.refusals.look()
    assert node.hub.closed == [(TENANT, "t-1")]
