"""Commit groups without a cluster: how large, how many at once, and how many of them are found."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from tradewire.adapters.scylla import journal
from tradewire.adapters.scylla.draft import Memory
from tradewire.adapters.scylla.journal import WORTHWHILE, ScyllaJournal
from tradewire.adapters.scylla.outbox import last_batches
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.domain.errors import Unavailable
from tradewire.domain.ids import Clock
from tradewire.domain.writes import SetLastSeen, Unit
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import Shop

DEADLINE_S = 10.0
ROOM = Room(
    tenant="t1",
    conversation_id="c1",
    created=1,
    deleted_at=0,
    crowded_at=0,
    kind="direct",
    status="open",
    created_at="2026-01-01T00:00:00.000Z",
    created_by="alice",
    listing_id=None,
    product_id=None,
    title=None,
    metadata=None,
    orders={},
    roles={"alice": "member", "bob": "member"},
)


class Cluster:
    """Has what the journal writes, makes a group visible when it is let, and has these slices."""

    def __init__(self, slices: dict[int, list[int]] | None = None) -> None:
        self.slices = slices or {}
        self.held: list[int] = []
        self.let = asyncio.Event()

    async def rows(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        if name == "SLICES":
            return [(slice_,) for slice_ in self.slices]
        return []

    async def row(self, name: str, *values: Any) -> tuple[Any, ...] | None:
        assert name == "LAST_BATCH"
        _, slice_, before = values
        older = [batch for batch in self.slices[slice_] if batch < before]
        return (max(older), b"", b"") if older else None

    async def write(self, rows: list[Any]) -> None:
        self.held.append(len(rows))
        await self.let.wait()


async def nothing_more(*_: Any) -> None:
    """Nobody sent anything again; everybody has heard of it."""


@asynccontextmanager
async def journal_on(cluster: Any, **limits: int) -> AsyncIterator[Callable[[int], None]]:
    """Appends as many units to a journal of these limits; all are done at the end."""
    clock = Clock(lambda: 1_764_115_200_000)
    subject = ScyllaJournal(
        cluster,
        "cell",
        Memory(Rooms(cluster)),
        clock,
        lambda units, seconds: None,
        nothing_more,
        nothing_more,
        **limits,
    )
    subject.begin(SimpleNamespace(run=1, alive=True), 0)  # type: ignore[arg-type]  # a lease that lasts
    working = asyncio.create_task(subject.work())

    def append(count: int) -> None:
        for _ in range(count):
            seen = SetLastSeen(
                tenant="t1", event_id=clock.next_id(), user_id="ada", online=True, last_seen=1
            )
            subject.append(Unit((seen,)), lambda outcome: None)

    try:
        yield append
        cluster.let.set()
        async with asyncio.timeout(DEADLINE_S):
            await subject.drained()
    finally:
        working.cancel()


async def settled() -> None:
    """Let all tasks go on until each of them waits."""
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("units", "groups", "begun"), [(10, 1, [10]), (10, 3, [10, 10, 10]), (512, 8, [100])]
)
async def test_groups_hold_so_many_units_and_so_many_are_under_way(
    units: int, groups: int, begun: list[int]
) -> None:
    cluster = Cluster()
    async with journal_on(cluster, group_units=units, groups_in_flight=groups) as append:
        append(100)
        await settled()
        assert cluster.held == begun
    assert sum(cluster.held) == 100


@pytest.mark.parametrize(("units", "begun"), [(512, 1), (WORTHWHILE - 1, 2)])
async def test_beside_another_only_a_full_group_begins_with_few_units(
    units: int, begun: int
) -> None:
    cluster = Cluster()
    async with journal_on(cluster, group_units=units, groups_in_flight=2) as append:
        append(1)
        await settled()
        append(WORTHWHILE - 1)
        await settled()
        assert len(cluster.held) == begun


async def test_what_comes_fast_goes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "GATHER_S", 0.3)
    monkeypatch.setattr(journal, "GATHER_UNIT_S", 0.3)
    cluster = Cluster()
    cluster.let.set()
    async with journal_on(cluster, group_units=512, groups_in_flight=3) as append:
        for _ in range(6):
            append(1)
            await settled()
        assert cluster.held == [1]
        async with asyncio.timeout(DEADLINE_S):
            while len(cluster.held) == 1:
                await asyncio.sleep(0.01)
        assert cluster.held == [1, 5]


async def test_after_a_late_group_sends_are_acknowledged_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in {"LATE_S": 0.3, "MARGIN_S": 0.05, "PATIENCE_S": 0.2}.items():
        monkeypatch.setattr(journal, name, seconds)
    cluster, clock, told = Cluster(), Clock(lambda: 1_764_115_200_000), list[Any]()
    shop = Shop(SimpleNamespace(), ManualClock())
    shop.ids = clock
    memory = Memory(Rooms(cluster))  # type: ignore[arg-type]

    async def tell(groups: Any) -> None:
        told.extend(groups)

    subject = ScyllaJournal(
        *(cluster, "cell", memory, clock, lambda units, seconds: None, nothing_more, tell),  # type: ignore[arg-type]
        group_units=512,
        groups_in_flight=3,
    )
    subject.begin(SimpleNamespace(run=1, alive=True), 0)  # type: ignore[arg-type]
    memory.rooms.keep(ROOM)
    shop.store = SimpleNamespace(journal=subject)
    numbers = count()

    def send() -> list[asyncio.Future[Any]]:
        keys = [f"s:{next(numbers)}" for _ in range(WORTHWHILE)]
        return [shop.append(shop.message("c1", key=key, fresh=True)) for key in keys]

    working = asyncio.create_task(subject.work())
    try:
        held = send()
        await asyncio.sleep(0.35)
        cluster.let.set()
        rounds: list[asyncio.Future[list[Any]]] = []
        async with asyncio.timeout(DEADLINE_S):
            while not (len(rounds) > 40 and all(map(acknowledged, rounds[-25:-5]))):
                rounds.append(asyncio.gather(*send()))
                await asyncio.sleep(0.03)
            await subject.drained()
    finally:
        working.cancel()
    assert {type(outcome) for outcome in await asyncio.gather(*held)} == {Unavailable}
    [late] = told
    assert {message.key for _, message, _ in late.sent()} == {f"s:{n}" for n in range(len(held))}


def acknowledged(sent: "asyncio.Future[list[Any]]") -> bool:
    return sent.done() and not any(isinstance(each, Unavailable) for each in sent.result())


@pytest.mark.parametrize(
    ("slices", "found"),
    [
        ({1: [1, 2, 3, 4], 5: [5, 6, 7, 8], 9: [9]}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({1: [1, 2, 3, 4], 5: [5, 6, 7, 8], 9: [9, 10, 11, 12], 13: []}, list(range(4, 13))),
        ({1: list(range(1, 20)), 20: [20]}, list(range(12, 21))),
        ({1: [1, 2]}, [1, 2]),
        ({}, []),
    ],
)
async def test_the_last_groups_are_found_over_all_slices(
    slices: dict[int, list[int]], found: list[int]
) -> None:
    batches = await last_batches(Cluster(slices), 1, 9)  # type: ignore[arg-type]  # it has slices
    assert [batch for _, batch, _, _ in batches] == found
