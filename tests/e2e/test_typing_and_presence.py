"""Typing and presence: told to few, kept for nobody, over by themselves (protocol §4, §5)."""

from datetime import datetime
from typing import Any

import pytest

from tests.e2e.devices import Call, Connect, Device, direct, eventually, group, say


async def status_of(device: Device, user: str) -> dict[str, Any]:
    (status,) = (await device.ask("GetOnlineStatus", user_ids=[user]))["statuses"]
    shown: dict[str, Any] = status
    return shown


async def test_typing_reaches_the_other_members(connect: Connect) -> None:
    alice, tablet = await connect("alice"), await connect("alice")
    bob, laptop = await connect("bob"), await connect("bob", protocol="msgpack")
    stranger = await connect("stranger")
    about = {"conversation_id": await group(alice, "bob")}
    for device in (alice, tablet, bob, laptop):
        await device.heard()
    await alice.ask("SetTypingIndicator", **about, typing=True)
    await alice.ask("SetTypingIndicator", **about, typing=False)
    await alice.ask("SetTypingIndicator", **about, typing=False)
    for device in (bob, laptop):
        assert await device.heard() == [
            {"type": "TypingStarted", **about, "user_id": "alice"},
            {"type": "TypingStopped", **about, "user_id": "alice"},
        ]
    for device in (alice, tablet, stranger):
        assert await device.heard() == []


