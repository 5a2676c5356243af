"""Every event reaches every device it should, and none it should not (protocol §5)."""

import asyncio
from typing import Any, TypeAlias

import pytest

from tests.e2e.devices import Call, Connect, Device, HttpCaller, direct, group, say
from tests.e2e.harness import DEADLINE_S, Server
from tests.e2e.marketplace import cloud_event, product

Heard: TypeAlias = dict[str, list[str]]


class Stage:
    """A group of alice (the owner), bob and carol, all with two devices of different protocols,
    and those who must hear nothing of it.

    Attributes:
        id: of the group.
        devices: by name; `alice` is the one that acts, unless it acts over HTTP.
    """

    def __init__(self, id: str, devices: dict[str, Device], over_http: HttpCaller) -> None:
        self.id = id
        self.devices = devices
        self.over_http = over_http

    @property
    def alice(self) -> Device:
        return self.devices["alice"]

    @property
    def bob(self) -> Device:
        return self.devices["bob"]

    async def do(self, command: str, by: str = "alice", **fields: Any) -> dict[str, Any]:
        talker = self.over_http if by == "http" else self.devices[by]
        return await talker.ask(command, conversation_id=self.id, **fields)

    async def heard(self) -> Heard:
        """The types of the events that each device heard since the last time; without those that
        heard nothing.
        """
        types = {
            name: [event["type"] for event in await device.heard()]
            for name, device in self.devices.items()
        }
        return {name: heard for name, heard in types.items() if heard}


ALICE = ("alice", "alice 2")
BOB = ("bob", "bob 2")
CAROL = ("carol", "carol 2")
MEMBERS = (*ALICE, *BOB, *CAROL)
OTHERS = (*BOB, *CAROL)


def to(names: tuple[str, ...], *types: str) -> Heard:
    return {name: list(types) for name in names}


@pytest.fixture
async def stage(connect: Connect, http: Call) -> Stage:
    devices: dict[str, Device] = {}
    for user in ("alice", "bob", "carol", "erin", "stranger"):
        devices[user] = await connect(user)
        devices[f"{user} 2"] = await connect(user, protocol="msgpack")
    devices["bob elsewhere"] = await connect("bob", tenant="elsewhere")
    conversation = await group(devices["alice"], "bob", "carol", "erin")
    about = {"conversation_id": conversation}
    await devices["alice"].ask("RemoveMember", **about, user_id="erin")
    for device in devices.values():
        await device.heard()
    return Stage(conversation, devices, await http("alice"))


async def test_a_message_reaches_all_but_the_connection_that_sent_it(stage: Stage) -> None:
    sent = await stage.do("SendMessage", text="hello", key="k", metadata={"a": 1}, language="en")
    event = await stage.bob.hear("MessageReceived")
    assert event == {"type": "MessageReceived", "message": sent["message"]}
    assert sent["message"]["sender_id"] == "alice"
    rest = to(("alice 2", "bob 2", *CAROL), "MessageReceived")
    assert await stage.heard() == rest


async def test_a_message_over_http_reaches_all_devices_of_its_sender(stage: Stage) -> None:
    await stage.do("SendMessage", by="http", text="hello")
    assert await stage.heard() == to(MEMBERS, "MessageReceived")


async def test_what_is_refused_reaches_nobody(stage: Stage) -> None:
    await stage.alice.refused("SendMessage", conversation_id=stage.id, text="")
    await stage.devices["stranger"].refused("SendMessage", conversation_id=stage.id, text="hi")
    await stage.devices["erin"].refused("SendMessage", conversation_id=stage.id, text="hi")
    await stage.bob.refused("UpdateConversation", conversation_id=stage.id, title="Mine")
    assert await stage.heard() == {}


async def test_a_repeated_send_reaches_nobody_again(stage: Stage) -> None:
    await stage.do("SendMessage", text="hello", key="k")
    await stage.heard()
    assert (await stage.do("SendMessage", text="hello", key="k"))["duplicate"] is True
    assert (await stage.do("SendMessage", by="http", text="hello", key="k"))["duplicate"] is True
    assert await stage.heard() == {}


