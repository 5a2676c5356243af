"""The client of one user: a connection that comes back by itself, commands and events."""

import asyncio
import logging
import random as random_module
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from types import TracebackType
from typing import Any, NoReturn, Self

import aiohttp

from tradewire.client.clock import Clock, MonotonicClock
from tradewire.client.codec import Json, ProtocolName, UnreadableFrame, codec_for
from tradewire.client.connection import Connection, Handshake
from tradewire.client.ending import Disconnected, Verdict
from tradewire.client.errors import AuthenticationFailed, ClientError, Closed, ConnectionLost
from tradewire.client.feed import Feed
from tradewire.client.jitter import FullJitter
from tradewire.client.receipts import DeliveryReceipts
from tradewire.client.requests import Requests, Uplink
from tradewire.client.supervision import run_until_one_ends

PING_S = 30.0
SILENCE_S = 75.0
RECEIPTS_S = 0.2
RECEIPTS_AT_ONCE = 10
"""50 a second: half of the commands that a connection may send by default."""
RENEWAL_LIFE_S = 10.0
"""A token refused this soon after it was renewed will not be renewed again."""
RETRY_BASE_S, RETRY_CAP_S = 0.1, 5.0
_PING_ID = "ping"

log = logging.getLogger("tradewire.client")


class State(StrEnum):
    """What a client is doing."""

    CONNECTING = "connecting"
    RESUMING = "resuming"
    LIVE = "live"
    CLOSED = "closed"


