"""The floor: the least a durable relay on aiohttp, uvloop and SQLite has to do, and nothing else.

Written as their documentation shows them: a handler per socket, ``send_frame`` per message, one
writer thread that commits whatever gathered while the last group was written.

No authentication, members, receipts, inbox or idempotency. It speaks just enough of the wire
protocol (§3) for the generator to drive it: ``Welcome``, ``SendMessage``, ``Reply`` and
``MessageReceived``. User ``a12`` talks to ``b12``, both over the same subprotocol.
"""

import asyncio
import gc
import signal
import sqlite3
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop
from aiohttp import WSMsgType, web

FRAME_BYTES = 16_384
WAITING_MESSAGES = 65_536
"""Messages waiting for a commit; past it a sender is closed with 1013."""
SEND_DEADLINE_S = 10.0
"""How long handing out one group may take."""
GARBAGE_THRESHOLD = 100_000
"""New objects between collections; at Python's 700 they took an eighth of the processor time."""
ROWS_PER_INSERT = 32
"""Longer statements measured no faster, and each length is a statement to prepare and to cache."""

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS message (
    message_id INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    sender_id TEXT NOT NULL,
    key TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
"""


class SendMessage(msgspec.Struct, gc=False):
    """The one command; ``id`` stays encoded because it is only echoed."""

    id: msgspec.Raw
    conversation_id: str
    key: str
    text: str


class Message(msgspec.Struct, gc=False):
    """A message as the wire protocol shows it (§4)."""

    message_id: str
    conversation_id: str
    sender_id: str
    key: str
    content_type: str
    text: str
    created_at: str


class Sent(msgspec.Struct, gc=False):
    """The result of the command."""

    message: Message
    duplicate: bool = False


class Reply(msgspec.Struct, tag_field="type", tag=True, gc=False):
    """The answer to the command."""

    id: msgspec.Raw
    result: Sent


class MessageReceived(msgspec.Struct, tag_field="type", tag=True, gc=False):
    """What the peer is told."""

    message: Message


@dataclass(frozen=True, slots=True)
class Codec:
    """One subprotocol."""

    kind: WSMsgType
    decode: Callable[[bytes], SendMessage]
    encode: Callable[[object], bytes]


CODECS = {
    "chat.v1.json": Codec(
        WSMsgType.TEXT, msgspec.json.Decoder(SendMessage).decode, msgspec.json.Encoder().encode
    ),
    "chat.v1.msgpack": Codec(
        WSMsgType.BINARY,
        msgspec.msgpack.Decoder(SendMessage).decode,
        msgspec.msgpack.Encoder().encode,
    ),
}


@dataclass(eq=False, slots=True)
class Connection:
    """One socket of a user."""

    user_id: str
    codec: Codec
    socket: web.WebSocketResponse[bool]

    async def send(self, payload: bytes) -> None:
        """Send a payload; a socket that is gone is left to its handler."""
        with suppress(ConnectionError):
            await self.socket.send_frame(payload, self.codec.kind)


class Pending(msgspec.Struct, gc=False):
    """A message that waits for its commit group."""

    sender: Connection
    number: int
    created_at: str
    command: SendMessage


class Store:
    """SQLite in WAL mode with a full sync at each commit; used by one thread."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.executescript(SCHEMA)

    def commit(self, group: list[Pending]) -> None:
        """Store a group in one transaction; durable when it returns."""
        self._database.execute("BEGIN")
        for start in range(0, len(group), ROWS_PER_INSERT):
            self._insert(group[start : start + ROWS_PER_INSERT])
        self._database.execute("COMMIT")

    def _insert(self, group: list[Pending]) -> None:
        values: list[int | str] = []
        for pending in group:
            command = pending.command
            values += (
                pending.number,
                command.conversation_id,
                pending.sender.user_id,
                command.key,
                command.text,
            )
        rows = ",".join(["(?,?,?,?,?)"] * len(group))
        self._database.execute("INSERT INTO message VALUES " + rows, values)

    def last_number(self) -> int:
        """The greatest message id stored, 0 when there is none."""
        row = self._database.execute("SELECT max(message_id) FROM message").fetchone()
        return row[0] or 0

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class Relay:
    """Takes messages in, commits what gathered while the last group was written, hands it out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._connections: defaultdict[str, set[Connection]] = defaultdict(set)
        self._waiting: list[Pending] = []
        self._arrived = asyncio.Event()
        self._last_number = store.last_number()

    async def commit_groups(self) -> None:
        """Commit and deliver for ever; raises what the store raises."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "writer") as writer:
            while await self._arrived.wait():
                self._arrived.clear()
                group, self._waiting = self._waiting, []
                await loop.run_in_executor(writer, self._store.commit, group)
                async with asyncio.timeout(SEND_DEADLINE_S):
                    for pending in group:
                        await self._hand_out(pending)

    async def _hand_out(self, pending: Pending) -> None:
        """The reply to the sender, the event to the peer's connections."""
        sender, command = pending.sender, pending.command
        encode = sender.codec.encode
        message = Message(
            str(pending.number),
            command.conversation_id,
            sender.user_id,
            command.key,
            "text",
            command.text,
            pending.created_at,
        )
        await sender.send(encode(Reply(command.id, Sent(message))))
        event = encode(MessageReceived(message))
        for peer in list(self._connections[peer_of(sender.user_id)]):
            await peer.send(event)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """``GET /ws/chat?user_id=…``: greet, then relay until the client leaves."""
        socket = web.WebSocketResponse(
            protocols=tuple(CODECS), compress=False, max_msg_size=FRAME_BYTES, decode_text=False
        )
        await socket.prepare(request)
        codec = CODECS[socket.ws_protocol or "chat.v1.json"]
        connection = Connection(request.query["user_id"], codec, socket)
        await connection.send(codec.encode(welcome(connection.user_id)))
        self._connections[connection.user_id].add(connection)
        try:
            async for frame in socket:
                if len(self._waiting) >= WAITING_MESSAGES:
                    await socket.close(code=1013)
                    break
                self._accept(connection, codec.decode(frame.data))
        finally:
            self._connections[connection.user_id].discard(connection)
        return socket

    def _accept(self, sender: Connection, command: SendMessage) -> None:
        self._last_number = max(self._last_number + 1, int(time.time() * 1000) << 20)
        created_at = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        self._waiting.append(Pending(sender, self._last_number, created_at, command))
        self._arrived.set()


def peer_of(user_id: str) -> str:
    """``a12`` ↔ ``b12``."""
    return ("b" if user_id[0] == "a" else "a") + user_id[1:]


def welcome(user_id: str) -> dict[str, object]:
    """The first event of a connection, with what the generator needs."""
    return {"type": "Welcome", "session_id": uuid.uuid4().hex, "user_id": user_id, "protocol": 1}


async def run(port: int, data: Path) -> None:
    """Serve on 127.0.0.1 until SIGTERM, the address printed; raises what the store raises."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    data.mkdir(parents=True, exist_ok=True)
    with closing(Store(data / "floor.db")) as store:
        relay = Relay(store)
        application = web.Application()
        application.router.add_get("/ws/chat", relay.serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
        await site.start()
        print(f"ready http://127.0.0.1:{site.port}", flush=True)
        tasks = {
            asyncio.create_task(relay.commit_groups(), name="commit groups"),
            asyncio.create_task(stop.wait(), name="stop"),
        }
        done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await runner.cleanup()
        for task in done:
            task.result()


@click.command()
@click.option("--port", type=int, default=0, show_default=True, help="0 takes a free one.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder to store in.")
def main(port: int, data: Path) -> None:
    """Run the floor, a bare durable relay, on 127.0.0.1."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    uvloop.run(run(port, data))


if __name__ == "__main__":
    main()
