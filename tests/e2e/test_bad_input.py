"""What each command refuses, with the field named; nothing is stored (protocol §1, §4, §6)."""

import json
from typing import Any

import pytest

from tests.e2e.devices import (
    SUBPROTOCOLS,
    Call,
    Connect,
    Subprotocol,
    Talk,
    Talker,
    direct,
    group,
    say,
)

Row = tuple[str, dict[str, Any], str, str | None]
"""A command, its fields, the code and the field of the error."""

NOWHERE = "00000000-0000-8000-8000-000000000000"
NAMES = [f"user-{number}" for number in range(201)]

CONVERSATIONS: list[Row] = [
    ("CreateConversation", {}, "invalid_field", "user_id"),
    ("CreateConversation", {"user_id": "two words"}, "invalid_field", "user_id"),
    ("CreateConversation", {"user_id": ""}, "invalid_field", "user_id"),
    ("CreateConversation", {"user_id": "x" * 129}, "invalid_field", "user_id"),
    ("CreateConversation", {"user_id": "line\n"}, "invalid_field", "user_id"),
    ("CreateConversation", {"user_id": 7}, "invalid_field", "user_id"),
    ("CreateConversation", {"user_id": "alice"}, "invalid_field", "user_id"),
    ("CreateConversation", {"user_id": "x", "listing_id": "y"}, "invalid_field", "user_id"),
    ("CreateConversation", {"listing_id": "y"}, "invalid_field", "seller_id"),
    ("CreateConversation", {"product_id": "y"}, "invalid_field", "seller_id"),
    (
        "CreateConversation",
        {"listing_id": "y", "seller_id": "alice"},
        "invalid_field",
        "buyer_id",
    ),
    ("CreateConversation", {"kind": "party", "title": "x"}, "invalid_field", "kind"),
    ("CreateConversation", {"kind": "group", "title": ""}, "invalid_field", "title"),
    ("CreateConversation", {"kind": "group", "title": "x" * 201}, "invalid_field", "title"),
    ("CreateConversation", {"kind": "group", "title": "\0"}, "invalid_field", "title"),
    ("CreateConversation", {"kind": "group", "user_id": "bob"}, "invalid_field", "user_id"),
    ("CreateConversation", {"kind": "group", "member_ids": "bob"}, "invalid_field", "member_ids"),
    ("CreateConversation", {"kind": "group", "member_ids": ["?"]}, "invalid_field", "member_ids"),
    ("CreateConversation", {"kind": "group", "member_ids": NAMES}, "invalid_field", "member_ids"),
    ("CreateConversation", {"user_id": "x", "metadata": []}, "invalid_field", "metadata"),
    (
        "CreateConversation",
        {"user_id": "x", "metadata": {"a": "x" * 8192}},
        "too_large",
        "metadata",
    ),
    ("GetConversation", {"conversation_id": "nope"}, "invalid_field", "conversation_id"),
    ("GetConversation", {"conversation_id": NOWHERE}, "not_found", "conversation_id"),
    ("GetConversation", {"conversation_id": "A" * 36}, "invalid_field", "conversation_id"),
    ("GetUserConversations", {"limit": 0}, "invalid_field", "limit"),
    ("GetUserConversations", {"limit": 101}, "invalid_field", "limit"),
    ("GetUserConversations", {"limit": "many"}, "invalid_field", "limit"),
    ("GetUserConversations", {"sort": "colour"}, "invalid_field", "sort"),
    ("GetUserConversations", {"order": "down"}, "invalid_field", "order"),
    ("GetUserConversations", {"archived": "maybe"}, "invalid_field", "archived"),
    ("GetUserConversations", {"muted": "maybe"}, "invalid_field", "muted"),
    ("GetUserConversations", {"unread": "maybe"}, "invalid_field", "unread"),
    ("GetUserConversations", {"status": "gone"}, "invalid_field", "status"),
    ("GetUserConversations", {"listing_id": "?"}, "invalid_field", "listing_id"),
    ("GetUserConversations", {"cursor": "elsewhere"}, "invalid_field", "cursor"),
    ("UpdateConversation", {"status": "gone"}, "invalid_field", "status"),
    ("UpdateConversation", {"title": ""}, "invalid_field", "title"),
    ("UpdateConversation", {"title": None}, "invalid_field", "title"),
    ("UpdateConversation", {"metadata": "text"}, "invalid_field", "metadata"),
    ("ArchiveConversation", {}, "invalid_field", "archived"),
    ("ArchiveConversation", {"archived": "yes"}, "invalid_field", "archived"),
    ("PinConversation", {"pinned": 1}, "invalid_field", "pinned"),
    ("MuteConversation", {}, "invalid_field", "until"),
    ("MuteConversation", {"until": "tomorrow"}, "invalid_field", "until"),
    ("MuteConversation", {"until": "2030-01-01T00:00:00"}, "invalid_field", "until"),
    ("MuteConversation", {"until": 1_900_000_000}, "invalid_field", "until"),
    ("DeleteConversation", {"scope": "all"}, "invalid_field", "scope"),
]

