"""Members come and go while messages are in flight: each hears what was said while being one."""

import asyncio
from itertools import count
from pathlib import Path

import aiohttp

from tests.e2e.harness import serving
from tests.e2e.places import embedded
from tests.fault.devices import Json, read_conversation
from tests.fault.load import receive

ROUNDS = 60
WINDOW = 16
LAST = "the last"


async def ask(socket: aiohttp.ClientWebSocketResponse, command: str, **fields: object) -> Json:
    """A command on a bare socket, and its result."""
    await socket.send_json({"type": command, "id": 1, **fields})
    while (heard := await receive(socket))["type"] != "Reply":
        pass
    result: Json = heard["result"]
    return result


async def talk(socket: aiohttp.ClientWebSocketResponse, room: str, stop: asyncio.Event) -> None:
    """Send without a pause, many in flight."""
    in_flight = 0
    for number in count():
        if not stop.is_set():
            text = f"number {number}"
            fields = {"conversation_id": room, "text": text}
            await socket.send_json({"type": "SendMessage", "id": number, **fields})
            in_flight += 1
        while in_flight >= WINDOW or (stop.is_set() and in_flight):
            in_flight -= (await receive(socket))["type"] == "Reply"
        if stop.is_set():
            return


async def listen(socket: aiohttp.ClientWebSocketResponse, heard: list[Json]) -> None:
    """Keep all events up to the last message."""
    while True:
        event = await receive(socket)
        heard.append(event)
        if event.get("message", {}).get("text") == LAST:
            return


async def come_and_go(owner: aiohttp.ClientWebSocketResponse, room: str) -> None:
    """Add the guest and remove the guest, again and again; a member at the end."""
    for _ in range(ROUNDS):
        await ask(owner, "AddMembers", conversation_id=room, user_ids=["guest"])
        await ask(owner, "RemoveMember", conversation_id=room, user_id="guest")
    await ask(owner, "AddMembers", conversation_id=room, user_ids=["guest"])


def said_while_member(heard: list[Json], stored: list[int]) -> list[int]:
    """The messages stored between each MemberAdded of the guest and the next MemberRemoved."""
    changes = [event for event in heard if event["type"] in {"MemberAdded", "MemberRemoved"}]
    turns = {int(event["change_id"]): event["type"] == "MemberAdded" for event in changes}
    before = {number: [c for c in turns if c < number] for number in stored}
    return [number for number in stored if before[number] and turns[max(before[number])]]


async def test_a_member_hears_just_what_is_said_between_coming_and_going(tmp_path: Path) -> None:
    async with serving(embedded(tmp_path)) as server:
        async with server.http("owner") as http:
            made = await http.request(
                "POST",
                "/v1/conversations",
                json={"kind": "group", "title": "all", "member_ids": ["writer"]},
            )
            room = made["conversation"]["conversation_id"]
            async with (
                server.socket("owner") as owner,
                server.socket("writer") as writer,
                server.socket("guest") as guest,
            ):
                heard: list[Json] = []
                stop = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    group.create_task(listen(guest, heard))
                    talking = group.create_task(talk(writer, room, stop))
                    await come_and_go(owner, room)
                    stop.set()
                    await talking
                    await ask(owner, "SendMessage", conversation_id=room, text=LAST)
            _, messages = await read_conversation(http, room)
        stored = [int(message["message_id"]) for message in messages]
        told = [int(e["message"]["message_id"]) for e in heard if e["type"] == "MessageReceived"]
        assert told == said_while_member(heard, stored)
        assert len(told) < len(stored)
