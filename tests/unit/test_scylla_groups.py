"""Commit groups without a cluster: how large, how many at once, and how many of them are found."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tradewire.adapters.scylla.draft import Memory
from tradewire.adapters.scylla.journal import WORTHWHILE, ScyllaJournal
from tradewire.adapters.scylla.outbox import last_batches
from tradewire.adapters.scylla.rooms import Rooms
from tradewire.domain.ids import Clock
from tradewire.domain.writes import SetLastSeen, Unit

DEADLINE_S = 5.0


class Cluster:
    """Has what the journal writes, makes a group visible when it is let, and has these slices."""

    def __init__(self, slices: dict[int, list[int]] | None = None) -> None:
        self.slices = slices or {}
        self.held: list[int] = []
        self.let = asyncio.Event()

    async def rows(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        if name == "SLICES":
            return [(slice_,) for slice_ in self.slices]
        if name == "LAST_BATCHES":
            _, slice_, count = values
            return [(batch, b"", b"") for batch in self.slices[slice_][::-1][:count]]
        return []

    async def write(self, rows: list[Any]) -> None:
        self.held.append(len(rows))
        await self.let.wait()


@asynccontextmanager
async def journal_on(cluster: Any, **limits: int) -> AsyncIterator[Callable[[int], None]]:
    """Appends as many units to a journal of these limits; all are done at the end."""
    clock = Clock(lambda: 1_764_115_200_000)
    journal = ScyllaJournal(
        cluster,
        "cell",
        Memory(Rooms(cluster)),
        clock,
        lambda units, seconds: None,
        SimpleNamespace(),  # type: ignore[arg-type]  # no group is late
        lambda late: None,
        **limits,
    )
    journal.begin(SimpleNamespace(run=1, alive=True), 0)  # type: ignore[arg-type]  # a lease that lasts
    working = asyncio.create_task(journal.work())

    def append(count: int) -> None:
        for _ in range(count):
            seen = SetLastSeen(
                tenant="t1", event_id=clock.next_id(), user_id="ada", online=True, last_seen=1
            )
            journal.append(Unit((seen,)), lambda outcome: None)

    try:
        yield append
        cluster.let.set()
        async with asyncio.timeout(DEADLINE_S):
            await journal.drained()
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