async def test_an_edit_and_a_deletion_reach_all_members(stage: Stage) -> None:
    (message,) = await say(stage.alice, stage.id, "hello")
    await stage.heard()
    edited = await stage.do("EditMessage", message_id=message, text="hullo", metadata={"b": 2})
    heard = await stage.bob.hear("MessageEdited")
    assert heard["message"] == edited["message"]
    assert (heard["message"]["text"], heard["message"]["metadata"]) == ("hullo", {"b": 2})
    assert "edited_at" in heard["message"]
    assert int(heard["change_id"]) > int(message)
    assert await stage.heard() == to(tuple(n for n in MEMBERS if n != "bob"), "MessageEdited")
    await stage.do("DeleteMessage", message_id=message)
    gone = (await stage.bob.hear("MessageDeleted"))["message"]
    assert (gone["message_id"], gone["deleted"]) == (message, True)
    assert "text" not in gone
    assert "metadata" not in gone
    assert await stage.heard() == to(tuple(n for n in MEMBERS if n != "bob"), "MessageDeleted")
    await stage.do("DeleteMessage", message_id=message)
    assert await stage.heard() == {}


async def test_receipts_reach_all_members(stage: Stage) -> None:
    first, second = await say(stage.alice, stage.id, "one", "two")
    await stage.heard()
    await stage.do("MarkMessagesAsDelivered", by="bob", up_to=second)
    told = await stage.alice.hear("MessageDelivered")
    assert (told["conversation_id"], told["user_id"], told["up_to"]) == (stage.id, "bob", second)
    await stage.do("MarkMessagesAsRead", by="bob", up_to=first)
    told = await stage.alice.hear("MessageRead")
    assert (told["conversation_id"], told["user_id"], told["up_to"]) == (stage.id, "bob", first)
    everyone_else = tuple(name for name in MEMBERS if name != "alice")
    assert await stage.heard() == to(everyone_else, "MessageDelivered", "MessageRead")
    await stage.do("MarkMessagesAsDelivered", by="bob", up_to=first)
    await stage.do("MarkMessagesAsRead", by="bob", up_to=first)
    assert await stage.heard() == {}


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("ArchiveConversation", {"archived": True}),
        ("PinConversation", {"pinned": True}),
        ("MuteConversation", {"until": "2099-01-01T00:00:00.000Z"}),
    ],
)
@pytest.mark.parametrize("by", ["alice", "http"])
async def test_own_settings_reach_own_devices_only(
    stage: Stage, command: str, fields: dict[str, Any], by: str
) -> None:
    shown = (await stage.do(command, by=by, **fields))["conversation"]
    event = await stage.devices["alice 2"].hear("ConversationUpdated")
    assert event["conversation"].items() <= shown.items()
    assert {"archived", "pinned"} <= event["conversation"].keys()
    assert event["conversation"].get("muted_until") == shown.get("muted_until")
    assert await stage.heard() == to(("alice",), "ConversationUpdated")


async def test_hiding_reaches_own_devices_only(stage: Stage) -> None:
    await stage.do("DeleteConversation")
    event = await stage.devices["alice 2"].hear("ConversationDeleted")
    assert event["conversation_id"] == stage.id
    assert await stage.heard() == to(("alice",), "ConversationDeleted")


async def test_a_changed_conversation_reaches_all_members(stage: Stage) -> None:
    await stage.do("UpdateConversation", title="Another", metadata={"a": 1}, status="closed")
    told = (await stage.bob.hear("ConversationUpdated"))["conversation"]
    assert (told["title"], told["metadata"], told["status"]) == ("Another", {"a": 1}, "closed")
    for own in ("archived", "pinned", "muted_until", "unread_count"):
        assert own not in told
    assert await stage.heard() == to((*ALICE, "bob 2", *CAROL), "ConversationUpdated")


async def test_members_who_come_and_go_hear_of_themselves(stage: Stage) -> None:
    strangers = ("stranger", "stranger 2")
    await stage.do("AddMembers", user_ids=["stranger", "bob"])
    told = await stage.devices["stranger"].hear("MemberAdded")
    assert (told["conversation_id"], told["user_id"]) == (stage.id, "stranger")
    assert told["member"]["role"] == "member"
    assert await stage.heard() == to((*MEMBERS, "stranger 2"), "MemberAdded")
    await stage.do("SetMemberRole", user_id="stranger", role="moderator")
    told = await stage.devices["stranger"].hear("MemberRoleChanged")
    assert (told["user_id"], told["role"]) == ("stranger", "moderator")
    assert await stage.heard() == to((*MEMBERS, "stranger 2"), "MemberRoleChanged")
    await stage.do("RemoveMember", user_id="stranger")
    told = await stage.devices["stranger"].hear("MemberRemoved")
    assert (told["conversation_id"], told["user_id"]) == (stage.id, "stranger")
    assert await stage.heard() == to((*MEMBERS, "stranger 2"), "MemberRemoved")
    await say(stage.alice, stage.id, "among ourselves")
    assert not (await stage.heard()).keys() & strangers