class Client:
    """A user's connection to Tradewire, to be used as `async with Client(url, token) as client:`.

    `url` is a node's address (`http://host:port`). Entering waits for the first `Welcome`, at most
    `connect_timeout_s`; it raises AuthenticationFailed or ConnectionLost. From then on the client
    reconnects by itself, with full jitter, and resumes where it was; commands wait meanwhile.

    What the server refuses for good (protocol §3: 4400, 4403, 4409, 1009, a token that `on_token`
    cannot replace) ends the client: every command and `events()` raise the reason.

    - `since`: resume from this cursor of an earlier client; 0 is the beginning.
    - `on_token`: returns a fresh token, when one is about to expire or was refused.
    - `conversations`: ask for so many of the inbox in `Welcome`, see `welcome`.
    - `batch`: let the server put several events into one frame.
    - `acknowledge_delivery`: tell the server by itself what this device has received.
    - `max_pending`: commands without a result; further ones wait for room until their deadline.
    - `max_events`: events that nobody has taken yet; see `events`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        protocol: ProtocolName = "json",
        device_id: str | None = None,
        since: int | str | None = None,
        on_token: Callable[[], Awaitable[str]] | None = None,
        conversations: int | None = None,
        batch: bool = True,
        acknowledge_delivery: bool = True,
        max_pending: int = 1000,
        max_events: int = 10_000,
        request_timeout_s: float = 30.0,
        connect_timeout_s: float = 30.0,
        reconnect_base_s: float = 0.5,
        reconnect_cap_s: float = 30.0,
        clock: Clock | None = None,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._url = f"{url.rstrip('/')}/ws/chat"
        self._token = token
        self._codec = codec_for(protocol)
        self._on_token = on_token
        self._acknowledge_delivery = acknowledge_delivery
        self._request_timeout_s = request_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._clock: Clock = clock or MonotonicClock()
        self._params = _given(
            device_id=device_id, conversations=conversations, batch=1 if batch else None
        )
        self._feed = Feed(None if since is None else int(since), max_events)
        self._receipts = DeliveryReceipts()
        self._uplink = Uplink()
        self._requests = Requests(
            self._uplink,
            max_pending,
            self._clock,
            lambda: FullJitter(RETRY_BASE_S, RETRY_CAP_S, random),
        )
        self._backoff = FullJitter(reconnect_base_s, reconnect_cap_s, random)
        self._renewed_at = float("-inf")
        self._welcome: Json = {}
        self._last_end = "no handshake was finished"
        self._http: aiohttp.ClientSession | None = None
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        self._runner = asyncio.create_task(self._run(self._http), name="tradewire-client")
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._uplink.get()
        except TimeoutError:
            await self.close()
            message = f"not connected within {self._connect_timeout_s} s: {self._last_end}"
            raise ConnectionLost(message) from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def state(self) -> State:
        """What the client is doing now; `live` once nothing that was missed is still to come."""
        if self._uplink.error is not None:
            return State.CLOSED
        if self._uplink.connection is None:
            return State.CONNECTING
        return State.LIVE if self._feed.settled else State.RESUMING

    @property
    def cursor(self) -> int | None:
        """What to give as `since` to a later client that goes on where this one stopped.

        It covers the events that were taken from `events()` and none that still waits there. None
        before the first `Welcome`.
        """
        return self._feed.taken

    @property
    def welcome(self) -> Json:
        """The `Welcome` of the newest connection."""
        return self._welcome

    async def send(
        self,
        conversation_id: str,
        text: str | None = None,
        *,
        timeout_s: float | None = None,
        **fields: Any,
    ) -> Json:
        """Send a message; the result is `{message, duplicate}`. `fields` as in protocol §4.

        It is retried with the same key until it is acknowledged or the deadline passes (by default
        `request_timeout_s`), and takes effect once. Sends to one conversation keep their order.
        Raises as `request` does; `error.key` serves for a later try with `key=`.
        """
        if text is not None:
            fields["text"] = text
        return await self.request(
            "SendMessage", timeout_s=timeout_s, conversation_id=conversation_id, **fields
        )

    async def request(self, command: str, *, timeout_s: float | None = None, **fields: Any) -> Json:
        """Any command of protocol §4; returns its result.

        After a reconnect, and after an error that passes, it is sent again: reads change nothing,
        sends have their key, and the others set a state to a value, so that a repetition does no
        harm. Should two of these contradict each other, wait for the first before the second. Not
        repeated once their fate is unknown: ReportMessage, and CreateConversation of a group or
        channel.

        Raises CommandError (at the deadline with the passing reason found last), ConnectionLost
        when the deadline passes without an answer, Closed or AuthenticationFailed when the client
        has ended, TypeError or ValueError for what cannot be encoded.
        """
        timeout = self._request_timeout_s if timeout_s is None else timeout_s
        return await self._requests.call({"type": command, **fields}, timeout)

    def events(self) -> AsyncIterator[Json]:
        """The events of protocol §5 in the order heard, those with an id once; for one consumer.

        `SyncCompleted` is among them: after `truncated: true` reload what is shown. The iteration
        ends with `close()` and raises whatever else ended the client.

        At most `max_events` wait. If the consumer falls behind further, the client withholds what
        comes, and fetches it by a new resume once half of the queue is free; only typing and
        presence are lost.
        """
        return self._feed.queue

    async def refresh_token(self, token: str | None = None) -> Json:
        """Go on with `token`, or with one from `on_token`; the result is `{expires_at}`.

        Raises AuthenticationFailed when there is none, and as `request` does.
        """
        self._token = token or await self._ask_for_token()
        return await self.request("RefreshToken", token=self._token)

    async def close(self) -> None:
        """End the client. Commands without a result raise Closed; nothing is left running."""
        self._end(Closed("the client was closed"))
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    async def _run(self, http: aiohttp.ClientSession) -> None:
        """Keep a connection until there can be none."""
        try:
            while True:
                await self._clock.sleep(await self._live_one_connection(http))
        except ClientError as error:
            self._end(error)
        except UnreadableFrame as error:
            self._end(ConnectionLost(f"the server does not speak the protocol: {error}"))
        except Exception as error:
            log.exception("the client failed")
            failure = ClientError(f"the client failed: {error!r}")
            failure.__cause__ = error
            self._end(failure)

    def _end(self, error: ClientError) -> None:
        if self._uplink.error is None:
            self._uplink.end(error)
            self._requests.end()
            self._feed.queue.end(None if isinstance(error, Closed) else error)

    async def _live_one_connection(self, http: aiohttp.ClientSession) -> float:
        """One connection from handshake to end; returns the seconds to wait before the next."""
        try:
            connection = await self._handshake().perform(http, self._clock)
        except Disconnected as end:
            return await self._after(end)
        try:
            await self._serve(connection)
        except Disconnected as end:
            if end.verdict is not Verdict.BACK_OFF:
                self._backoff.reset()
            if connection.told_to_leave.is_set():
                end.delay_s = max(0.0, connection.leave_at - self._clock.now())
            return await self._after(end)

    def _handshake(self) -> Handshake:
        params = self._params | _given(since=self._feed.since)
        return Handshake(self._url, self._token, params, self._codec, self._connect_timeout_s)

    async def _after(self, end: Disconnected) -> float:
        """Seconds to wait after a connection. Raises ClientError if there can be no other."""
        self._last_end = str(end)
        log.info("disconnected: %s", end)
        if end.verdict is Verdict.RENEW_TOKEN:
            await self._renew_refused_token(end)
            return 0.0
        if end.verdict in {Verdict.FORBIDDEN, Verdict.GIVE_UP}:
            raise end.error()
        if end.delay_s is not None:
            return end.delay_s
        return end.retry_after_s + self._backoff.next()

    async def _renew_refused_token(self, end: Disconnected) -> None:
        now = self._clock.now()
        if self._on_token is None or now - self._renewed_at < RENEWAL_LIFE_S:
            raise end.error()
        self._token = await self._ask_for_token()
        self._renewed_at = now

    async def _ask_for_token(self) -> str:
        if self._on_token is None:
            raise AuthenticationFailed("there is no on_token to ask for a new token")
        try:
            async with asyncio.timeout(self._request_timeout_s):
                return await self._on_token()
        except Exception as error:
            raise AuthenticationFailed("on_token gave no token") from error

    async def _serve(self, connection: Connection) -> NoReturn:
        """Use a connection until it ends. Raises Disconnected or UnreadableFrame."""
        self._welcome = connection.welcome
        self._feed.opened(connection.welcome)
        self._uplink.up(connection)
        try:
            await run_until_one_ends(
                {
                    "tradewire-client-read": self._read(connection),
                    "tradewire-client-ping": self._ping(connection),
                    "tradewire-client-silence": self._watch_silence(connection),
                    "tradewire-client-receipts": self._acknowledge(connection),
                    "tradewire-client-token": self._keep_token(connection),
                    "tradewire-client-leave": self._leave_when_told(connection),
                    "tradewire-client-catch-up": self._catch_up(),
                }
            )
        finally:
            self._uplink.down()
            connection.abandon()
            await connection.close()

    async def _read(self, connection: Connection) -> None:
        while True:
            self._hear(connection, await connection.next())

    def _hear(self, connection: Connection, heard: Json) -> None:
        match heard["type"]:
            case "Reply":
                self._hear_reply(connection, heard)
            case "Reconnect":
                connection.leave_in(heard["after_ms"] / 1000)
            case "TokenExpiring" if self._on_token is not None:
                connection.token_expiring.set()
            case _:
                self._hear_event(heard)

    def _hear_reply(self, connection: Connection, reply: Json) -> None:
        if reply["id"] is None:
            log.warning("the server refused something unnamed: %s", reply.get("error"))
        elif reply["id"] != _PING_ID:
            connection.answer(reply)
        elif "result" in reply:
            self._feed.told(int(reply["result"]["cursor"]))

    def _hear_event(self, event: Json) -> None:
        # A repeated message is acknowledged again: the receipt may have gone with its connection.
        if self._feed.accept(event) and event["type"] == "MessageReceived":
            message = event["message"]
            if message["sender_id"] != self._welcome["user_id"]:
                self._receipts.received(message)

    async def _ping(self, connection: Connection) -> None:
        while True:
            await self._clock.sleep(PING_S)
            self._feed.forget()
            await connection.post({"type": "Ping", "id": _PING_ID})

    async def _watch_silence(self, connection: Connection) -> None:
        while (left := connection.heard_at + SILENCE_S - self._clock.now()) > 0:
            await self._clock.sleep(left)
        raise Disconnected(f"nothing was heard for {SILENCE_S} s")

    async def _acknowledge(self, connection: Connection) -> None:
        if not self._acknowledge_delivery:
            await asyncio.Event().wait()
        while True:
            for command in await self._receipts.take(RECEIPTS_AT_ONCE):
                await connection.post(command)
            await self._clock.sleep(RECEIPTS_S)

    async def _keep_token(self, connection: Connection) -> None:
        while True:
            await connection.token_expiring.wait()
            connection.token_expiring.clear()
            try:
                await self.refresh_token()
            except ClientError as error:
                log.warning("the token was not refreshed: %s", error)

    async def _leave_when_told(self, connection: Connection) -> None:
        await connection.told_to_leave.wait()
        await self._clock.sleep(max(0.0, connection.leave_at - self._clock.now()))
        raise Disconnected("the server asked to reconnect", delay_s=0.0)

    async def _catch_up(self) -> None:
        await self._feed.caught_up()
        raise Disconnected("the consumer has caught up", delay_s=0.0)


def _given(**params: object) -> dict[str, str]:
    """Query parameters, without those that have no value."""
    return {name: str(value) for name, value in params.items() if value is not None}
