"""Messages: content, history, edits, deletions, expiry, unread and keys (protocol §3, §4)."""

from datetime import datetime
from typing import Any

import pytest

from tests.e2e.devices import Call, Connect, Talk, Talker, direct, group, say
from tests.e2e.marketplace import cloud_event, product

Message = dict[str, Any]


def ids(page: dict[str, Any]) -> list[str]:
    return [message["message_id"] for message in page["messages"]]


async def test_a_message_is_told_as_it_was_sent(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    (first,) = await say(bob, about["conversation_id"], "question?")
    fields = {
        "text": "answer",
        "key": "k-1",
        "metadata": {"nested": {"list": [1, None, "é"]}},
        "reply_to": first,
        "language": "de",
        "expires_in_s": 3_600,
    }
    sent = await alice.ask("SendMessage", **about, **fields)
    message = sent["message"]
    assert sent["duplicate"] is False
    assert message["sender_id"] == "alice"
    assert message["content_type"] == "text"
    assert message["status"] == "sent"
    assert int(message["message_id"]) > int(first)
    for name in ("text", "key", "metadata", "reply_to", "language"):
        assert message[name] == fields[name]
    lives = _time(message["expires_at"]) - _time(message["created_at"])
    assert lives == 3_600
    read = await bob.ask("GetMessage", **about, message_id=message["message_id"])
    assert read["message"] == message
    page = await bob.ask("GetMessages", **about)
    assert page["messages"][1] == message


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("kind", ["image", "video", "file", "call", "encrypted"])
async def test_other_contents_need_no_text(connect: Connect, kind: str) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    conversation = await direct(alice, "bob")
    await alice.ask(
        "SendMessage", conversation_id=conversation, content_type=kind, metadata={"ref": "x"}
    )
    message = (await bob.hear("MessageReceived"))["message"]
    assert (message["content_type"], message["metadata"]) == (kind, {"ref": "x"})
    assert "text" not in message


async def test_a_product_message_carries_the_card_as_it_is_now(talk: Talk, http: Call) -> None:
    shop, alice = await http("shop", "service"), await talk("alice")
    about = {"conversation_id": await direct(alice, "bob")}
    message = {"content_type": "product", "metadata": {"product_id": "p-1"}}
    before = await alice.ask("SendMessage", **about, **message)
    assert "card" not in before["message"]
    await shop.ask("TakeEvents", **cloud_event("ProductUpdated", **product("p-1", 4)))
    after = await alice.ask("SendMessage", **about, **message)
    assert after["message"]["card"] == product("p-1", 4)
    await shop.ask("TakeEvents", **cloud_event("ProductUpdated", **product("p-1", 5)))
    for read in (await alice.ask("GetMessages", **about))["messages"]:
        assert read["card"] == product("p-1", 5)
    shown = (await alice.ask("GetConversation", **about))["conversation"]
    assert shown["last_message"]["card"] == product("p-1", 5)


@pytest.fixture
async def long_history(http: Call) -> tuple[str, list[str]]:
    """A conversation of alice and bob with 25 messages."""
    alice, bob = await http("alice"), await http("bob")
    conversation = await direct(alice, "bob")
    found: list[str] = []
    for number in range(25):
        found += await say(alice if number % 3 else bob, conversation, f"text {number}")
    return conversation, found


async def test_history_is_read_backward(talk: Talk, long_history: tuple[str, list[str]]) -> None:
    conversation, everything = long_history
    alice = await talk("alice")
    page = await alice.ask("GetMessages", conversation_id=conversation, limit=10)
    found = [ids(page)]
    while page["has_more"]:
        page = await alice.ask(
            "GetMessages", conversation_id=conversation, limit=10, before=page["next_cursor"]
        )
        found.append(ids(page))
    assert page["next_cursor"] is None
    assert found == [everything[15:], everything[5:15], everything[:5]]


async def test_history_is_read_forward(talk: Talk, long_history: tuple[str, list[str]]) -> None:
    conversation, everything = long_history
    alice = await talk("alice")
    page = await alice.ask("GetMessages", conversation_id=conversation, limit=10, after="0")
    found = [ids(page)]
    while page["has_more"]:
        page = await alice.ask(
            "GetMessages", conversation_id=conversation, limit=10, after=page["next_cursor"]
        )
        found.append(ids(page))
    assert page["next_cursor"] is None
    assert found == [everything[:10], everything[10:20], everything[20:]]


async def test_history_is_read_around_a_message(
    talk: Talk, long_history: tuple[str, list[str]]
) -> None:
    conversation, everything = long_history
    alice = await talk("alice")

    async def around(place: int, limit: int) -> list[str]:
        page = await alice.ask(
            "GetMessages", conversation_id=conversation, around=everything[place], limit=limit
        )
        return ids(page)

    for place, limit in ((12, 7), (12, 8), (0, 6), (24, 6), (12, 200), (12, 1)):
        found = await around(place, limit)
        start = everything.index(found[0])
        assert found == everything[start : start + len(found)]
        assert everything[place] in found
        assert len(found) <= limit
    assert len(await around(12, 7)) == 7
    assert await around(12, 200) == everything


async def test_the_bounds_of_a_page_are_exclusive(
    talk: Talk, long_history: tuple[str, list[str]]
) -> None:
    conversation, everything = long_history
    alice = await talk("alice")
    for bound, limit, expected, more in (
        ({"before": everything[3]}, 200, everything[:3], False),
        ({"before": everything[3]}, 3, everything[:3], False),
        ({"before": everything[3]}, 2, everything[1:3], True),
        ({"after": everything[22]}, 200, everything[23:], False),
        ({"after": everything[22]}, 2, everything[23:], False),
        ({"after": everything[22]}, 1, everything[23:24], True),
        ({"after": everything[24]}, 5, [], False),
        ({"before": everything[0]}, 5, [], False),
        ({"before": "1"}, 5, [], False),
    ):
        page = await alice.ask("GetMessages", conversation_id=conversation, limit=limit, **bound)
        assert (ids(page), page["has_more"]) == (expected, more)


async def test_edits_are_kept_with_what_was_there_before(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    conversation = await direct(alice, "bob")
    sent = await alice.ask(
        "SendMessage", conversation_id=conversation, text="one", metadata={"v": 1}
    )
    about = {"conversation_id": conversation, "message_id": sent["message"]["message_id"]}
    assert (await bob.ask("GetMessageEdits", **about))["edits"] == []
    await alice.ask("EditMessage", **about, text="two")
    edited = (await alice.ask("EditMessage", **about, metadata={"v": 2}))["message"]
    assert (edited["text"], edited["metadata"]) == ("two", {"v": 2})
    cleared = (await alice.ask("EditMessage", **about, metadata=None))["message"]
    assert (cleared["text"], cleared.get("metadata")) == ("two", None)
    edits = (await bob.ask("GetMessageEdits", **about))["edits"]
    assert [(edit["text"], edit["metadata"]) for edit in edits] == [
        ("one", {"v": 1}),
        ("two", {"v": 1}),
        ("two", {"v": 2}),
    ]
    times = [_time(edit["edited_at"]) for edit in edits]
    assert times == sorted(times)
    error = await bob.refused("EditMessage", **about, text="mine now")
    assert (error["code"], error["status"]) == ("forbidden", 403)


async def test_a_deleted_message_keeps_its_place_and_nothing_else(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    conversation = await direct(alice, "bob")
    before, message, after = await say(alice, conversation, "before", "secret", "after")
    about = {"conversation_id": conversation, "message_id": message}
    await alice.ask("EditMessage", **about, text="secret too", metadata={"secret": 1})
    error = await bob.refused("DeleteMessage", **about)
    assert (error["code"], error["status"]) == ("forbidden", 403)
    gone = (await alice.ask("DeleteMessage", **about))["message"]
    assert gone["deleted"] is True
    assert (await alice.ask("DeleteMessage", **about))["message"] == gone
    page = await bob.ask("GetMessages", conversation_id=conversation)
    assert ids(page) == [before, message, after]
    assert page["messages"][1] == gone
    assert "secret" not in str([page, gone])
    assert (await bob.ask("GetMessageEdits", **about))["edits"] == []
    error = await alice.refused("EditMessage", **about, text="back")
    assert (error["code"], error["field"]) == ("not_found", "message_id")


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has expired is looked for all the time."""
    monkeypatch.setattr("tradewire.app.EXPIRY_TURN_S", 0.05)


async def test_an_expiring_message_is_deleted_by_itself(watchful: None, connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    sent = await alice.ask("SendMessage", **about, text="secret", expires_in_s=1)
    await alice.ask("SendMessage", **about, text="stays", expires_in_s=3_600)
    message = sent["message"]["message_id"]
    for device in (alice, bob):
        gone = (await device.hear("MessageDeleted"))["message"]
        assert (gone["message_id"], gone["deleted"]) == (message, True)
        assert "secret" not in str(gone)
    page = await bob.ask("GetMessages", **about)
    assert [shown.get("deleted", False) for shown in page["messages"]] == [True, False]
    assert (await bob.ask("GetUnreadCount"))["total"] == 1
    assert await bob.heard("MessageDeleted") == []


async def test_unread_counts_what_others_wrote_after_the_marker(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    conversation = await direct(alice, "bob")
    about = {"conversation_id": conversation}
    one, two, three = await say(alice, conversation, "one", "two", "three")
    assert await unread(bob) == {conversation: 3}
    read = await bob.ask("MarkMessagesAsRead", **about, up_to=one)
    assert read == {"marked_count": 1, "last_read_id": one}
    assert await unread(bob) == {conversation: 2}
    again = await bob.ask("MarkMessagesAsRead", **about, up_to=one)
    assert again == {"marked_count": 0, "last_read_id": one}
    await alice.ask("DeleteMessage", **about, message_id=two)
    assert await unread(bob) == {conversation: 1}
    read = await bob.ask("MarkMessagesAsRead", **about, message_ids=[three, one])
    assert read == {"marked_count": 1, "last_read_id": three}
    assert await unread(bob) == {}
    (four,) = await say(alice, conversation, "four")
    read = await bob.ask("MarkMessagesAsRead", **about, all=True)
    assert read == {"marked_count": 1, "last_read_id": four}
    assert await unread(alice) == {}


async def unread(talker: Talker) -> dict[str, int]:
    counted = await talker.ask("GetUnreadCount")
    by_conversation: dict[str, int] = counted["by_conversation"]
    assert counted["total"] == sum(by_conversation.values())
    assert counted["capped"] is False
    return by_conversation


async def test_sending_marks_what_came_before_as_read(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    conversation = await direct(alice, "bob")
    await say(alice, conversation, "one", "two")
    assert await unread(bob) == {conversation: 2}
    await say(bob, conversation, "I have seen it")
    assert await unread(bob) == {}
    await say(alice, conversation, "three")
    assert await unread(bob) == {conversation: 1}


async def test_a_marker_stays_within_what_there_is(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    about = {"conversation_id": await direct(alice, "bob")}
    (one,) = await say(alice, about["conversation_id"], "one")
    read = await bob.ask("MarkMessagesAsRead", **about, up_to=str((1 << 63) - 1))
    assert read == {"marked_count": 1, "last_read_id": one}
    await say(alice, about["conversation_id"], "two")
    assert (await bob.ask("GetUnreadCount"))["total"] == 1


async def test_unread_stops_at_a_hundred(http: Call) -> None:
    alice, bob = await http("alice"), await http("bob")
    conversation = await direct(alice, "bob")
    await say(alice, conversation, *map(str, range(101)))
    counted = await bob.ask("GetUnreadCount")
    assert counted == {"total": 100, "by_conversation": {conversation: 100}, "capped": True}
    page = await bob.ask("GetMessages", conversation_id=conversation)
    assert [m["text"] for m in page["messages"]] == list(map(str, range(51, 101)))
    assert page["has_more"] is True


async def test_the_status_of_a_message_is_what_all_the_others_acknowledged(talk: Talk) -> None:
    alice, bob, carol = await talk("alice"), await talk("bob"), await talk("carol")
    conversation = await group(alice, "bob", "carol")
    about = {"conversation_id": conversation}
    (message,) = await say(alice, conversation, "hello")

    async def status() -> str:
        page = await alice.ask("GetMessages", **about)
        shown: str = page["messages"][0]["status"]
        read = await bob.ask("GetMessage", **about, message_id=message)
        assert read["message"]["status"] == shown
        return shown

    assert await status() == "sent"
    assert await bob.ask("MarkMessagesAsDelivered", **about, up_to=message) == {}
    assert await status() == "sent"
    await carol.ask("MarkMessagesAsDelivered", **about, up_to=message)
    assert await status() == "delivered"
    await bob.ask("MarkMessagesAsRead", **about, up_to=message)
    assert await status() == "delivered"
    await carol.ask("MarkMessagesAsRead", **about, all=True)
    assert await status() == "read"


async def test_a_message_of_another_conversation_is_not_here(talk: Talk) -> None:
    alice = await talk("alice")
    here, there = await direct(alice, "bob"), await group(alice, "bob")
    (message,) = await say(alice, there, "there")
    about = {"conversation_id": here, "message_id": message}
    for command, fields in (
        ("GetMessage", {}),
        ("GetMessageEdits", {}),
        ("EditMessage", {"text": "x"}),
        ("DeleteMessage", {}),
    ):
        error = await alice.refused(command, **about, **fields)
        assert (error["code"], error["field"]) == ("not_found", "message_id")
    error = await alice.refused("SendMessage", conversation_id=here, text="x", reply_to=message)
    assert (error["code"], error["field"]) == ("not_found", "reply_to")
    assert (await alice.ask("GetMessages", conversation_id=here, around=message))["messages"] == []