async def test_who_leaves_hears_no_more(stage: Stage) -> None:
    await stage.do("RemoveMember", by="carol", user_id="carol")
    assert await stage.heard() == to(MEMBERS, "MemberRemoved")
    await stage.do("SendMessage", text="carol is gone")
    await stage.do("SetTypingIndicator", typing=True)
    await stage.do("UpdateConversation", title="Without carol")
    heard = await stage.heard()
    assert heard.keys() == {*ALICE, *BOB}


async def test_a_deleted_group_reaches_all_members(stage: Stage) -> None:
    await stage.do("DeleteConversation", scope="everyone")
    told = await stage.bob.hear("ConversationDeleted")
    assert told["conversation_id"] == stage.id
    assert await stage.heard() == to((*ALICE, "bob 2", *CAROL), "ConversationDeleted")


async def test_a_new_group_reaches_its_members(stage: Stage) -> None:
    conversation = await group(stage.alice, "bob")
    told = (await stage.bob.hear("ConversationCreated"))["conversation"]
    assert (told["conversation_id"], told["created_by"]) == (conversation, "alice")
    assert [member["user_id"] for member in told["members"]] == ["alice", "bob"]
    assert await stage.heard() == to((*ALICE, "bob 2"), "ConversationCreated")


async def test_a_direct_conversation_reaches_both_when_it_is_made(stage: Stage) -> None:
    await direct(stage.alice, "bob")
    assert await stage.heard() == to((*ALICE, *BOB), "ConversationCreated")
    await direct(stage.bob, "alice")
    assert await stage.heard() == {}


async def test_a_block_is_told_to_the_one_who_blocks(stage: Stage) -> None:
    await stage.alice.ask("BlockUser", user_id="bob")
    told = await stage.devices["alice 2"].hear("UserBlocked")
    assert (told["user_id"], told["blocked"]) == ("bob", True)
    assert await stage.heard() == to(("alice",), "UserBlocked")
    await stage.alice.ask("BlockUser", user_id="bob")
    assert await stage.heard() == {}
    await stage.alice.ask("UnblockUser", user_id="bob")
    told = await stage.devices["alice 2"].hear("UserBlocked")
    assert (told["user_id"], told["blocked"]) == ("bob", False)
    assert await stage.heard() == to(("alice",), "UserBlocked")


async def test_across_a_block_nothing_passes_in_a_direct_conversation(stage: Stage) -> None:
    conversation = await direct(stage.alice, "bob")
    about = {"conversation_id": conversation}
    (message,) = await say(stage.alice, conversation, "hello")
    await stage.bob.ask("BlockUser", user_id="alice")
    await stage.heard()
    await stage.alice.refused("SendMessage", **about, text="more")
    await stage.alice.refused("EditMessage", **about, message_id=message, text="changed")
    for active in (stage.alice, stage.bob):
        await active.ask("SetTypingIndicator", **about, typing=True)
        await active.ask("SetTypingIndicator", **about, typing=False)
    await stage.bob.ask("MarkMessagesAsDelivered", **about, up_to=message)
    await stage.bob.ask("MarkMessagesAsRead", **about, up_to=message)
    assert await stage.heard() == to(BOB, "MessageDelivered", "MessageRead")


async def test_across_a_block_typing_and_receipts_stop_in_a_group(stage: Stage) -> None:
    (message,) = await say(stage.alice, stage.id, "hello")
    await stage.bob.ask("BlockUser", user_id="alice")
    await stage.heard()
    await stage.do("SetTypingIndicator", by="bob", typing=True)
    assert (await stage.do("GetTypingIndicators", by="carol"))["user_ids"] == ["bob"]
    assert (await stage.do("GetTypingIndicators"))["user_ids"] == []
    await stage.do("MarkMessagesAsRead", by="bob", up_to=message)
    assert await stage.heard() == to(CAROL, "TypingStarted", "MessageRead") | to(BOB, "MessageRead")