MEMBERS: list[Row] = [
    ("AddMembers", {}, "invalid_field", "user_ids"),
    ("AddMembers", {"user_ids": []}, "invalid_field", "user_ids"),
    ("AddMembers", {"user_ids": ["?"]}, "invalid_field", "user_ids"),
    ("AddMembers", {"user_ids": NAMES}, "invalid_field", "user_ids"),
    ("RemoveMember", {"user_id": "nobody"}, "not_found", "user_id"),
    ("SetMemberRole", {"user_id": "nobody", "role": "admin"}, "not_found", "user_id"),
    ("SetMemberRole", {"user_id": "bob"}, "invalid_field", "role"),
    ("SetMemberRole", {"user_id": "bob", "role": "king"}, "invalid_field", "role"),
    ("GetMembers", {"limit": 0}, "invalid_field", "limit"),
    ("GetMembers", {"limit": 201}, "invalid_field", "limit"),
]

MESSAGES: list[Row] = [
    ("SendMessage", {}, "invalid_field", "text"),
    ("SendMessage", {"text": ""}, "invalid_field", "text"),
    ("SendMessage", {"text": 5}, "invalid_field", "text"),
    ("SendMessage", {"text": "x" * 10_001}, "text_too_long", "text"),
    ("SendMessage", {"text": "a\0b"}, "invalid_field", "text"),
    ("SendMessage", {"text": "x", "key": ""}, "invalid_field", "key"),
    ("SendMessage", {"text": "x", "key": "k" * 129}, "invalid_field", "key"),
    ("SendMessage", {"text": "x", "content_type": "gif"}, "invalid_field", "content_type"),
    ("SendMessage", {"text": "x", "content_type": "system"}, "invalid_field", "content_type"),
    ("SendMessage", {"content_type": "image"}, "invalid_field", "text"),
    ("SendMessage", {"content_type": "product", "text": "x"}, "invalid_field", "metadata"),
    ("SendMessage", {"content_type": "order", "metadata": {}}, "invalid_field", "metadata"),
    ("SendMessage", {"text": "x", "metadata": {"a": "x" * 8192}}, "too_large", "metadata"),
    ("SendMessage", {"text": "x", "metadata": {"a": "\0"}}, "invalid_field", "metadata"),
    ("SendMessage", {"text": "x", "attachment_ids": ["a"] * 11}, "invalid_field", "attachment_ids"),
    ("SendMessage", {"text": "x", "attachment_ids": ["a"]}, "not_found", "attachment_ids"),
    ("SendMessage", {"text": "x", "reply_to": "first"}, "invalid_field", "reply_to"),
    ("SendMessage", {"text": "x", "reply_to": "7"}, "not_found", "reply_to"),
    ("SendMessage", {"text": "x", "language": "english"}, "invalid_field", "language"),
    ("SendMessage", {"text": "x", "language": "EN"}, "invalid_field", "language"),
    ("SendMessage", {"text": "x", "expires_in_s": 0}, "invalid_field", "expires_in_s"),
    ("SendMessage", {"text": "x", "expires_in_s": 1.5}, "invalid_field", "expires_in_s"),
    ("EditMessage", {"text": "x", "message_id": "7"}, "not_found", "message_id"),
    ("EditMessage", {"text": "x", "message_id": "-7"}, "invalid_field", "message_id"),
    ("EditMessage", {}, "invalid_field", "text"),
    ("EditMessage", {"text": ""}, "invalid_field", "text"),
    ("EditMessage", {"text": None}, "invalid_field", "text"),
    ("EditMessage", {"text": "x" * 10_001}, "text_too_long", "text"),
    ("EditMessage", {"metadata": {"a": "x" * 8192}}, "too_large", "metadata"),
    ("DeleteMessage", {"message_id": "7"}, "not_found", "message_id"),
    ("DeleteMessage", {"message_id": "seven"}, "invalid_field", "message_id"),
    ("GetMessage", {"message_id": "7"}, "not_found", "message_id"),
    ("GetMessage", {"message_id": str(1 << 63)}, "invalid_field", "message_id"),
    ("GetMessageEdits", {"message_id": "7"}, "not_found", "message_id"),
    ("GetMessages", {"limit": 0}, "invalid_field", "limit"),
    ("GetMessages", {"limit": 201}, "invalid_field", "limit"),
    ("GetMessages", {"before": "-1"}, "invalid_field", "before"),
    ("GetMessages", {"after": "last"}, "invalid_field", "after"),
    ("GetMessages", {"before": "9", "after": "1"}, "invalid_field", "around"),
    ("MarkMessagesAsRead", {}, "invalid_field", "up_to"),
    ("MarkMessagesAsRead", {"up_to": "9", "all": True}, "invalid_field", "up_to"),
    ("MarkMessagesAsRead", {"up_to": 9}, "invalid_field", "up_to"),
    ("MarkMessagesAsRead", {"message_ids": []}, "invalid_field", "message_ids"),
    ("MarkMessagesAsRead", {"message_ids": ["x"]}, "invalid_field", "message_ids"),
    ("MarkMessagesAsRead", {"all": "yes"}, "invalid_field", "all"),
    ("MarkMessagesAsDelivered", {}, "invalid_field", "up_to"),
    ("MarkMessagesAsDelivered", {"up_to": "newest"}, "invalid_field", "up_to"),
]

