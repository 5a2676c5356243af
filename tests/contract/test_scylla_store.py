from collections.abc import AsyncIterator
from itertools import count
from uuid import uuid4

import pytest

from tests.engines import Keyspace
from tradewire.adapters.scylla.store import ScyllaStore
from tradewire.domain.ids import Clock
from tradewire.ports import Store
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import DurableContract, Reopen, StoreContract

LEASE_S = 60.0
MOMENTS = count()


class TestScyllaStore(StoreContract, DurableContract):
    """The tests share a keyspace: each has a tenant and a cell of its own."""

    @pytest.fixture
    def time(self) -> ManualClock:
        # No two begin at the same moment: as on one node, no id is issued twice.
        return ManualClock(ManualClock()() + next(MOMENTS) * 1_000)

    @pytest.fixture
    def tenant(self) -> str:
        return f"t-{uuid4().hex[:12]}"

    @pytest.fixture
    async def store(
        self, lent_keyspace: Keyspace, time: ManualClock, tenant: str
    ) -> AsyncIterator[Store]:
        # The one list that all tenants share.
        await lent_keyspace.clear("expirations")
        store = self._store(lent_keyspace, time, tenant)
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def reopen(
        self, store: Store, lent_keyspace: Keyspace, time: ManualClock, tenant: str
    ) -> AsyncIterator[Reopen]:
        reopened: list[Store] = []

        async def reopen() -> Store:
            await store.close()
            again = self._store(lent_keyspace, time, tenant)
            await again.open()
            reopened.append(again)
            return again

        yield reopen
        for again in reopened:
            await again.close()

    def _store(self, keyspace: Keyspace, time: ManualClock, cell: str) -> ScyllaStore:
        return ScyllaStore(keyspace.options, cell=cell, clock=Clock(time), lease_s=LEASE_S)