async def test_every_change_has_an_id_of_its_own_and_they_ascend(stage: Stage) -> None:
    await stage.do("SendMessage", text="one")
    sent = await stage.do("SendMessage", text="two")
    message = sent["message"]["message_id"]
    await stage.do("EditMessage", message_id=message, text="three")
    await stage.do("MarkMessagesAsRead", by="carol", all=True)
    await stage.do("UpdateConversation", title="Four")
    await stage.do("AddMembers", user_ids=["stranger"])
    await stage.do("SetMemberRole", user_id="stranger", role="admin")
    await stage.do("RemoveMember", user_id="stranger")
    await stage.do("DeleteMessage", message_id=message)
    await stage.do("DeleteConversation", scope="everyone")
    events = await stage.bob.heard()
    ids = [int(event.get("change_id") or event["message"]["message_id"]) for event in events]
    assert len(ids) == 10
    assert ids == sorted(set(ids))
    assert int((await stage.bob.ask("Ping"))["cursor"]) >= ids[-1]


async def test_events_of_a_conversation_arrive_in_the_order_of_their_ids(stage: Stage) -> None:
    witness = stage.devices["alice 2"]
    (message,) = await say(stage.alice, stage.id, "to be edited")
    about = {"conversation_id": stage.id}
    for number in range(30):
        for _ in range(5):
            await stage.bob.put({"type": "SendMessage", **about, "text": "hello"})
        await stage.devices["carol"].put({"type": "MarkMessagesAsRead", **about, "all": True})
        await stage.alice.put({"type": "PinConversation", **about, "pinned": number % 2 == 0})
        await stage.alice.put({"type": "EditMessage", **about, "message_id": message, "text": "x"})
    for device in (stage.alice, stage.bob, stage.devices["carol"]):
        await device.ask("Ping")
    ids = [
        int(event.get("change_id") or event["message"]["message_id"])
        for event in await witness.heard()
    ]
    assert len(ids) > 200
    assert ids == sorted(ids)


async def test_own_settings_keep_that_order_however_long_a_read_takes(
    stage: Stage, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = server.node._store.conversations
    view, asked, overtaken = reads.view, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> Any:
        asked.set()
        async with asyncio.timeout(DEADLINE_S):
            await overtaken.wait()
        return await view(*args)

    monkeypatch.setattr(reads, "view", slow)
    witness = stage.devices["alice 2"]
    await stage.alice.put({
        "type": "PinConversation", "id": "pin", "conversation_id": stage.id, "pinned": True,
    })  # fmt: skip
    await asyncio.wait_for(asked.wait(), DEADLINE_S)
    await say(stage.bob, stage.id, "meanwhile")
    overtaken.set()
    await stage.alice.reply("pin")
    events = await witness.heard()
    ids = [int(event.get("change_id") or event["message"]["message_id"]) for event in events]
    assert len(ids) == 2
    assert ids == sorted(ids)


async def test_in_a_large_group_receipts_and_typing_stay_with_their_owner(stage: Stage) -> None:
    for start in (0, 100):
        crowd = [f"member-{number}" for number in range(start, start + 100)]
        await stage.do("AddMembers", user_ids=crowd)
    (message,) = await say(stage.alice, stage.id, "hello, all of you")
    await stage.heard()
    await stage.do("SetTypingIndicator", by="bob", typing=True)
    await stage.do("MarkMessagesAsRead", by="bob", up_to=message)
    assert await stage.heard() == to(BOB, "MessageRead")
    shown = (await stage.do("GetConversation", by="bob"))["conversation"]
    assert (shown["unread_count"], shown["member_count"]) == (0, 203)


@pytest.fixture
async def shown(stage: Stage, http: Call) -> HttpCaller:
    """The marketplace, once a product's card is shown in the group."""
    shop = await http("shop", "service")
    await shop.ask("TakeEvents", **cloud_event("ProductUpdated", **product("p-1", 1)))
    await stage.do("SendMessage", content_type="product", metadata={"product_id": "p-1"})
    await stage.heard()
    return shop


async def test_a_changed_product_reaches_those_who_see_its_card(
    stage: Stage, shown: HttpCaller
) -> None:
    await shown.ask("TakeEvents", **cloud_event("ProductUpdated", **product("p-1", 2)))
    told = await stage.bob.hear("ProductUpdated")
    assert told["conversation_id"] == stage.id
    assert told["product"] == product("p-1", 2)
    assert await stage.heard() == to((*ALICE, "bob 2", *CAROL), "ProductUpdated")
    await shown.ask("TakeEvents", **cloud_event("ProductUpdated", **product("p-2", 1)))
    assert await stage.heard() == {}