PEOPLE: list[Row] = [
    ("SetTypingIndicator", {}, "invalid_field", "typing"),
    ("SetTypingIndicator", {"typing": "yes"}, "invalid_field", "typing"),
    ("SetOnlineStatus", {}, "invalid_field", "status"),
    ("SetOnlineStatus", {"status": "busy"}, "invalid_field", "status"),
    ("GetOnlineStatus", {}, "invalid_field", "user_ids"),
    ("GetOnlineStatus", {"user_ids": ["?"]}, "invalid_field", "user_ids"),
    ("GetOnlineStatus", {"user_ids": NAMES}, "invalid_field", "user_ids"),
    ("BlockUser", {"user_id": "alice"}, "invalid_field", "user_id"),
    ("BlockUser", {"user_id": "two words"}, "invalid_field", "user_id"),
    ("UnblockUser", {"user_id": "two words"}, "invalid_field", "user_id"),
]

STATUS = {"invalid_field": 400, "text_too_long": 400, "not_found": 404, "too_large": 413}


GROUPS = {
    "conversations": CONVERSATIONS,
    "members": MEMBERS,
    "messages": MESSAGES,
    "people": PEOPLE,
}


@pytest.mark.parametrize("rows", GROUPS.values(), ids=GROUPS)
async def test_bad_input_names_the_field_and_stores_nothing(talk: Talk, rows: list[Row]) -> None:
    alice = await talk("alice")
    conversation = await group(alice, "bob")
    (message,) = await say(alice, conversation, "untouched")
    about = {"conversation_id": conversation, "message_id": message}
    before = await everything(alice, conversation)
    answers: list[Row] = []
    for command, fields, *_ in rows:
        error = await alice.refused(command, **(about | fields))
        assert error["status"] == STATUS.get(error["code"]), (command, fields)
        answers.append((command, fields, error["code"], error.get("field")))
    assert answers == rows
    assert await everything(alice, conversation) == before


