from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.e2e.devices import (
    TRANSPORTS,
    Call,
    Connect,
    Device,
    HttpCaller,
    Talk,
    connected,
    over_http,
)
from tests.e2e.harness import Server, serving
from tests.e2e.places import Place, module_place, place

__all__ = ["module_place", "place"]


@pytest.fixture
async def server(place: Place) -> AsyncIterator[Server]:
    async with serving(place) as running:
        yield running


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    """Opens devices: `await connect("alice", protocol="msgpack", since=0)`."""
    async with AsyncExitStack() as stack:

        async def opened(*args: str, **options: Any) -> Device:
            return await stack.enter_async_context(connected(server, *args, **options))

        yield opened


@pytest.fixture
async def http(server: Server) -> AsyncIterator[Call]:
    """Opens HTTP connections: `await http("shop", "service")`."""
    async with AsyncExitStack() as stack:

        async def opened(*args: str, **options: Any) -> HttpCaller:
            return await stack.enter_async_context(over_http(server, *args, **options))

        yield opened


@pytest.fixture(params=TRANSPORTS)
def talk(request: pytest.FixtureRequest, connect: Connect, http: Call) -> Talk:
    """Opens what gives commands, over each transport in turn."""
    if request.param == "http":
        return http

    async def opened(*args: str, **options: Any) -> Device:
        return await connect(*args, protocol=request.param, **options)

    return opened
