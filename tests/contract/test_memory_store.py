from collections.abc import AsyncIterator

import pytest

from tradewire.adapters.memory import MemoryStore
from tradewire.ports import Store
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self, time: ManualClock) -> AsyncIterator[Store]:
        store = MemoryStore(time)
        await store.open()
        yield store
        await store.close()
