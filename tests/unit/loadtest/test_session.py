"""A connection that is cut and comes back, against a server that makes it hard."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadtest import session as session_module
from loadtest.plan import Connection, Endpoint, Idle, Plan, Tick
from loadtest.session import Session, Shared
from loadtest.tally import Tally

NOT_BACK = "not back after the storm: "
UNAVAILABLE = "handshake refused: HTTP/1.1 503 Service Unavailable"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def greeted(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("chat.v1.json",))
    await socket.prepare(request)
    await socket.send_json({"type": "Welcome", "session_id": "s", "cursor": "7"})
    return socket


async def resumed(request: web.Request) -> web.StreamResponse:
    socket = await greeted(request)
    if "since" in request.query:
        await socket.send_json({"type": "SyncCompleted", "cursor": "7"})
    return await held(socket)


async def never_resumed(request: web.Request) -> web.StreamResponse:
    return await held(await greeted(request))


async def held(socket: web.WebSocketResponse) -> web.StreamResponse:
    async for _ in socket:
        pass
    return socket


async def refused(_: web.Request) -> web.StreamResponse:
    raise web.HTTPServiceUnavailable


async def sent_away_before_the_welcome(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("chat.v1.json",))
    await socket.prepare(request)
    await socket.close(code=1001)
    return socket


async def sent_away_after_the_welcome(request: web.Request) -> web.StreamResponse:
    socket = await greeted(request)
    await socket.close(code=4503)
    return socket


class Returns:
    """A connection of a server that answers its first coming, and its returns, as it is told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.afterwards: Answer = resumed
        self.server = TestServer(self._application(), host="127.0.0.1")
        self._ticks: list[Tick] = []
        self._tally = Tally(self._ticks.append)
        self._session: Session

    async def open(self) -> None:
        """Start the server and connect."""
        await self.server.start_server()
        endpoint = Endpoint("127.0.0.1", self.server.port or 0, "/ws?user_id=u")
        plan = Plan("json", [Connection(endpoint)], [], Idle())
        self._session = Session(Shared(plan, self._tally), 0, None, None)
        await self._session.open()

    async def storm(self) -> tuple[int, dict[str, int], Counter[str]]:
        """Cut the connection: how often it came back, the errors, and the faults."""
        self._tally.begin([0.0, float("inf")], measure_from=0.0)
        await self._session.reconnect()
        self._tally.finish(0.0)
        return self._ticks[-1].done.get("resume", 0), self._ticks[-1].errors, self._tally.faults

    async def close(self) -> None:
        """Close both ends."""
        self._session.close()
        await self.server.close()

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/ws", self._serve)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        answer = self.answers.pop(0) if self.answers else self.afterwards
        return await answer(request)


@pytest.fixture
async def returns(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Returns]:
    """Connected; pauses between tries are short."""
    monkeypatch.setattr(session_module, "RECONNECT_PAUSE_SECONDS", 0.01)
    returns = Returns()
    await returns.open()
    yield returns
    await returns.close()


HINDRANCES = {
    refused: UNAVAILABLE,
    sent_away_before_the_welcome: "closed by the server with 1001",
    sent_away_after_the_welcome: "closed by the server with 4503",
}


@pytest.mark.parametrize(("answer", "cause"), HINDRANCES.items())
async def test_who_is_sent_away_tries_again(answer: Answer, cause: str, returns: Returns) -> None:
    returns.answers = [answer, answer]
    assert await returns.storm() == (1, {f"reconnect: {cause}": 2}, {})


@pytest.mark.parametrize(("answer", "cause"), HINDRANCES.items())
async def test_who_does_not_come_back_is_an_error_that_names_the_cause(
    answer: Answer, cause: str, returns: Returns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "BACK_SECONDS", 0.2)
    returns.afterwards = answer
    came_back, errors, faults = await returns.storm()
    assert (came_back, faults) == (0, {})
    assert errors.keys() == {f"reconnect: {cause}", NOT_BACK + cause}
    assert errors[NOT_BACK + cause] == 1


async def test_a_server_that_is_gone_is_named_as_the_cause(
    returns: Returns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "BACK_SECONDS", 0.2)
    await returns.close()
    came_back, errors, faults = await returns.storm()
    assert (came_back, faults) == (0, {})
    [last] = [error for error in errors if error.startswith(NOT_BACK)]
    assert "Connect call failed" in last


async def test_who_is_welcome_and_never_brought_up_to_date_is_a_fault(
    returns: Returns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "BACK_SECONDS", 0.2)
    returns.afterwards = never_resumed
    assert await returns.storm() == (0, {}, {"never resumed": 1})


async def test_who_gets_no_answer_at_all_is_told_so(
    returns: Returns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "BACK_SECONDS", 0.2)
    silence = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await silence.wait()
        raise web.HTTPServiceUnavailable

    returns.afterwards = silent
    assert await returns.storm() == (0, {f"{NOT_BACK}no answer": 1}, {})
    silence.set()
