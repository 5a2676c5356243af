"""What every store must do: a suite of pytest classes to derive from, shipped for adapters.

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self, time):
            store = MyStore(now_ms=time)
            await store.open()
            yield store
            await store.close()

`time` is the clock that the store has to go by. A durable store derives from `DurableContract` as
well. The suite needs pytest-asyncio in auto mode.
"""

import pytest

from tradewire.ports import Store
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract.commerce import CommerceContract
from tradewire.testing.store_contract.durability import DurableContract, Reopen
from tradewire.testing.store_contract.inbox import InboxContract
from tradewire.testing.store_contract.journal import JournalContract
from tradewire.testing.store_contract.markers import MarkersContract
from tradewire.testing.store_contract.members import MembersContract
from tradewire.testing.store_contract.messages import MessagesContract
from tradewire.testing.store_contract.relay import RelayContract
from tradewire.testing.store_contract.resume import ResumeContract
from tradewire.testing.store_contract.shop import Shop

__all__ = ["DurableContract", "Reopen", "Shop", "StoreContract"]


class StoreContract(
    JournalContract,
    MessagesContract,
    MarkersContract,
    InboxContract,
    MembersContract,
    ResumeContract,
    CommerceContract,
    RelayContract,
):
    """The contract of ports.Store."""

    @pytest.fixture
    def time(self) -> ManualClock:
        """The clock of the store."""
        return ManualClock()

    @pytest.fixture
    def store(self) -> Store:
        """An open store without any data of the tenant, going by `time`; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def tenant(self) -> str:
        """The tenant; to be overridden where tests share a store."""
        return "t1"

    @pytest.fixture
    def shop(self, store: Store, time: ManualClock, tenant: str) -> Shop:
        """One tenant of the store."""
        return Shop(store, time, tenant)
