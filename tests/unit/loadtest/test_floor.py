"""What the floor owes: stored before acknowledged, to the peer, once."""

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from loadtest.messages import MESSAGE_TEXT, frame_encoder
from loadtest.servers import ROOT
from loadtest.websocket import WebSocket, connect

DEADLINE = 20.0


class User:
    """One connection and the frames that came over it."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.socket: WebSocket

    async def dial(self, port: int, user_id: str) -> str:
        path = f"/ws/chat?user_id={user_id}"
        self.socket = await connect("127.0.0.1", port, path, "chat.v1.json", self._receive)
        return str((await self.next())["session_id"])

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._frames.get(), DEADLINE)

    def _receive(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._frames.put_nowait(json.loads(payload))


async def test_what_is_acknowledged_is_stored_even_when_the_process_is_killed(
    tmp_path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.floor", "--data", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        ready = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        port = int(ready.rpartition(b":")[2])
        sender, receiver = User(), User()
        session_id = await sender.dial(port, "a1")
        await receiver.dial(port, "b1")
        encode = frame_encoder("json", "c-1", session_id)
        sender.socket.send(b"".join(encode(n) for n in range(1, 101)))
        replies = [await sender.next() for _ in range(100)]
        events = [await receiver.next() for _ in range(100)]
    finally:
        process.kill()
        await process.communicate()
    sender.socket.close()
    receiver.socket.close()
    assert [reply["id"] for reply in replies] == list(range(1, 101))
    messages = [reply["result"]["message"] for reply in replies]
    assert messages == [event["message"] for event in events]
    with closing(sqlite3.connect(tmp_path / "floor.db")) as database:
        rows = database.execute("SELECT * FROM message ORDER BY message_id").fetchall()
    assert rows == [
        (int(m["message_id"]), "c-1", "a1", f"{session_id}:{n}", MESSAGE_TEXT)
        for n, m in enumerate(messages, 1)
    ]
