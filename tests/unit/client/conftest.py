from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.unit.client.peer import ManualClock, Peer
from tradewire.client import Client


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    app = web.Application()
    app.router.add_get("/ws/chat", peer.handle)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    peer.url = f"http://{host}:{port}"
    yield peer
    await runner.cleanup()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def connect(peer: Peer) -> Callable[..., Client]:
    """Make a client of the peer that reconnects at once and sends no receipts, by default."""

    def make(**options: Any) -> Client:
        given = {"reconnect_base_s": 0.0, "random": lambda: 1.0, "acknowledge_delivery": False}
        return Client(peer.url, "t0", **{**given, **options})

    return make
