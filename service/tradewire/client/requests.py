"""Commands on their way: each is retried, over any number of connections, until its deadline."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from itertools import count
from weakref import WeakValueDictionary

from tradewire.client.clock import Clock
from tradewire.client.codec import Json
from tradewire.client.connection import Connection
from tradewire.client.errors import ClientError, CommandError, ConnectionLost
from tradewire.client.jitter import FullJitter

KEYED = {"SendMessage": "conversation_id", "ForwardMessage": "to_conversation_id"}
"""The commands that a key makes safe to repeat, with the conversation that gets the message."""
NOTHING_DONE = frozenset({"rate_limited", "overloaded", "draining"})
"""Errors that pass and leave nothing behind."""
FATE_UNKNOWN = "unavailable"


def is_repeatable(command: Json) -> bool:
    """Whether a command may be sent again when its fate is unknown.

    A keyed one yields the first message again, a read changes nothing, and all others set a state
    to a value. Not so two: each new group or channel is another one, and so is each report.
    """
    kind: str = command["type"]
    makes_a_room = kind == "CreateConversation" and command.get("kind", "direct") != "direct"
    return kind != "ReportMessage" and not makes_a_room


class Uplink:
    """The connection that commands go out on: there, not there at present, or gone for good."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._error: ClientError | None = None
        self._changed = asyncio.Event()

    @property
    def connection(self) -> Connection | None:
        """The present connection."""
        return self._connection

    @property
    def error(self) -> ClientError | None:
        """Why there will be no connection any more."""
        return self._error

    def up(self, connection: Connection) -> None:
        """Let commands go out."""
        self._connection = connection
        self._changed.set()

    def down(self) -> None:
        """Let commands wait for the next connection."""
        self._connection = None
        if self._error is None:
            self._changed.clear()

    def end(self, error: ClientError) -> None:
        """Let all commands fail with `error`. The first reason stands."""
        self._error = self._error or error
        self._changed.set()

    async def get(self) -> Connection:
        """Wait for a connection. Raises the error of `end`."""
        while self._error is None:
            if self._connection is not None:
                return self._connection
            await self._changed.wait()
        raise self._error.with_traceback(None)


class Requests:
    """The commands that wait for their result, at most `limit` of them; more wait for room.

    The sends to one conversation go out one by one, each after the one before was answered, so no
    retry can change their order. All else goes out as it comes.
    """

    def __init__(
        self, uplink: Uplink, limit: int, clock: Clock, jitter: Callable[[], FullJitter]
    ) -> None:
        self._uplink = uplink
        self._clock = clock
        self._jitter = jitter
        self._room = asyncio.Semaphore(limit)
        self._ids = count(1)
        self._lanes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._deadlines: set[asyncio.Timeout] = set()

    async def call(self, command: Json, timeout_s: float) -> Json:
        """The result of a command, retried until it is there or `timeout_s` have passed.

        Raises CommandError as soon as the server refuses for a reason that does not pass, or with
        the passing reason that the deadline found; ConnectionLost when the fate is unknown at the
        deadline, or at once where a repetition is unsafe.
        """
        attempts = _Attempts(dict(command), next(self._ids), self._jitter())
        deadline = asyncio.timeout(timeout_s)
        self._deadlines.add(deadline)
        try:
            with suppress(TimeoutError):
                async with deadline, self._room, self._lane(command):
                    return await self._exchange(attempts)
        finally:
            self._deadlines.discard(deadline)
        raise self._uplink.error or attempts.expired(timeout_s)

    def end(self) -> None:
        """The uplink has ended: let every command fail with its error now, wherever it waits."""
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now)

    def _lane(self, command: Json) -> AbstractAsyncContextManager[None]:
        conversation = command.get(KEYED.get(command["type"], ""))
        if conversation is None:
            return nullcontext()
        return self._lanes.setdefault(conversation, asyncio.Lock())

    async def _exchange(self, attempts: "_Attempts") -> Json:
        while True:
            connection = await self._uplink.get()
            try:
                return await attempts.make(connection)
            except ConnectionLost as error:
                attempts.lost(error)
            except CommandError as error:
                await self._clock.sleep(attempts.refused(error))


class _Attempts:
    """The tries of one command."""

    def __init__(self, command: Json, command_id: int, jitter: FullJitter) -> None:
        self._command = command
        self._id = command_id
        self._jitter = jitter
        self._last_error: CommandError | None = None

    async def make(self, connection: Connection) -> Json:
        """Try once. The key is that of the connection of the first try, and stays."""
        if self._command["type"] in KEYED and self._command.get("key") is None:
            self._command["key"] = connection.mint_key()
        self._last_error = None
        return await connection.request(self._id, self._command)

    def lost(self, error: ConnectionLost) -> None:
        """A connection ended without an answer. Raises it where a repetition is unsafe."""
        if not is_repeatable(self._command):
            raise error

    def refused(self, error: CommandError) -> float:
        """Seconds to wait after an error that passes. Raises any other."""
        passing = error.code in NOTHING_DONE
        if not passing and not (error.code == FATE_UNKNOWN and is_repeatable(self._command)):
            raise error
        self._last_error = error
        return (error.retry_after_ms or 0) / 1000 + self._jitter.next()

    def expired(self, timeout_s: float) -> ClientError:
        """What to tell a caller whose deadline has passed."""
        message = f"{self._command['type']} was not answered within {timeout_s} s"
        error = self._last_error or ConnectionLost(message)
        error.key = self._command.get("key")
        return error
