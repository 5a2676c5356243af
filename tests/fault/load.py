"""Writers and readers that keep a record of their own of all that the server told them."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

import aiohttp

from tests.e2e.harness import Server
from tests.fault.process import ServerProcess
from tests.fault.waiting import until

Json = dict[str, Any]

WINDOW = 24
"""Messages that a bare socket has in flight."""
ROUND = 8
"""Messages that the client is given at once; it sends them one after another."""
RETRY_S = 0.05
ANSWER_S = 60.0
FINISH_S = 120.0


class Ended(ConnectionError):
    """The socket was closed or broke."""


LOST = (Ended, aiohttp.ClientError, ConnectionError)
"""What a killed server looks like from outside. A server that does not answer is none of these."""


class Told(NamedTuple):
    """A message as the server told it."""

    message_id: int
    sender: str
    key: str
    text: str

    @classmethod
    def of(cls, message: Json) -> "Told":
        """Read a message."""
        return cls(
            int(message["message_id"]), message["sender_id"], message["key"], message["text"]
        )


class Load:
    """What the writers do together, and how far they are."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.acknowledged = 0
        self.retried = 0
        self.duplicates = 0
        self.finishing = False

    def acknowledge(self, result: Json) -> Told:
        """Count an answer."""
        self.acknowledged += 1
        self.duplicates += result["duplicate"]
        return Told.of(result["message"])

    async def reach(self, acknowledged: int) -> None:
        """Wait until so many messages have been acknowledged."""
        await until(lambda: self.acknowledged >= acknowledged, FINISH_S)

    async def pause(self, most_s: float = RETRY_S) -> None:
        """Wait a little before the next try."""
        await asyncio.sleep(self.rng.uniform(0, most_s))


class SocketWriter:
    """A bare socket with many messages in flight, keyed as protocol §3 says fresh keys are minted.

    After a reconnect it repeats what was not answered, in order, with the keys it had.
    """

    def __init__(self, load: Load, server: ServerProcess, user: str, room: str) -> None:
        self.user = user
        self.acknowledged: dict[int, Told] = {}
        self._load = load
        self._server = server
        self._room = room
        self._numbers = count()
        self._unanswered: dict[int, str] = {}
        self._done = False

    async def run(self) -> None:
        """Write until the load is finishing and all is answered."""
        while not self._done:
            with suppress(*LOST):
                async with self._server.socket(self.user) as socket:
                    await self._talk(socket)
            await self._load.pause()

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        session = (await receive(socket))["session_id"]
        for number in self._unanswered:
            self._load.retried += 1
            await self._send(socket, number)
        minted = count(1)
        while self._unanswered or not self._load.finishing:
            while len(self._unanswered) < WINDOW and not self._load.finishing:
                number = next(self._numbers)
                self._unanswered[number] = f"{session}:{next(minted)}"
                await self._send(socket, number)
            self._hear(await receive(socket))
        self._done = True

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, number: int) -> None:
        await socket.send_json(
            {
                "type": "SendMessage",
                "id": number,
                "conversation_id": self._room,
                "key": self._unanswered[number],
                "text": f"{self.user} {number}",
            }
        )

    def _hear(self, heard: Json) -> None:
        if heard["type"] == "Reply":
            assert "result" in heard, heard
            key = self._unanswered.pop(heard["id"])
            told = self._load.acknowledge(heard["result"])
            assert (told.key, told.text) == (key, f"{self.user} {heard['id']}")
            self.acknowledged[heard["id"]] = told


class ClientWriter:
    """The client of the SDK, which comes back and repeats by itself.

    `rest_s`: how long it rests at most after each round.
    """

    def __init__(
        self, load: Load, server: Server, user: str, room: str, *, rest_s: float = 0.0
    ) -> None:
        self.user = user
        self.acknowledged: dict[int, Told] = {}
        self._load = load
        self._server = server
        self._room = room
        self._rest_s = rest_s

    async def run(self) -> None:
        """Write until the load is finishing and all is answered."""
        options: Json = {"reconnect_base_s": RETRY_S, "reconnect_cap_s": RETRY_S}
        async with self._server.client(self.user, protocol="msgpack", **options) as client:
            for first in count(0, ROUND):
                if self._load.finishing:
                    return
                numbers = range(first, first + ROUND)
                texts = [f"{self.user} {number}" for number in numbers]
                results = await asyncio.gather(
                    *(client.send(self._room, text, timeout_s=FINISH_S) for text in texts)
                )
                for number, text, result in zip(numbers, texts, results, strict=True):
                    self.acknowledged[number] = self._load.acknowledge(result)
                    assert self.acknowledged[number].text == text
                await self._load.pause(self._rest_s)


