"""`tradewire chat`: two people talk, each in a terminal."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from uuid import uuid4

from tradewire.cli.display import Json, content, plain
from tradewire.cli.terminal import Terminal
from tradewire.client import Client, CommandError, State

HISTORY = 20
UNSENT_LINES = 100
PATIENCE_S = 86_400.0
"""How long a line that was typed waits for the server to come back; less than a key's 48 h."""
TYPING_RENEWED_S = 3.0
TYPING_LASTS_S = 5.0
STATE_LOOKED_AT_S = 0.2


async def talk(url: str, token: str, peer: str) -> None:
    """Chat with a user until the input ends and all that was typed is acknowledged.

    Raises:
        ClientError: the server refused the user for good, or did not answer.
    """
    async with Client(url, token) as client:
        opened = await client.request("CreateConversation", user_id=peer)
        conversation_id = opened["conversation"]["conversation_id"]
        with Terminal() as terminal:
            await Chat(client, terminal, peer, conversation_id).run()


class Signals:
    """Things to tell the server of which only the latest counts: typing, and what was read."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._latest: dict[str, Json] = {}
        self._waiting = asyncio.Event()

    def set(self, command: str, **fields: Any) -> None:
        """Send this soon, in place of an earlier one that has not gone out yet."""
        self._latest[command] = fields
        self._waiting.set()

    async def run(self) -> None:
        """Send until cancelled. One that is refused is given up: the next says more."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self._latest:
                command, fields = self._latest.popitem()
                with suppress(CommandError):
                    await self._client.request(command, timeout_s=PATIENCE_S, **fields)


class Receipts:
    """How far the peer has come with what was sent from here; each step is told once.

    Attributes:
        last_sent: the newest message that was acknowledged.
        up_to: the peer's markers.
    """

    def __init__(self) -> None:
        self.last_sent = 0
        self.up_to = {"MessageDelivered": 0, "MessageRead": 0}
        self._told = dict(self.up_to)

    def news(self) -> list[str]:
        """What the peer's markers say of the newest message and was not told yet."""
        read, delivered = self._news("MessageRead"), self._news("MessageDelivered")
        return ["read by"] if read else ["delivered to"] if delivered else []

    def _news(self, kind: str) -> bool:
        if not self._told[kind] < self.last_sent <= self.up_to[kind]:
            return False
        self._told[kind] = self.last_sent
        return True


class Chat:
    """One conversation of two on a terminal."""

    def __init__(self, client: Client, terminal: Terminal, peer: str, conversation_id: str) -> None:
        self._client = client
        self._terminal = terminal
        self._peer = peer
        self._me = client.welcome["user_id"]
        self._conversation_id = conversation_id
        self._signals = Signals(client)
        self._typed: asyncio.Queue[str] = asyncio.Queue(UNSENT_LINES)
        self._shown: set[str] = set()
        self._typed_keys: set[str] = set()
        self._receipts = Receipts()
        self._connected = True
        self._typing_told_at = float("-inf")
        self._peer_types_until = float("-inf")

    async def run(self) -> None:
        """Talk until the input ends."""
        self._terminal.show(f"You are {self._me}. Type to {self._peer}; Ctrl-D ends.")
        await self._show_history()
        await _first_of(
            chat_input=self._read_input(),
            chat_send=self._send_typed(),
            chat_events=self._show_events(),
            chat_signals=self._signals.run(),
            chat_connection=self._watch_connection(),
        )

    async def _show_history(self) -> None:
        page = await self._client.request(
            "GetMessages", conversation_id=self._conversation_id, limit=HISTORY
        )
        for message in page["messages"]:
            self._show_message(message)

    async def _read_input(self) -> None:
        async for lines in self._terminal.read():
            for line in filter(str.strip, lines):
                self._terminal.echo(f"you: {line}")
                await self._typed.put(line)
            self._tell_typing(sent=bool(lines))
        await self._typed.join()

    def _tell_typing(self, *, sent: bool) -> None:
        """Say that a line was begun, from time to time, or given up; a message ends it itself."""
        now, typing = time.monotonic(), self._terminal.typing
        if typing and now - self._typing_told_at > TYPING_RENEWED_S:
            self._typing_told_at = now
            self._signal_typing(typing=True)
        elif not typing and self._typing_told_at > float("-inf"):
            self._typing_told_at = float("-inf")
            if not sent:
                self._signal_typing(typing=False)

    def _signal_typing(self, *, typing: bool) -> None:
        if self._client.state is State.LIVE:
            self._signals.set(
                "SetTypingIndicator", conversation_id=self._conversation_id, typing=typing
            )

    async def _send_typed(self) -> None:
        while True:
            text, key = await self._typed.get(), uuid4().hex
            self._typed_keys.add(key)
            try:
                sent = await self._client.send(
                    self._conversation_id, text, key=key, timeout_s=PATIENCE_S
                )
            except CommandError as error:
                self._terminal.show(f"* not sent: {error}")
            else:
                self._receipts.last_sent = int(sent["message"]["message_id"])
                self._show_receipts()
            finally:
                self._typed.task_done()

    async def _show_events(self) -> None:
        async for event in self._client.events():
            # What came over a new connection is shown after the news of it.
            self._note_connection()
            if _conversation_of(event) == self._conversation_id:
                self._show_event(event)

    def _show_event(self, event: Json) -> None:
        match event["type"]:
            case "MessageReceived":
                self._show_message(event["message"])
            case "MessageEdited" | "MessageDeleted":
                self._terminal.show(f"{self._author(event['message'])} (changed)")
            case "MessageDelivered" | "MessageRead" if event["user_id"] == self._peer:
                self._receipts.up_to[event["type"]] = int(event["up_to"])
                self._show_receipts()
            case "TypingStarted":
                self._show_typing()
            case "TypingStopped":
                self._peer_types_until = float("-inf")

    def _show_typing(self) -> None:
        now = time.monotonic()
        if now > self._peer_types_until:
            self._terminal.show(f"* {self._peer} is typing")
        self._peer_types_until = now + TYPING_LASTS_S

    def _show_message(self, message: Json) -> None:
        if message["message_id"] in self._shown or message.get("key") in self._typed_keys:
            return
        self._shown.add(message["message_id"])
        self._terminal.show(self._author(message))
        if message["sender_id"] != self._me:
            self._peer_types_until = float("-inf")
            self._signals.set(
                "MarkMessagesAsRead",
                conversation_id=self._conversation_id,
                up_to=message["message_id"],
            )

    def _author(self, message: Json) -> str:
        sender = message["sender_id"]
        return f"{'you' if sender == self._me else plain(sender)}: {content(message)}"

    def _show_receipts(self) -> None:
        for news in self._receipts.news():
            self._terminal.show(f"* {news} {self._peer}")

    async def _watch_connection(self) -> None:
        while True:
            await asyncio.sleep(STATE_LOOKED_AT_S)
            self._note_connection()

    def _note_connection(self) -> None:
        connected = self._client.state is not State.CONNECTING
        if connected != self._connected:
            self._connected = connected
            news = "connected again" if connected else "connection lost, waiting"
            self._terminal.show(f"* {news}")


def _conversation_of(event: Json) -> str | None:
    part = event.get("message") or event
    found: str | None = part.get("conversation_id")
    return found


async def _first_of(**work: Coroutine[Any, Any, None]) -> None:
    """Run coroutines as named tasks until one ends or fails, then end the others."""
    tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