async def test_who_sends_is_not_typing_any_more(connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    await bob.heard()
    await alice.ask("SetTypingIndicator", **about, typing=True)
    await say(alice, about["conversation_id"], "there")
    types = [event["type"] for event in await bob.heard()]
    assert sorted(types) == ["MessageReceived", "TypingStarted", "TypingStopped"]
    assert types[0] == "TypingStarted"
    assert (await bob.ask("GetTypingIndicators", **about))["user_ids"] == []


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typing lasts a fifth of a second."""
    monkeypatch.setattr("tradewire.usecases.typing.TYPING_MS", 200)
    monkeypatch.setattr("tradewire.app.TYPING_TURN_S", 0.05)


async def test_typing_stops_by_itself(short_lived: None, connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    await alice.ask("SetTypingIndicator", **about, typing=True)
    await bob.hear("TypingStarted")
    assert await bob.hear("TypingStopped") == {
        "type": "TypingStopped", **about, "user_id": "alice",
    }  # fmt: skip
    assert (await bob.ask("GetTypingIndicators", **about))["user_ids"] == []
    assert await bob.heard("TypingStopped") == []


async def test_typing_is_nothing_to_resume(connect: Connect) -> None:
    alice = await connect("alice")
    about = {"conversation_id": await direct(alice, "bob")}
    await alice.ask("SetTypingIndicator", **about, typing=True)
    bob = await connect("bob", since=0)
    await bob.hear("SyncCompleted")
    assert [event["type"] for event in await bob.heard()] == ["ConversationCreated"]


async def test_presence_reaches_those_who_watch_and_nobody_else(connect: Connect) -> None:
    alice, tablet, carol = [await connect(user) for user in ("alice", "alice", "carol")]
    elsewhere = await connect("alice", tenant="elsewhere")
    await direct(carol, "bob")
    await carol.heard()
    for device in (alice, elsewhere):
        watched = await device.ask("WatchPresence", user_ids=["bob", "dave"])
        assert [s["status"] for s in watched["statuses"]] == ["offline", "offline"]
    bob = await connect("bob")
    assert await alice.hear("UserOnline") == {
        "type": "UserOnline", "user_id": "bob", "status": "online",
    }  # fmt: skip
    second = await connect("bob")
    await second.ask("SetOnlineStatus", status="away")
    assert (await alice.hear("UserOnline"))["status"] == "away"
    await bob.socket.close()
    assert (await status_of(alice, "bob"))["status"] == "away"
    await second.socket.close()
    gone = await alice.hear("UserOffline")
    assert gone["user_id"] == "bob"
    assert datetime.fromisoformat(gone["last_seen"]).tzinfo is not None
    last = {"user_id": "bob", "status": "offline", "last_seen": gone["last_seen"]}

    async def recorded() -> bool:
        return await status_of(alice, "bob") == last

    await eventually(recorded, "when bob was last seen")
    assert await alice.heard() == []
    for device in (tablet, carol, elsewhere):
        assert await device.heard() == []


async def test_watching_is_replaced_and_ended(connect: Connect) -> None:
    alice, witness = await connect("alice"), await connect("alice")
    await witness.ask("WatchPresence", user_ids=["bob", "carol"])
    await alice.ask("WatchPresence", user_ids=["bob"])
    await alice.ask("WatchPresence", user_ids=["carol"])
    await connect("bob")
    await witness.hear("UserOnline")
    assert await alice.heard() == []
    carol = await connect("carol")
    assert (await alice.hear("UserOnline"))["user_id"] == "carol"
    assert (await witness.hear("UserOnline"))["user_id"] == "carol"
    assert (await alice.ask("WatchPresence", user_ids=[]))["statuses"] == []
    await carol.socket.close()
    await witness.hear("UserOffline")
    assert await alice.heard() == []


async def test_the_invisible_look_as_if_they_were_away_from_it_all(connect: Connect) -> None:
    alice = await connect("alice")
    await alice.ask("WatchPresence", user_ids=["bob"])
    bob = await connect("bob")
    await alice.hear("UserOnline")
    await bob.ask("SetOnlineStatus", status="invisible")
    assert (await alice.hear("UserOffline"))["user_id"] == "bob"
    assert (await status_of(alice, "bob"))["status"] == "offline"
    await connect("bob")
    await bob.ask("SetOnlineStatus", status="online")
    assert [event["type"] for event in await alice.heard()] == ["UserOnline"]


async def test_presence_stops_at_a_block_either_way(connect: Connect) -> None:
    witness = await connect("witness")
    await witness.ask("WatchPresence", user_ids=["alice", "bob"])
    blocker, blocked = await connect("alice"), await connect("bob")
    for _ in range(2):
        await witness.hear("UserOnline")
    for device, other in ((blocker, "bob"), (blocked, "alice")):
        await device.ask("WatchPresence", user_ids=[other])
    await blocker.ask("BlockUser", user_id="bob")
    for device in (blocker, blocked):
        await device.ask("SetOnlineStatus", status="away")
        await witness.hear("UserOnline")
    assert await blocker.heard("UserOnline", "UserOffline") == []
    assert await blocked.heard("UserOnline", "UserOffline") == []
    assert await status_of(blocker, "bob") == {"user_id": "bob", "status": "offline"}
    assert await status_of(blocked, "alice") == {"user_id": "alice", "status": "offline"}


async def test_a_device_that_is_replaced_by_a_newer_one_leaves_its_user_online(
    connect: Connect,
) -> None:
    alice = await connect("alice")
    first = await connect("bob", device_id="phone")
    await alice.ask("WatchPresence", user_ids=["bob"])
    await connect("bob", device_id="phone")
    assert await first.closed() == 4409
    assert (await status_of(alice, "bob"))["status"] == "online"
    assert await alice.heard("UserOffline") == []


async def test_coming_and_going_is_told_to_other_services(connect: Connect, http: Call) -> None:
    shop = await http("shop", "service")
    alice = await connect("alice")

    async def told(*types: str) -> bool:
        events = (await shop.ask("GetEvents"))["events"]
        return [event["type"] for event in events] == list(types)

    await eventually(lambda: told("UserOnline"), "UserOnline in the log")
    await alice.socket.close()
    await eventually(lambda: told("UserOnline", "UserOffline"), "UserOffline in the log")
    events = (await shop.ask("GetEvents"))["events"]
    for event in events:
        assert event["subject"] == event["data"]["user_id"] == "alice"
        assert datetime.fromisoformat(event["data"]["last_seen"]).tzinfo is not None