class SocketReader:
    """A bare socket that resumes: it drops what it knows, and sorts nothing."""

    def __init__(self, load: Load, server: ServerProcess, user: str) -> None:
        self.received: dict[int, Told] = {}
        self._load = load
        self._server = server
        self._user = user
        self._since = 0

    async def run(self) -> None:
        """Read for ever."""
        while True:
            with suppress(*LOST):
                async with self._server.socket(self._user, since=self._since) as socket:
                    await self._listen(socket)
            await self._load.pause()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        newest, synced = 0, False
        while True:
            event = await receive(socket)
            if event["type"] == "SyncCompleted":
                assert not event["truncated"]
                synced = True
                self._since = max(self._since, newest, int(event["cursor"]))
            elif event["type"] == "MessageReceived":
                told = Told.of(event["message"])
                is_new = self.received.setdefault(told.message_id, told) is told
                assert self.received[told.message_id] == told
                if synced and is_new:
                    assert told.message_id > newest, "out of order on a live connection"
                    self._since = told.message_id
                newest = max(newest, told.message_id)


class ClientReader:
    """The client of the SDK, which resumes by itself and tells each message once."""

    def __init__(self, server: Server, user: str) -> None:
        self.received: dict[int, Told] = {}
        self._server = server
        self._user = user

    async def run(self) -> None:
        """Read for ever."""
        options: Json = {"reconnect_base_s": RETRY_S, "reconnect_cap_s": RETRY_S}
        async with self._server.client(self._user, since=0, **options) as client:
            async for event in client.events():
                assert not event.get("truncated")
                if event["type"] == "MessageReceived":
                    told = Told.of(event["message"])
                    assert told.message_id not in self.received, "told twice"
                    self.received[told.message_id] = told


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Json:
    """The next object on a bare socket that asked for no batches.

    Raises:
        Ended: there will be none.
        TimeoutError: the server is silent.
    """
    (heard,) = await receive_batch(socket)
    return heard


async def receive_batch(socket: aiohttp.ClientWebSocketResponse) -> list[Json]:
    """The objects of the next frame on a bare socket. Raises as `receive` does."""
    message = await socket.receive(timeout=ANSWER_S)
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise Ended(message.type.name)
    heard = json.loads(message.data)
    return heard if isinstance(heard, list) else [heard]


async def open_direct(server: Server, one: str, other: str) -> str:
    """The direct conversation of two users."""
    async with server.http(one) as http:
        made = await http.request("POST", "/v1/conversations", json={"user_id": other})
    return str(made["conversation"]["conversation_id"])


async def send_many(server: Server, user: str, room: str, texts: Sequence[str]) -> list[str]:
    """Send messages, many in flight; their ids in the order of sending."""
    async with server.socket(user) as socket:
        session = (await receive(socket))["session_id"]
        ids: list[str] = []
        for number, text in enumerate(texts):
            key = f"{session}:{number}"
            fields = {"conversation_id": room, "key": key, "text": text}
            await socket.send_json({"type": "SendMessage", "id": number, **fields})
            if number - len(ids) >= WINDOW:
                ids.append(await _sent_id(socket, len(ids)))
        while len(ids) < len(texts):
            ids.append(await _sent_id(socket, len(ids)))
        return ids


async def _sent_id(socket: aiohttp.ClientWebSocketResponse, number: int) -> str:
    """The id of a message that was sent; those of one conversation are answered in order."""
    while (heard := await receive(socket))["type"] != "Reply":
        pass
    assert heard["id"] == number, heard
    return str(heard["result"]["message"]["message_id"])


async def history(server: Server, user: str, room: str) -> list[Told]:
    """All messages of a conversation, as its pages tell them, from the very start."""
    path, after = f"/v1/conversations/{room}/messages", "0"
    told: list[Told] = []
    async with server.http(user) as http:
        while True:
            page = await http.request("GET", path, params={"after": after, "limit": 200})
            told += map(Told.of, page["messages"])
            if not page["has_more"]:
                return told
            after = page["next_cursor"]


async def event_log(server: Server) -> AsyncIterator[Json]:
    """All domain events, in the order of the log."""
    after = "0"
    async with server.http("auditor", "service") as http:
        while True:
            page = await http.request("GET", f"/v1/events?after={after}&limit=1000")
            for event in page["events"]:
                yield event
            if page["next_after"] == after:
                return
            after = page["next_after"]


def numbers_of(told: Iterable[Told], sender: str) -> list[int]:
    """The numbers that a writer gave its messages, in this order."""
    return [int(message.text.split()[1]) for message in told if message.sender == sender]
