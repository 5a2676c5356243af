"""A connection of the generator that reads over HTTP."""

import asyncio
from collections.abc import Sequence
from time import perf_counter

import aiohttp
import msgspec

from loadtest import commands
from loadtest.commands import Command
from loadtest.messages import RESULT
from loadtest.plan import Connection, Conversation, Kind, Plan
from loadtest.session import MOST_IN_FLIGHT
from loadtest.tally import Tally

REQUEST_SECONDS = 30.0


class HttpReader:
    """One kept connection, whose requests wait for one another."""

    def __init__(
        self, plan: Plan, tally: Tally, connection: Connection, conversation: Conversation
    ) -> None:
        self._plan = plan
        self._tally = tally
        self._connection = connection
        self._conversation = conversation
        self._requests: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession

    async def open(self) -> None:
        """Be ready; it connects with its first request."""
        at = self._connection.endpoint
        self._http = aiohttp.ClientSession(
            f"http://{at.host}:{at.port}",
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            headers={"Authorization": f"Bearer {self._connection.token}"},
        )

    def perform(self, kind: Kind, dues: Sequence[float]) -> None:
        """See `loadtest.session.Actor`."""
        self._tally.due(len(dues))
        if self._tally.in_flight >= MOST_IN_FLIGHT:
            self._tally.error("not sent: too many in flight", len(dues))
            return
        for due in dues:
            self._tally.in_flight += 1
            task = asyncio.create_task(self._request(kind, due))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def close(self) -> None:
        """End what is under way and the connection."""
        for task in self._requests:
            task.cancel()
        await self._http.close()

    async def _request(self, kind: Kind, due: float) -> None:
        command = commands.page(kind, self._plan, self._connection, self._conversation)
        try:
            async with self._http.get(command.path) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._tally.failed(f"http: {type(error).__name__}")
            return
        now = perf_counter()
        self._tally.heard_at = now
        self._tally.roll(now)
        if response.status != 200:
            self._tally.failed(f"http: {response.status}")
            return
        self._tally.done(kind, due, now)
        self._check(command, body)
        if self._tally.refill is not None:
            self._tally.refill(self, 1, now)

    def _check(self, command: Command, body: bytes) -> None:
        try:
            fault = command.check(RESULT(body))
        except msgspec.DecodeError:
            fault = "http: an answer that cannot be read"
        if fault:
            self._tally.faults[fault] += 1