async def everything(talker: Talker, conversation_id: str) -> list[Any]:
    reads = ("GetConversation", "GetMessages", "GetMembers", "GetTypingIndicators")
    return [
        await talker.ask("GetUserConversations", archived="any"),
        await talker.ask("GetBlockedUsers"),
        *[await talker.ask(read, conversation_id=conversation_id) for read in reads],
    ]


ONLY_ON_A_CONNECTION: list[Row] = [
    ("GetConversation", {}, "invalid_field", "conversation_id"),
    ("SendMessage", {"text": "x"}, "invalid_field", "conversation_id"),
    ("SendMessage", {"text": "x", "conversation_id": None}, "invalid_field", "conversation_id"),
    ("BlockUser", {}, "invalid_field", "user_id"),
    ("RemoveMember", {"conversation_id": NOWHERE}, "invalid_field", "user_id"),
    ("WatchPresence", {}, "invalid_field", "user_ids"),
    ("WatchPresence", {"user_ids": "bob"}, "invalid_field", "user_ids"),
    ("WatchPresence", {"user_ids": NAMES}, "invalid_field", "user_ids"),
    ("RefreshToken", {}, "invalid_field", "token"),
    ("RefreshToken", {"token": ""}, "invalid_field", "token"),
]


@pytest.mark.parametrize("protocol", SUBPROTOCOLS)
async def test_what_no_address_can_leave_out_is_named_on_a_connection(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice = await connect("alice", protocol=protocol)
    answers: list[Row] = []
    for command, fields, *_ in ONLY_ON_A_CONNECTION:
        error = await alice.refused(command, **fields)
        answers.append((command, fields, error["code"], error.get("field")))
    assert answers == ONLY_ON_A_CONNECTION


def nested(depth: int) -> dict[str, Any]:
    return {} if depth == 1 else {"a": nested(depth - 1)}


async def test_the_greatest_that_is_allowed_is_allowed(talk: Talk) -> None:
    alice = await talk("alice")
    made = await alice.ask("CreateConversation", kind="group", title="é" * 200)
    conversation = made["conversation"]["conversation_id"]
    largest = {"a": "x" * (8_192 - len('{"a":""}'))}
    for fields in (
        {"text": "\U0001f40c" * 10_000},
        {"text": "x", "metadata": largest},
        # The frame or body is the first of the 16 levels.
        {"text": "x", "metadata": nested(15)},
        {"text": "x", "key": "k" * 128},
    ):
        sent = await alice.ask("SendMessage", conversation_id=conversation, **fields)
        read = await alice.ask(
            "GetMessage", conversation_id=conversation, message_id=sent["message"]["message_id"]
        )
        assert {name: read["message"][name] for name in fields} == fields
    for metadata, code in (
        ({"a": largest["a"] + "x"}, "too_large"),
        (nested(16), "invalid_field"),
        ({"list": [nested(15)]}, "invalid_field"),
    ):
        error = await alice.refused(
            "SendMessage", conversation_id=conversation, text="x", metadata=metadata
        )
        assert (error["code"], error["field"]) == (code, "metadata")


@pytest.mark.parametrize("field", ["text", "metadata", "key"])
async def test_a_lone_surrogate_is_no_text(connect: Connect, http: Call, field: str) -> None:
    alice, over = await connect("alice"), await http("alice")
    conversation = await direct(alice, "bob")
    lone = "\ud83d"
    message = {
        "type": "SendMessage",
        "id": "lone",
        "conversation_id": conversation,
        "text": "x",
        field: {"a": lone} if field == "metadata" else lone,
    }
    frame = json.dumps(message).encode()
    await alice.put_raw(frame, binary=False)
    error = (await alice.reply("lone"))["error"]
    as_json = {"Content-Type": "application/json"}
    body = await over.request("POST", "/v1/messages", data=frame, headers=as_json)
    for refusal in (error, body):
        assert (refusal["code"], refusal["status"], refusal["field"]) == (
            "invalid_field", 400, field,
        )  # fmt: skip
    page = await alice.ask("GetMessages", conversation_id=conversation)
    assert page["messages"] == []
