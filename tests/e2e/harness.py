"""A node in this process, and ways to talk to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.e2e.places import Place
from tradewire.app import Node
from tradewire.client import Client, HttpClient
from tradewire.config import load_settings
from tradewire.edge.auth import mint

SECRET = "a-secret-of-the-tests-0123456789-abcdef"
DEADLINE_S = 10.0


class Server:
    """A node that listens on a free port of 127.0.0.1."""

    def __init__(self, node: Node, place: Place) -> None:
        self.node = node
        self.place = place
        self.url = node.url

    def token(self, user: str, *roles: str, tenant: str = "default", ttl_s: float = 3600.0) -> str:
        """A token that the node accepts."""
        return mint(SECRET, user, roles, ttl_s, self.place.tenant(tenant))

    def client(self, user: str, *roles: str, tenant: str = "default", **options: Any) -> Client:
        """A client of a user; to be entered."""
        return Client(self.url, token=self.token(user, *roles, tenant=tenant), **options)

    def http(self, user: str, *roles: str, tenant: str = "default") -> HttpClient:
        """An HTTP client of a user; to be entered."""
        return HttpClient(self.url, self.token(user, *roles, tenant=tenant))

    @asynccontextmanager
    async def socket(
        self,
        user: str,
        *roles: str,
        tenant: str = "default",
        protocol: str = "chat.v1.json",
        **query: Any,
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A bare WebSocket of a user."""
        params = {"token": self.token(user, *roles, tenant=tenant), **query}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"{self.url}/ws/chat", params=params, protocols=(protocol,)
            ) as socket,
        ):
            yield socket


@asynccontextmanager
async def serving(place: Place, **environ: str) -> AsyncIterator[Server]:
    """A node on this store; settings by the names of their variables."""
    settings = load_settings(
        {
            "JWT_SECRET": SECRET,
            **place.environ,
            "LISTEN_PORT": "0",
            "DRAIN_SECONDS": "0",
            "MESSAGES_PER_SECOND": "0",
            "COMMANDS_PER_SECOND": "0",
            **environ,
        },
        {},
    )
    node = Node(settings)
    await node.start()
    try:
        yield Server(node, place)
    finally:
        await node.stop()
