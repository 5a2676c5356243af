import pytest

pytest.register_assert_rewrite("tradewire.testing.store_contract")
