"""The handshake, the `Welcome`, frames and replies (protocol §3)."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from tests.e2e.devices import (
    SUBPROTOCOLS,
    Call,
    Connect,
    Device,
    Subprotocol,
    direct,
    group,
    refused_handshake,
    say,
)
from tests.e2e.harness import DEADLINE_S, Server
from tradewire.client.codec import codec_for

BOTH = pytest.mark.parametrize("protocol", SUBPROTOCOLS)


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ({"token": ""}, 401, "unauthenticated", None),
        ({"token": "no.jwt.atall"}, 401, "unauthenticated", None),
        ({"user_id": "bob"}, 403, "forbidden", "user_id"),
        ({"since": "yesterday"}, 400, "invalid_field", "since"),
        ({"since": ""}, 400, "invalid_field", "since"),
        ({"since": "-1"}, 400, "invalid_field", "since"),
        ({"since": "1.5"}, 400, "invalid_field", "since"),
        ({"since": "01"}, 400, "invalid_field", "since"),
        ({"since": str(1 << 63)}, 400, "invalid_field", "since"),
        ({"device_id": "two words"}, 400, "invalid_field", "device_id"),
        ({"device_id": ""}, 400, "invalid_field", "device_id"),
        ({"conversations": "many"}, 400, "invalid_field", "conversations"),
        ({"conversations": "-1"}, 400, "invalid_field", "conversations"),
        ({"conversations": "101"}, 400, "invalid_field", "conversations"),
    ],
    ids=str,
)
async def test_a_handshake_is_refused_with_its_reason(
    server: Server, query: dict[str, str], status: int, code: str, field: str | None
) -> None:
    query = {"token": server.token("alice"), **query}
    body, answered, headers = await refused_handshake(server.url, query)
    assert (answered, body["status"], body["code"]) == (status, status, code)
    assert body.get("field") == field
    assert headers["Content-Type"].startswith("application/problem+json")
    assert {"type", "title", "detail"} < set(body)


async def test_an_expired_token_is_told_from_a_bad_one(server: Server) -> None:
    expired = server.token("alice", ttl_s=-60.0)
    body, status, _ = await refused_handshake(server.url, {"token": expired})
    assert (status, body["code"]) == (401, "token_expired")
    assert expired not in json.dumps(body)


async def test_a_subprotocol_that_is_not_known_is_refused(server: Server) -> None:
    headers = {"Sec-WebSocket-Protocol": "chat.v2.json"}
    query = {"token": server.token("alice")}
    body, status, _ = await refused_handshake(server.url, query, headers)
    assert (status, body["code"]) == (400, "bad_request")


async def test_a_plain_request_is_no_handshake(http: Call) -> None:
    alice = await http("alice")
    body = await alice.request("GET", "/ws/chat")
    assert (alice.status, body["code"]) == (400, "bad_request")


async def test_the_token_may_come_in_the_header_and_the_user_in_the_address(
    server: Server,
) -> None:
    headers = {"Authorization": f"Bearer {server.token('alice')}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{server.url}/ws/chat", params={"user_id": "alice"}) as socket,
    ):
        welcome = await socket.receive_json(timeout=DEADLINE_S)
    assert welcome["user_id"] == "alice"


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ((), None),
        (("chat.v1.json",), "chat.v1.json"),
        (("chat.v1.msgpack",), "chat.v1.msgpack"),
        (("chat.v1.msgpack", "chat.v1.json"), "chat.v1.msgpack"),
        (("chat.v9.xml", "chat.v1.msgpack"), "chat.v1.msgpack"),
    ],
)
async def test_the_subprotocol_is_the_first_that_is_known(
    server: Server, asked: tuple[str, ...], chosen: str | None
) -> None:
    params = {"token": server.token("alice")}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/ws/chat", params=params, protocols=asked) as socket,
    ):
        first = await socket.receive(timeout=DEADLINE_S)
        codec = codec_for("msgpack" if chosen == "chat.v1.msgpack" else "json")
        (welcome,) = codec.decode(first.data)
        assert socket.protocol == chosen
        assert welcome["protocol"] == (chosen or "chat.v1.json")
        assert first.type is (aiohttp.WSMsgType.BINARY if codec.binary else aiohttp.WSMsgType.TEXT)


def _is_now(time: str) -> bool:
    return abs(datetime.fromisoformat(time) - datetime.now(UTC)) < timedelta(minutes=1)


@BOTH
async def test_the_welcome_tells_who_and_how_much(connect: Connect, protocol: Subprotocol) -> None:
    welcome = (await connect("alice", protocol=protocol, device_id="phone")).welcome
    assert set(welcome) == {
        "type", "session_id", "user_id", "device_id", "server_time", "heartbeat_s", "protocol",
        "cursor", "limits",
    }  # fmt: skip
    assert welcome["type"] == "Welcome"
    assert (welcome["user_id"], welcome["device_id"]) == ("alice", "phone")
    assert welcome["protocol"] == f"chat.v1.{protocol}"
    assert welcome["heartbeat_s"] == 30
    assert int(welcome["cursor"]) > 0
    assert _is_now(welcome["server_time"])
    assert welcome["limits"] == {
        "frame_bytes": 65_536,
        "text_characters": 10_000,
        "metadata_bytes": 8_192,
        "attachments": 10,
        "page": 200,
        "messages_per_second": 0,
        "commands_per_second": 0,
    }


async def test_each_connection_without_a_name_is_a_device_of_its_own(connect: Connect) -> None:
    first, second = await connect("alice"), await connect("alice")
    assert first.welcome["device_id"] != second.welcome["device_id"]
    assert first.welcome["session_id"] != second.welcome["session_id"]
    assert await first.heard() == []


@BOTH
async def test_the_welcome_carries_the_first_inbox_page_if_asked(
    connect: Connect, protocol: Subprotocol
) -> None:
    bob = await connect("bob")
    with_alice, with_carol, with_dave = [await direct(bob, u) for u in ("alice", "carol", "dave")]
    await say(bob, with_alice, "1")
    await say(bob, with_dave, "2")
    await say(bob, with_carol, "3")
    again = await connect("bob", protocol=protocol, conversations=2)
    shown = again.welcome["conversations"]
    assert [c["conversation_id"] for c in shown] == [with_carol, with_dave]
    assert shown[0]["last_message"]["text"] == "3"
    assert shown[0]["unread_count"] == 0
    assert [m["user_id"] for m in shown[1]["members"]] == ["bob", "dave"]
    assert "conversations" not in (await connect("bob", conversations=0)).welcome


@BOTH
@pytest.mark.parametrize("reply_id", [0, -7, 1 << 62, "", "x" * 64, "ü"])
async def test_a_reply_carries_the_id_of_its_command(
    connect: Connect, protocol: Subprotocol, reply_id: int | str
) -> None:
    alice = await connect("alice", protocol=protocol)
    await alice.put({"type": "Ping", "id": reply_id})
    reply = await alice.reply(reply_id)
    assert set(reply) == {"type", "id", "result"}
    await alice.put({"type": "GetConversation", "id": reply_id, "conversation_id": "nope"})
    error = (await alice.reply(reply_id))["error"]
    assert (error["code"], error["status"], error["field"]) == (
        "invalid_field", 400, "conversation_id",
    )  # fmt: skip


@BOTH
@pytest.mark.parametrize("bad", ["x" * 65, True, 1.5, [], {}])
async def test_an_id_that_is_none_is_refused(
    connect: Connect, protocol: Subprotocol, bad: object
) -> None:
    alice = await connect("alice", protocol=protocol)
    await alice.put({"type": "Ping", "id": bad})
    error = (await alice.reply(None))["error"]
    assert (error["code"], error["field"]) == ("invalid_field", "id")


@BOTH
async def test_without_an_id_only_an_error_is_told(connect: Connect, protocol: Subprotocol) -> None:
    alice, bob = await connect("alice", protocol=protocol), await connect("bob")
    conversation = await direct(alice, "bob")
    typing = {"type": "SetTypingIndicator", "conversation_id": conversation, "typing": True}
    await alice.put(typing)
    await alice.put({**typing, "typing": "perhaps"})
    error = (await alice.reply(None))["error"]
    assert (error["code"], error["field"]) == ("invalid_field", "typing")
    assert alice.replies == []
    assert (await bob.hear("TypingStarted"))["user_id"] == "alice"


@BOTH
async def test_a_frame_may_hold_an_array_of_commands(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    conversation = await direct(alice, "bob")
    sends = [
        {"type": "SendMessage", "id": i, "conversation_id": conversation, "text": f"text {i}"}
        for i in range(20)
    ]
    history = {"type": "GetMessages", "id": "history", "conversation_id": conversation}
    await alice.put([*sends, history, {"type": "Dance", "id": "dance"}])
    shown = (await alice.reply("history"))["result"]["messages"]
    assert [m["text"] for m in shown] == [f"text {i}" for i in range(20)]
    ids = [(await alice.reply(i))["result"]["message"]["message_id"] for i in range(20)]
    assert [m["message_id"] for m in shown] == ids
    assert (await alice.reply("dance"))["error"]["code"] == "bad_request"


@BOTH
async def test_only_who_asks_for_arrays_gets_them(connect: Connect, protocol: Subprotocol) -> None:
    alice = await connect("alice", protocol=protocol)
    conversation = await direct(alice, "bob")
    await say(alice, conversation, *map(str, range(10)))
    plain = await connect("bob", protocol=protocol, since=0)
    batching = await connect("bob", protocol=protocol, since=0, batch=1)
    for device in (plain, batching):
        await device.hear("SyncCompleted")
        heard = await device.heard("MessageReceived")
        assert [event["message"]["text"] for event in heard] == list(map(str, range(10)))
    assert plain.most == 1
    assert batching.most > 1


@BOTH
async def test_what_one_connection_asks_takes_effect_in_its_order(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice, bob = await connect("alice", protocol=protocol), await connect("bob")
    conversation = await direct(alice, "bob")
    about = {"conversation_id": conversation}
    for number in range(50):
        await alice.put({"type": "SendMessage", "id": f"s{number}", "text": str(number), **about})
    await alice.put({"type": "UpdateConversation", "id": "close", "status": "closed", **about})
    await alice.put({"type": "SendMessage", "id": "late", "text": "late", **about})
    assert (await alice.reply("late"))["error"]["code"] == "conversation_closed"
    heard = await bob.heard("MessageReceived", "ConversationUpdated")
    assert [e["message"]["text"] for e in heard[:-1]] == list(map(str, range(50)))
    assert heard[-1]["conversation"]["status"] == "closed"


@BOTH
async def test_the_order_holds_however_commands_are_spread_over_frames(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    about = {"conversation_id": await direct(alice, "bob")}
    (first,) = await say(alice, about["conversation_id"], "0")
    commands: list[dict[str, object]] = []
    for number in range(1, 100):
        send = {"type": "SendMessage", "id": number, "text": str(number), **about}
        # What these refer to must be read first.
        commands.append({**send, "reply_to": first} if number % 7 == 0 else send)
        if number % 5 == 0:
            commands.append({"type": "GetMessages", "id": f"h{number}", "limit": 200, **about})
    lengths = itertools.cycle((1, 1, 4, 1, 2, 9, 1))
    while commands:
        length = next(lengths)
        frame, commands = commands[:length], commands[length:]
        await alice.put(frame if length > 1 else frame[0])
    for number in range(5, 100, 5):
        shown = (await alice.reply(f"h{number}"))["result"]["messages"]
        assert [message["text"] for message in shown] == list(map(str, range(number + 1)))
    sent = [(await alice.reply(number))["result"]["message"] for number in range(1, 100)]
    ids = [int(message["message_id"]) for message in sent]
    assert ids == sorted(ids)


@BOTH
async def test_ping_tells_the_cursor_and_the_time(connect: Connect, protocol: Subprotocol) -> None:
    alice, bob = await connect("alice", protocol=protocol), await connect("bob")
    conversation = await direct(bob, "alice")
    (message_id,) = await say(bob, conversation, "hello")
    pong = await alice.ask("Ping")
    assert set(pong) == {"cursor", "server_time"}
    assert int(pong["cursor"]) >= int(message_id) > int(alice.welcome["cursor"])
    assert _is_now(pong["server_time"])


@BOTH
async def test_an_unknown_command_is_an_error_and_no_more(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    for name in ("Dance", "ping", "", "GetConversation2"):
        error = await alice.refused(name)
        assert (error["code"], error["status"], error["field"]) == ("bad_request", 400, "type")
    await alice.put({"id": 5})
    assert (await alice.reply(5))["error"]["field"] == "type"
    await alice.put({"type": 7, "id": 6})
    assert (await alice.reply(6))["error"]["field"] == "type"
    await alice.ask("Ping")


@BOTH
async def test_unknown_fields_are_ignored(connect: Connect, protocol: Subprotocol) -> None:
    alice = await connect("alice", protocol=protocol)
    await alice.ask("Ping", colour="blue", nested={"deep": [1, {"er": None}]})
    conversation = await direct(alice, "bob")
    sent = await alice.ask(
        "SendMessage", conversation_id=conversation, text="hi", sender_id="bob", message_id="7"
    )
    assert sent["message"]["sender_id"] == "alice"
    assert sent["message"]["message_id"] != "7"


@BOTH
async def test_text_is_kept_exactly_in_both_protocols(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    others = [await connect("bob", protocol=p) for p in SUBPROTOCOLS]
    conversation = await direct(alice, "bob")
    text = "<b>&amp;</b>\r\n\t \u200d👩‍👩‍👧 e\u0301 \U0010ffff \u2028 ﷽ '\"\\" + "ש"
    metadata = {"a": [1, -2.5, None, True, "é"], "large": 2**53, "": {"nested": []}}
    sent = await alice.ask(
        "SendMessage", conversation_id=conversation, text=text, metadata=metadata
    )
    heard = [(await other.hear("MessageReceived"))["message"] for other in others]
    for message in (sent["message"], *heard):
        assert (message["text"], message["metadata"]) == (text, metadata)


async def test_two_connections_do_not_wait_for_each_other(connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    conversation = await group(alice, "bob")

    async def chat(device: Device, count: int) -> list[str]:
        return await say(device, conversation, *map(str, range(count)))

    mine, theirs = await asyncio.wait_for(
        asyncio.gather(chat(alice, 20), chat(bob, 20)), DEADLINE_S
    )
    page = await alice.ask("GetMessages", conversation_id=conversation)
    assert [m["message_id"] for m in page["messages"]] == sorted(mine + theirs, key=int)
