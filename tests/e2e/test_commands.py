"""What each command answers, over each transport (protocol §4)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.authorization_calls import TWINS
from tests.e2e.devices import Call, Connect, Talk, direct, group, say
from tests.e2e.marketplace import cloud_event, product
from tradewire.domain.commands import COMMANDS

ONLY_ON_A_CONNECTION = {"WatchPresence", "RefreshToken", "Ping"}


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [message["message_id"] for message in messages]


def roles(members: list[dict[str, Any]]) -> dict[str, str]:
    return {member["user_id"]: member["role"] for member in members}


async def test_every_command_has_its_twin() -> None:
    assert {command.__name__ for command in COMMANDS} <= TWINS.keys() | ONLY_ON_A_CONNECTION


@pytest.mark.parametrize(
    "about",
    [
        {"user_id": "bob"},
        {"listing_id": "bike-7", "seller_id": "bob"},
        {"product_id": "p:1", "seller_id": "bob"},
    ],
    ids=lambda about: next(iter(about)),
)
async def test_a_direct_conversation_is_made_once(talk: Talk, about: dict[str, str]) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    first = await alice.ask("CreateConversation", **about, metadata={"from": "the shop"})
    made = first["conversation"]
    assert first["created"] is True
    assert (made["kind"], made["status"], made["created_by"]) == ("direct", "open", "alice")
    assert roles(made["members"]) == {"alice": "member", "bob": "member"}
    assert made["member_count"] == 2
    assert made["metadata"] == {"from": "the shop"}
    for field in ("listing_id", "product_id"):
        assert made.get(field) == about.get(field)
    theirs = {"user_id": "alice"} if "user_id" in about else _as_seller(about)
    for talker, fields in ((alice, about), (bob, theirs)):
        again = await talker.ask("CreateConversation", **fields)
        assert again["created"] is False
        assert again["conversation"]["conversation_id"] == made["conversation_id"]


def _as_seller(about: dict[str, str]) -> dict[str, str]:
    return {**about, "buyer_id": "alice"}


async def test_each_context_has_its_own_direct_conversation(talk: Talk) -> None:
    alice = await talk("alice")
    contexts = [
        {"user_id": "bob"},
        {"user_id": "carol"},
        {"listing_id": "x", "seller_id": "bob"},
        {"product_id": "x", "seller_id": "bob"},
        {"listing_id": "y", "seller_id": "bob"},
        {"listing_id": "x", "seller_id": "carol"},
    ]
    made = [await alice.ask("CreateConversation", **context) for context in contexts]
    assert len({result["conversation"]["conversation_id"] for result in made}) == len(contexts)


async def test_of_those_who_create_at_once_one_has_created(talk: Talk) -> None:
    pairs = [await talk("alice" if number % 2 else "bob") for number in range(6)]
    made = await asyncio.gather(
        *(
            talker.ask("CreateConversation", user_id="bob" if number % 2 else "alice")
            for number, talker in enumerate(pairs)
        )
    )
    assert len({result["conversation"]["conversation_id"] for result in made}) == 1
    assert sum(result["created"] for result in made) == 1


async def test_the_catalogue_knows_the_seller(talk: Talk, http: Call) -> None:
    shop, alice, bob = await http("shop", "service"), await talk("alice"), await talk("bob")
    card = product("p-1", 1, seller_id="bob")
    await shop.ask("TakeEvents", **cloud_event("ProductUpdated", **card))
    made = await alice.ask("CreateConversation", product_id="p-1")
    assert set(roles(made["conversation"]["members"])) == {"alice", "bob"}
    same = await bob.ask("CreateConversation", product_id="p-1", buyer_id="alice")
    assert same["created"] is False
    error = await alice.refused("CreateConversation", product_id="p-1", seller_id="mallory")
    assert (error["code"], error["field"]) == ("invalid_field", "seller_id")


@pytest.mark.parametrize("kind", ["group", "channel"])
async def test_a_group_is_made_anew_each_time(talk: Talk, kind: str) -> None:
    alice = await talk("alice")
    fields = {"kind": kind, "title": "Club", "member_ids": ["bob", "carol", "bob", "alice"]}
    first, second = [await alice.ask("CreateConversation", **fields) for _ in range(2)]
    made = first["conversation"]
    assert first["created"] is second["created"] is True
    assert made["conversation_id"] != second["conversation"]["conversation_id"]
    assert (made["kind"], made["title"], made["member_count"]) == (kind, "Club", 3)
    assert roles(made["members"]) == {"alice": "owner", "bob": "member", "carol": "member"}
    bob = await talk("bob")
    shown = await bob.ask("GetConversation", conversation_id=made["conversation_id"])
    assert roles(shown["conversation"]["members"]) == roles(made["members"])


async def test_a_conversation_is_shown_as_its_reader_has_it(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    conversation = await group(alice, "bob")
    (first, second) = await say(alice, conversation, "one", "two")
    about = {"conversation_id": conversation}
    shown = (await bob.ask("GetConversation", **about))["conversation"]
    assert shown["last_message"]["message_id"] == second
    assert (shown["unread_count"], shown["archived"], shown["pinned"]) == (2, False, False)
    assert "muted_until" not in shown
    await bob.ask("MarkMessagesAsRead", **about, up_to=first)
    shown = (await bob.ask("GetConversation", **about))["conversation"]
    assert shown["unread_count"] == 1
    markers = {m["user_id"]: m["last_read_id"] for m in shown["members"]}
    assert markers == {"alice": second, "bob": first}
    assert (await alice.ask("GetConversation", **about))["conversation"]["unread_count"] == 0


async def test_a_conversation_is_updated_and_what_is_left_out_stays(talk: Talk) -> None:
    alice = await talk("alice")
    about = {"conversation_id": await group(alice, "bob")}
    await alice.ask("UpdateConversation", **about, metadata={"a": 1})
    await alice.ask("UpdateConversation", **about, title="Another")
    changed = await alice.ask("UpdateConversation", **about, status="closed")
    shown = (await alice.ask("GetConversation", **about))["conversation"]
    for conversation in (changed["conversation"], shown):
        assert (conversation["title"], conversation["status"]) == ("Another", "closed")
        assert conversation["metadata"] == {"a": 1}
    error = await alice.refused("SendMessage", **about, text="too late")
    assert (error["code"], error["status"]) == ("conversation_closed", 403)
    await alice.ask("UpdateConversation", **about, status="open", metadata=None)
    shown = (await alice.ask("GetConversation", **about))["conversation"]
    assert (shown["status"], shown.get("metadata")) == ("open", None)
    await say(alice, about["conversation_id"], "open again")


async def test_archive_mute_and_pin_are_the_callers_own(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    until = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%S}.250Z"
    changes: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("ArchiveConversation", {"archived": True}, {"archived": True}),
        ("PinConversation", {"pinned": True}, {"pinned": True}),
        ("MuteConversation", {"until": until}, {"muted_until": until}),
        ("ArchiveConversation", {"archived": False}, {"archived": False}),
        ("PinConversation", {"pinned": False}, {"pinned": False}),
        ("MuteConversation", {"until": None}, {"muted_until": None}),
        ("MuteConversation", {"until": "2020-01-01T00:00:00Z"}, {"muted_until": None}),
    ]
    for command, fields, expected in changes:
        result = await alice.ask(command, **about, **fields)
        read = await alice.ask("GetConversation", **about)
        theirs = (await bob.ask("GetConversation", **about))["conversation"]
        for conversation in (result["conversation"], read["conversation"]):
            assert {name: conversation.get(name) for name in expected} == expected
        assert (theirs["archived"], theirs["pinned"]) == (False, False)
        assert "muted_until" not in theirs


async def test_a_conversation_deleted_for_oneself_returns_with_a_message(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    conversation = await direct(alice, "bob")
    (first,) = await say(alice, conversation, "one")
    assert await bob.ask("DeleteConversation", conversation_id=conversation) == {}
    assert (await bob.ask("GetUserConversations"))["conversations"] == []
    assert (await bob.ask("GetUnreadCount"))["total"] == 0
    assert len((await alice.ask("GetUserConversations"))["conversations"]) == 1
    (second,) = await say(alice, conversation, "two")
    (shown,) = (await bob.ask("GetUserConversations"))["conversations"]
    assert shown["conversation_id"] == conversation
    page = await bob.ask("GetMessages", conversation_id=conversation)
    assert ids(page["messages"]) == [first, second]


async def test_a_group_deleted_for_everyone_is_gone(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    about = {"conversation_id": await group(alice, "bob")}
    (message,) = await say(alice, about["conversation_id"], "soon gone")
    error = await bob.refused("DeleteConversation", **about, scope="everyone")
    assert (error["code"], error["status"]) == ("forbidden", 403)
    await alice.ask("DeleteConversation", **about, scope="everyone")
    for talker in (alice, bob):
        for command in ("GetConversation", "GetMessages", "GetMembers"):
            assert (await talker.refused(command, **about))["code"] == "not_found"
        error = await talker.refused("GetMessage", **about, message_id=message)
        assert error["code"] == "not_found"
        assert (await talker.ask("GetUserConversations"))["conversations"] == []


async def test_a_direct_conversation_deleted_for_everyone_begins_anew(talk: Talk) -> None:
    alice, bob, root = await talk("alice"), await talk("bob"), await talk("root", "admin")
    about = {"conversation_id": await direct(alice, "bob")}
    await alice.ask("SendMessage", **about, text="before", key="k")
    await bob.ask("PinConversation", **about, pinned=True)
    error = await alice.refused("DeleteConversation", **about, scope="everyone")
    assert (error["code"], error["status"]) == ("forbidden", 403)
    await root.ask("DeleteConversation", **about, scope="everyone")
    again = await bob.ask("CreateConversation", user_id="alice")
    assert again["created"] is True
    made = again["conversation"]
    assert made["conversation_id"] == about["conversation_id"]
    assert (made["pinned"], made["unread_count"], made.get("last_message")) == (False, 0, None)
    sent = await alice.ask("SendMessage", **about, text="after", key="k")
    assert sent["duplicate"] is False
    page = await bob.ask("GetMessages", **about)
    assert ids(page["messages"]) == [sent["message"]["message_id"]]


async def test_members_come_and_go(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    about = {"conversation_id": await group(alice, "bob")}
    added = await alice.ask("AddMembers", **about, user_ids=["carol", "dave", "bob"])
    assert roles(added["members"]) == {"carol": "member", "dave": "member", "bob": "member"}
    changed = await alice.ask("SetMemberRole", **about, user_id="carol", role="moderator")
    assert roles(changed["members"]) == {"carol": "moderator"}
    assert (await alice.ask("RemoveMember", **about, user_id="dave"))["members"] == []
    assert (await bob.ask("RemoveMember", **about, user_id="bob"))["members"] == []
    assert (await bob.refused("GetConversation", **about))["code"] == "not_found"
    read = await alice.ask("GetMembers", **about)
    assert roles(read["members"]) == {"alice": "owner", "carol": "moderator"}
    assert read["next_cursor"] is None
    shown = (await alice.ask("GetConversation", **about))["conversation"]
    assert shown["member_count"] == 2


async def test_the_last_owner_stays_until_there_is_another(talk: Talk) -> None:
    alice = await talk("alice")
    about = {"conversation_id": await group(alice, "bob")}
    for command, fields in (
        ("RemoveMember", {"user_id": "alice"}),
        ("SetMemberRole", {"user_id": "alice", "role": "member"}),
    ):
        error = await alice.refused(command, **about, **fields)
        assert (error["code"], error["status"]) == ("conflict", 409)
    await alice.ask("SetMemberRole", **about, user_id="bob", role="owner")
    await alice.ask("RemoveMember", **about, user_id="alice")


async def test_members_are_paged(talk: Talk) -> None:
    alice = await talk("alice")
    everyone = sorted(["alice", *(f"user-{number:03}" for number in range(60))])
    about = {"conversation_id": await group(alice, *everyone[1:])}
    shown = (await alice.ask("GetConversation", **about))["conversation"]
    assert (len(shown["members"]), shown["member_count"]) == (50, 61)
    page = await alice.ask("GetMembers", **about, limit=25)
    found = page["members"]
    while page["next_cursor"] is not None:
        page = await alice.ask("GetMembers", **about, limit=25, cursor=page["next_cursor"])
        found += page["members"]
    assert [member["user_id"] for member in found] == everyone


async def test_typing_is_told_while_it_lasts(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    assert await alice.ask("SetTypingIndicator", **about, typing=True) == {}
    assert (await bob.ask("GetTypingIndicators", **about))["user_ids"] == ["alice"]
    await alice.ask("SetTypingIndicator", **about, typing=False)
    assert (await bob.ask("GetTypingIndicators", **about))["user_ids"] == []


async def test_presence_is_told_of_those_asked_about(talk: Talk, connect: Connect) -> None:
    await connect("bob")
    alice = await talk("alice")
    asked = await alice.ask("GetOnlineStatus", user_ids=["bob", "nobody", "bob"])
    assert asked["statuses"] == [
        {"user_id": "bob", "status": "online"},
        {"user_id": "nobody", "status": "offline"},
    ]
    bob = await talk("bob")
    for chosen, shown in (("away", "away"), ("invisible", "offline"), ("online", "online")):
        own = await bob.ask("SetOnlineStatus", status=chosen)
        assert [status["status"] for status in own["statuses"]] == [shown]
        (status,) = (await alice.ask("GetOnlineStatus", user_ids=["bob"]))["statuses"]
        assert status["status"] == shown
        assert ("last_seen" in status) == (shown == "offline")


async def test_blocks_stop_a_direct_conversation_both_ways(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    (message,) = await say(alice, about["conversation_id"], "before")
    assert await bob.ask("BlockUser", user_id="alice") == {}
    assert await bob.ask("BlockUser", user_id="alice") == {}
    assert (await bob.ask("GetBlockedUsers"))["user_ids"] == ["alice"]
    assert (await alice.ask("GetBlockedUsers"))["user_ids"] == []
    for talker in (alice, bob):
        error = await talker.refused("SendMessage", **about, text="after")
        assert (error["code"], error["status"]) == ("blocked", 403)
        page = await talker.ask("GetMessages", **about)
        assert ids(page["messages"]) == [message]
    error = await alice.refused("EditMessage", **about, message_id=message, text="changed")
    assert error["code"] == "blocked"
    error = await alice.refused("CreateConversation", listing_id="new", seller_id="bob")
    assert error["code"] == "blocked"
    assert await bob.ask("UnblockUser", user_id="alice") == {}
    assert (await bob.ask("GetBlockedUsers"))["user_ids"] == []
    await say(alice, about["conversation_id"], "after")


async def test_a_channel_is_written_by_those_who_run_it(talk: Talk) -> None:
    alice, bob, carol = await talk("alice"), await talk("bob"), await talk("carol")
    about = {"conversation_id": await group(alice, "bob", "carol", kind="channel")}
    await alice.ask("SetMemberRole", **about, user_id="bob", role="moderator")
    await say(alice, about["conversation_id"], "by the owner")
    await say(bob, about["conversation_id"], "by a moderator")
    error = await carol.refused("SendMessage", **about, text="me too")
    assert (error["code"], error["status"]) == ("read_only", 403)
    page = await carol.ask("GetMessages", **about)
    assert [m["sender_id"] for m in page["messages"]] == ["alice", "bob"]
    assert (await carol.ask("MarkMessagesAsRead", **about, all=True))["marked_count"] == 2


async def test_tenants_do_not_know_each_other(talk: Talk) -> None:
    alice, twin = await talk("alice"), await talk("alice", tenant="elsewhere")
    about = {"conversation_id": await direct(alice, "bob")}
    await say(alice, about["conversation_id"], "hello")
    for command in ("GetConversation", "GetMessages", "GetMembers", "GetTypingIndicators"):
        assert (await twin.refused(command, **about))["code"] == "not_found"
    assert (await twin.refused("SendMessage", **about, text="hi"))["code"] == "not_found"
    assert (await twin.ask("GetUserConversations"))["conversations"] == []
    made = await twin.ask("CreateConversation", user_id="bob")
    assert made["created"] is True
    assert made["conversation"]["conversation_id"] != about["conversation_id"]


async def test_http_says_what_was_created(http: Call) -> None:
    alice = await http("alice")
    conversation = await direct(alice, "bob")
    assert alice.status == 201
    assert await direct(alice, "bob") == conversation
    assert alice.status == 200
    message = {"conversation_id": conversation, "text": "once", "key": "k"}
    await alice.ask("SendMessage", **message)
    assert alice.status == 201
    await alice.ask("SendMessage", **message)
    assert alice.status == 200
    await alice.ask("GetMessages", conversation_id=conversation)
    assert alice.status == 200


async def test_http_lists_are_separated_by_commas_or_repeated(http: Call) -> None:
    alice = await http("alice")
    for query, users in (
        ("user_ids=a,b&user_ids=c", ["a", "b", "c"]),
        ("user_ids=x@y.z:1_-", ["x@y.z:1_-"]),
        ("user_ids=", []),
    ):
        answer = await alice.request("GET", f"/v1/presence?{query}")
        assert [status["user_id"] for status in answer["statuses"]] == users


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "/v1/conversations", 405, "bad_request"),
        ("DELETE", "/v1/messages", 405, "bad_request"),
        ("POST", "/v1/unread", 405, "bad_request"),
        ("GET", "/v1/nothing", 404, "not_found"),
    ],
)
async def test_http_refuses_what_it_does_not_know(
    http: Call, method: str, path: str, status: int, code: str
) -> None:
    alice = await http("alice")
    body = await alice.request(method, path)
    assert (alice.status, body["status"], body["code"]) == (status, status, code)
    assert alice.headers["Content-Type"].startswith("application/problem+json")


async def test_http_needs_json(http: Call) -> None:
    alice = await http("alice")
    for options, status, code in (
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "bad_request"),
        ({"json": ["not", "an", "object"]}, 400, "bad_request"),
        ({"data": b"user_id=bob"}, 415, "unsupported_media_type"),
        ({"json": {"user_id": "bob", "metadata": {"a": "x" * 70_000}}}, 413, "too_large"),
    ):
        body = await alice.request("POST", "/v1/conversations", **options)
        assert (alice.status, body["code"]) == (status, code)
    assert (await alice.ask("GetUserConversations"))["conversations"] == []
