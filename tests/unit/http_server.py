"""A server of the HTTP interface alone, over a service that takes down what it is asked."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from tradewire.domain.caller import Caller
from tradewire.domain.commands import Command
from tradewire.domain.incoming import IncomingEvent
from tradewire.domain.outbox import DomainEvent
from tradewire.edge.auth import Authenticator, mint
from tradewire.edge.http import HttpApi
from tradewire.protocol import examples
from tradewire.protocol.routes import RESULTS
from tradewire.telemetry.metrics import Metrics

SECRET = "a secret that is long enough for HS256"

Client = TestClient[web.Request, web.Application]


def bearer(user: str = "alice", *roles: str, tenant: str = "default") -> dict[str, str]:
    return {"Authorization": f"Bearer {mint(SECRET, user, roles, tenant=tenant)}"}


class RecordingService:
    """Answers each command with the example of its result, or with `answer`."""

    def __init__(self, log: Sequence[DomainEvent] = ()) -> None:
        self.commands: list[tuple[Caller, Command]] = []
        self.handled: list[IncomingEvent] = []
        self.limited: list[type[Command] | None] = []
        self.answer: Any = None
        self.limit: Exception | None = None
        self.checks: dict[str, str | None] = {"store": None}
        self.log = log
        self.context = SimpleNamespace(store=SimpleNamespace(journal=self))
        self.standing = self

    async def check(self, caller: Caller) -> None:
        """Everybody is welcome."""

    async def execute(self, caller: Caller, command: Command) -> Any:
        self.commands.append((caller, command))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or examples.MESSAGES[RESULTS[type(command)]]

    async def handle_events(self, incoming: list[IncomingEvent]) -> tuple[int, int]:
        self.handled += incoming
        return len(incoming), 0

    async def events(self, after: int, limit: int) -> list[DomainEvent]:
        return [event for event in self.log if event.id > after][:limit]

    def limiter(self, _: Caller, command: type[Command] | None) -> None:
        self.limited.append(command)
        if self.limit is not None:
            raise self.limit

    async def readiness(self) -> Mapping[str, str | None]:
        return self.checks

    @property
    def command(self) -> Command:
        ((_, command),) = self.commands
        return command


@asynccontextmanager
async def serving(service: Any, *others: web.RouteDef) -> AsyncIterator[Client]:
    """A client of the interface over `service`; `others` are served beside it."""
    api = HttpApi(
        service,
        Authenticator(secret=SECRET),
        limiter=service.limiter,
        readiness=service.readiness,
        metrics=Metrics(),
        source="/tradewire/cell-1",
    )
    app = web.Application()
    api.add_to(app)
    app.add_routes(others)
    async with TestClient(TestServer(app)) as client:
        yield client


async def problem(response: ClientResponse, status: int, code: str) -> dict[str, Any]:
    """The body of an answer that must be a problem."""
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = await response.json(content_type=None)
    assert (response.status, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == f"urn:tradewire:problem:{code}"
    assert body["title"]
    assert body["detail"]
    return body
