"""How the server ends a connection, and what it tolerates before (protocol §3)."""

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.devices import (
    SUBPROTOCOLS,
    Call,
    Closed,
    Connect,
    Device,
    HttpCaller,
    Subprotocol,
    connected,
    direct,
    eventually,
    over_http,
    refused_handshake,
    say,
)
from tests.e2e.harness import DEADLINE_S, Server, serving
from tests.e2e.marketplace import Json, cloud_event
from tests.e2e.places import Place, embedded
from tradewire.adapters.sqlite.journal import SqliteJournal
from tradewire.domain.errors import Close

BOTH = pytest.mark.parametrize("protocol", SUBPROTOCOLS)
GARBAGE = {"json": b'{"type": "Ping",', "msgpack": b"\xc1"}


async def closed(device: Device) -> int | None:
    return await asyncio.wait_for(device.closed(), DEADLINE_S)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats each tenth of a second, patience for one."""
    monkeypatch.setattr("tradewire.edge.websocket.TURN_S", 0.05)
    monkeypatch.setattr("tradewire.edge.websocket.HEARTBEAT_S", 2)
    monkeypatch.setattr("tradewire.edge.socket.HEARTBEAT_S", 2)
    monkeypatch.setattr("tradewire.edge.socket.SILENCE_S", 1.0)


async def test_a_silent_connection_is_pinged_and_closed(hurried: None, connect: Connect) -> None:
    alice = await connect("alice")
    alice.mute = True
    assert await closed(alice) == 4408
    assert alice.pings > 0


async def test_a_connection_that_answers_pings_stays(hurried: None, connect: Connect) -> None:
    answering, silent = await connect("alice"), await connect("bob")
    silent.mute = True
    reading = asyncio.create_task(answering.closed())
    assert await closed(silent) == 4408
    assert answering.pings > 0
    assert not reading.done()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@BOTH
async def test_the_third_undecodable_frame_in_a_row_closes(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    garbage, binary = GARBAGE[protocol], protocol == "msgpack"
    for _ in range(2):
        await alice.put_raw(garbage, binary=binary)
        await alice.put_raw(garbage, binary=binary)
        await alice.ask("Ping")
        errors = [await alice.reply(None) for _ in range(2)]
        assert {error["error"]["code"] for error in errors} == {"bad_request"}
    for _ in range(3):
        await alice.put_raw(garbage, binary=binary)
    assert await closed(alice) == 4400
    assert [(r["id"], r["error"]["code"]) for r in alice.replies] == [(None, "bad_request")] * 3


@BOTH
async def test_frames_of_the_other_kind_are_undecodable(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    ping = json.dumps({"type": "Ping", "id": 1}).encode()
    await alice.put_raw(ping, binary=protocol == "json")
    error = (await alice.reply(None))["error"]
    assert (error["code"], error["status"]) == ("bad_request", 400)
    await alice.ask("Ping")
    for _ in range(3):
        await alice.put_raw(ping, binary=protocol == "json")
    assert await closed(alice) == 4400


async def test_a_frame_of_the_greatest_size_is_taken(connect: Connect) -> None:
    alice = await connect("alice")
    frame = b'{"type": "Ping", "id": "largest"}'
    await alice.put_raw(frame.ljust(65_536), binary=False)
    await alice.reply("largest")


@BOTH
async def test_a_larger_frame_closes(connect: Connect, protocol: Subprotocol) -> None:
    alice = await connect("alice", protocol=protocol)
    await alice.put_raw(b" " * 65_537, binary=protocol == "msgpack")
    assert await closed(alice) == 1009


async def test_a_token_that_ends_soon_is_announced_and_then_ends_the_connection(
    connect: Connect, server: Server
) -> None:
    alice = await connect("alice", token=server.token("alice", ttl_s=3.0))
    told = await alice.hear("TokenExpiring")
    assert set(told) == {"type", "expires_at"}
    assert await closed(alice) == 4401


async def test_a_token_that_lasts_is_not_announced(connect: Connect, server: Server) -> None:
    alice = await connect("alice", token=server.token("alice", ttl_s=90.0))
    assert await alice.heard() == []


@BOTH
async def test_a_fresh_token_keeps_the_connection(
    connect: Connect, server: Server, protocol: Subprotocol
) -> None:
    token = server.token("alice", ttl_s=3.0)
    refreshed = await connect("alice", protocol=protocol, token=token)
    left_alone = await connect("alice", protocol=protocol, token=token)
    about = {"conversation_id": await direct(await connect("bob"), "carol")}
    assert (await refreshed.refused("GetConversation", **about))["code"] == "not_found"
    result = await refreshed.ask("RefreshToken", token=server.token("alice", "admin"))
    assert set(result) == {"expires_at"}
    await refreshed.ask("GetConversation", **about)
    assert await closed(left_alone) == 4401
    assert [event["type"] for event in await refreshed.heard()] == ["TokenExpiring"]


@BOTH
async def test_only_a_good_token_of_the_same_user_refreshes(
    connect: Connect, server: Server, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    refusals = {
        "other user": (server.token("bob"), "unauthenticated"),
        "other tenant": (server.token("alice", tenant="elsewhere"), "unauthenticated"),
        "expired": (server.token("alice", ttl_s=-60.0), "token_expired"),
        "none": ("no.jwt.atall", "unauthenticated"),
    }
    for what, (token, code) in refusals.items():
        error = await alice.refused("RefreshToken", token=token)
        assert (error["code"], error["status"]) == (code, 401), what
    await alice.ask("Ping")


@pytest.mark.parametrize("how", ["closed by the server", "lost"])
async def test_a_command_behind_a_send_does_not_outlive_its_connection(
    tmp_path: Path, how: str
) -> None:
    async with (
        serving(embedded(tmp_path)) as server,
        connected(server, "alice") as alice,
        connected(server, "bob") as bob,
    ):
        about = {"conversation_id": await direct(alice, "bob")}
        await say(alice, about["conversation_id"], "before")
        journal, sockets = server.node._store.journal, server.node._sockets
        assert isinstance(journal, SqliteJournal)
        assert sockets is not None
        held = threading.Event()
        journal.take_turn(lambda _: held.wait(DEADLINE_S))
        await alice.put([
            {"type": "SendMessage", "id": "send", "text": "held up", **about},
            {"type": "UpdateConversation", "id": "close", "status": "closed", **about},
        ])  # fmt: skip

        async def sent() -> bool:
            return journal.in_flight > 0

        async def left() -> bool:
            return len(sockets.open) == 1

        await eventually(sent, "the message waits to be written")
        socket = next(each for each in sockets.open if each.connection.user[1] == "alice")
        if how == "lost":
            socket._transport.abort()
        else:
            socket.close(Close.RESTART)
        await asyncio.sleep(0)
        held.set()
        assert await closed(alice) == (None if how == "lost" else 1012)
        await eventually(left, "the connection is counted out")
        assert [reply["id"] for reply in alice.replies] == ([] if how == "lost" else ["send"])
        assert "ConversationUpdated" not in {event["type"] for event in await bob.heard()}


async def test_a_newer_connection_replaces_that_of_the_same_device(connect: Connect) -> None:
    old, other = await connect("alice", device_id="phone"), await connect("alice", device_id="tab")
    stranger = await connect("bob", device_id="phone")
    new = await connect("alice", device_id="phone")
    assert await closed(old) == 4409
    for device in (other, stranger, new):
        assert await device.heard() == []


async def test_a_device_may_have_as_many_connections_as_configured(place: Place) -> None:
    async with (
        serving(place, CONNECTIONS_PER_DEVICE="2") as server,
        connected(server, "alice", device_id="phone") as first,
        connected(server, "alice", device_id="phone") as second,
        connected(server, "alice", device_id="phone") as third,
    ):
        assert await closed(first) == 4409
        assert await second.heard() == await third.heard() == []


async def test_a_user_may_have_as_many_connections_as_configured(place: Place) -> None:
    async with (
        serving(place, CONNECTIONS_PER_USER="2") as server,
        connected(server, "alice", device_id="phone") as phone,
        connected(server, "alice") as second,
        connected(server, "bob"),
    ):
        query = {"token": server.token("alice")}
        body, status, headers = await refused_handshake(server.url, query)
        assert (status, body["code"]) == (429, "rate_limited")
        assert body["retry_after_ms"] > 0
        assert int(headers["Retry-After"]) > 0
        async with connected(server, "alice", device_id="phone") as again:
            assert await closed(phone) == 4409
            assert await again.heard() == await second.heard() == []


async def test_too_many_commands_are_refused_and_then_end_the_connection(place: Place) -> None:
    async with (
        serving(place, COMMANDS_PER_SECOND="1") as server,
        connected(server, "alice") as alice,
    ):
        await alice.put([{"type": "Ping", "id": number} for number in range(6)])
        replies = [await alice.reply(number) for number in range(6)]
        assert ["result" in reply for reply in replies] == [True] * 5 + [False]
        error = replies[-1]["error"]
        assert (error["code"], error["status"]) == ("rate_limited", 429)
        assert 0 < error["retry_after_ms"] <= 1_001
        await alice.put([{"type": "Ping", "id": f"flood {number}"} for number in range(100)])
        assert await closed(alice) == 4429
        codes = [reply["error"]["code"] for reply in alice.replies if "error" in reply]
        assert set(codes) == {"rate_limited"}
        assert len(codes) > 40


async def test_messages_are_limited_for_each_user_over_all_connections(place: Place) -> None:
    async with (
        serving(place, MESSAGES_PER_SECOND="1") as server,
        connected(server, "alice") as phone,
        connected(server, "alice") as tablet,
        over_http(server, "alice") as http,
        connected(server, "bob") as bob,
    ):
        message = {"conversation_id": await direct(phone, "bob"), "text": "hello"}
        began, accepted = time.monotonic(), 0
        for _ in range(10):
            accepted += "result" in await phone.call("SendMessage", **message)
            accepted += "result" in await tablet.call("SendMessage", **message)
        passed = time.monotonic() - began
        assert 5 <= accepted <= 5 + passed
        for talker in (phone, http):
            refusal = await _refused_at_last(talker, message)
            assert (refusal["code"], refusal["status"]) == ("rate_limited", 429)
            assert 0 < refusal["retry_after_ms"] <= 1_001
        assert int(http.headers["Retry-After"]) >= 1
        await bob.ask("SendMessage", **message)


async def _refused_at_last(talker: Device | HttpCaller, message: dict[str, str]) -> Json:
    for _ in range(10):
        answer = await talker.call("SendMessage", **message)
        if "message" not in answer and "result" not in answer:
            refusal: Json = answer.get("error", answer)
            return refusal
    raise AssertionError("ten messages within a second or two were accepted")


async def test_a_user_blocked_on_the_platform_loses_all_connections(
    connect: Connect, http: Call, server: Server
) -> None:
    phone, tablet, bob = await connect("mallory"), await connect("mallory"), await connect("bob")
    elsewhere = await connect("mallory", tenant="elsewhere")
    conversation = await direct(phone, "bob")
    shop, over = await http("shop", "service"), await http("mallory")
    await shop.ask("TakeEvents", **cloud_event("UserBlocked", user_id="mallory"))
    assert await closed(phone) == await closed(tablet) == 4403
    body, status, _ = await refused_handshake(server.url, {"token": server.token("mallory")})
    assert (status, body["code"]) == (403, "blocked")
    refusal = await over.refused("SendMessage", conversation_id=conversation, text="let me in")
    assert (refusal["code"], refusal["status"]) == ("blocked", 403)
    assert await bob.heard("MessageReceived") == []
    assert await elsewhere.heard() == []
    await shop.ask("TakeEvents", **cloud_event("UserUnblocked", user_id="mallory"))
    await say(await connect("mallory"), conversation, "back again")


@BOTH
async def test_a_slow_consumer_is_cut_and_resumes(connect: Connect, protocol: Subprotocol) -> None:
    alice, quick = await connect("alice"), await connect("bob")
    slow = await connect("carol", protocol=protocol)
    made = await alice.ask(
        "CreateConversation", kind="group", title="busy", member_ids=["bob", "carol"]
    )
    conversation = made["conversation"]["conversation_id"]
    sent = []

    async def overrun() -> bool:
        sent.extend(await say(alice, conversation, *["\U0001f40c" * 10_000] * 10))
        await quick.heard()
        status = await alice.ask("GetOnlineStatus", user_ids=["carol"])
        return bool(status["statuses"][0]["status"] == "offline")

    await eventually(overrun, "the slow consumer is given up")
    assert await closed(slow) == 4503
    assert await quick.heard() == []
    again = await connect("carol", protocol=protocol, since=slow.welcome["cursor"])
    await again.hear("SyncCompleted")
    heard = await again.heard("MessageReceived")
    assert [event["message"]["message_id"] for event in heard] == sent


async def test_nothing_is_taken_from_a_connection_that_was_closed(connect: Connect) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    for _ in range(3):
        await alice.put_raw(b"{", binary=False)
    await alice.put({"type": "SendMessage", "conversation_id": conversation, "text": "too late"})
    with pytest.raises(Closed):
        await alice.ask("Ping")
    again = await connect("alice")
    page = await again.ask("GetMessages", conversation_id=conversation)
    assert page["messages"] == []
