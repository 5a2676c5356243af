from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tradewire.adapters.sqlite import SqliteStore
from tradewire.ports import Store
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import DurableContract, Reopen, StoreContract


class TestSqliteStore(StoreContract, DurableContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, time: ManualClock) -> AsyncIterator[Store]:
        store = SqliteStore(tmp_path / "data", now_ms=time)
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def reopen(
        self, store: Store, tmp_path: Path, time: ManualClock
    ) -> AsyncIterator[Reopen]:
        reopened: list[Store] = []

        async def reopen() -> Store:
            await store.close()
            again = SqliteStore(tmp_path / "data", now_ms=time)
            await again.open()
            reopened.append(again)
            return again

        yield reopen
        for again in reopened:
            await again.close()
