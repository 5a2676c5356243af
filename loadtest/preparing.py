"""What must be there before a scenario begins: conversations, and what was said in them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from loadtest.deployment import Deployment
from loadtest.messages import MESSAGE_TEXT, command_frame
from loadtest.plan import Endpoint, Page
from loadtest.servers import ServerError
from loadtest.session import PREPARED
from loadtest.websocket import connect

COMMANDS_PER_FRAME = 200
REPLY_SECONDS = 60.0
"""How long nothing may come: all replies to a frame may take longer."""
MEMBERS_PER_COMMAND = 100
CALLERS_AT_ONCE = 8
MOST_PAGES = 100
"""Places in a history that are read."""

Fields = Mapping[str, object]


async def ask(endpoint: Endpoint, commands: Sequence[Fields]) -> list[Any]:
    """Carry out commands over one connection, many in a frame; returns their results.

    Raises `ServerError` for a refusal, `TimeoutError`, or as `connect` does.
    """
    replies: asyncio.Queue[Any] = asyncio.Queue(maxsize=0)

    def receive(payloads: list[bytes]) -> None:
        for payload in payloads:
            frame = msgspec.json.decode(payload)
            if frame["type"] == "Reply":
                replies.put_nowait(frame)

    socket = await connect(endpoint.host, endpoint.port, endpoint.path, "chat.v1.json", receive)
    results: list[Any] = [None] * len(commands)
    try:
        for part in parts(list(enumerate(commands)), COMMANDS_PER_FRAME):
            frame = [{**fields, "id": number} for number, fields in part]
            socket.send(command_frame("json", frame))
            for _ in part:
                async with asyncio.timeout(REPLY_SECONDS):
                    reply = await replies.get()
                results[reply["id"]] = result_of(reply)
    finally:
        socket.close()
    return results


def result_of(reply: Any) -> Any:
    """The result of a reply; raises `ServerError` for an error."""
    if "error" in reply:
        error = reply["error"]
        raise ServerError(f"preparing: {error['code']}: {error['message']}")
    return reply["result"]


def parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def create_group(deployment: Deployment, owner: str, members: list[str]) -> str:
    """A group of an owner and members; its conversation id."""
    first, *others = list(parts(members, MEMBERS_PER_COMMAND)) or [[]]
    create = {
        "type": "CreateConversation", "kind": "group", "title": "load test", "member_ids": first,
    }  # fmt: skip
    endpoint = deployment.endpoint(owner)
    [made] = await ask(endpoint, [create])
    conversation_id: str = made["conversation"]["conversation_id"]
    add = {"type": "AddMembers", "conversation_id": conversation_id}
    await ask(endpoint, [{**add, "user_ids": users} for users in others])
    return conversation_id


async def write(deployment: Deployment, sender: str, conversation_ids: Sequence[str]) -> list[str]:
    """A message into each of these conversations; the ids, the oldest first."""
    commands = [
        {
            "type": "SendMessage",
            "conversation_id": conversation_id,
            "key": f"{PREPARED}:{number}",
            "text": MESSAGE_TEXT,
        }
        for number, conversation_id in enumerate(conversation_ids)
    ]
    results = await ask(deployment.endpoint(sender), commands)
    return sorted((result["message"]["message_id"] for result in results), key=int)


async def open_chats(
    deployment: Deployment, sender: str, users: Sequence[str], chats: int
) -> list[str]:
    """So many conversations with each of these users, each about a listing of theirs; the ids."""
    commands = [
        {
            "type": "CreateConversation",
            "listing_id": f"{sender}-listing{number}",
            "seller_id": user,
        }
        for number in range(chats)
        for user in users
    ]
    made = await ask(deployment.endpoint(sender), commands)
    return [each["conversation"]["conversation_id"] for each in made]


async def fill_inboxes(
    deployment: Deployment,
    users: Sequence[str],
    senders: Sequence[str],
    chats: int,
    unread: int,
) -> None:
    """Every one of these users has so many chats afterwards, dealt out to the senders.

    In each is one message: in the unread ones, which are the latest, it is of the sender, in the
    others of the user. There must not be more senders than chats, nor more unread ones.
    """
    shares = dealt(chats, len(senders))
    # One connection makes one conversation at a time: the more of them, the greater the commits.
    opened = await asyncio.gather(
        *(
            open_chats(deployment, sender, users, share)
            for sender, share in zip(senders, shares, strict=True)
        )
    )
    heads = [share * len(users) for share in dealt(unread, len(senders))]
    answered = [ids[head:] for ids, head in zip(opened, heads, strict=True)]
    own = [list(chain(*(ids[at :: len(users)] for ids in answered))) for at in range(len(users))]
    others = [ids[:head] for ids, head in zip(opened, heads, strict=True)]
    for writers, rooms in ((users, own), (senders, others)):
        for some in parts(list(zip(writers, rooms, strict=True)), CALLERS_AT_ONCE):
            await asyncio.gather(*(write(deployment, writer, ids) for writer, ids in some))


def dealt(count: int, hands: int) -> list[int]:
    """How many of so many each of the hands gets, dealt out in turn."""
    return [len(range(hand, count, hands)) for hand in range(hands)]


def pages(ids: Sequence[str], size: int, *, growing: bool = False) -> list[Page]:
    """Pages all over a conversation, the newest among them; which one that is changes if growing.

    There must be a page of messages.
    """
    step = max(1, (len(ids) - size) // MOST_PAGES)
    newest = Page() if growing else Page(first=ids[-size])
    older = [Page(ids[at], ids[at - size]) for at in range(size, len(ids), step)]
    return [newest, *older]
