"""The state of a user interface, built from events in any order and from pages."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.peer import message, read, received, typing
from tradewire.client import ChatState, ConversationState

Json = dict[str, Any]


def changed(kind: str, change_id: int, **fields: Any) -> Json:
    return {"type": kind, "change_id": str(change_id), "conversation_id": "c1", **fields}


def edited(change_id: int, message_id: int, text: str, **fields: Any) -> Json:
    return changed("MessageEdited", change_id, message=message(message_id, text=text, **fields))


def deleted(change_id: int, message_id: int, **fields: Any) -> Json:
    gone = message(message_id, deleted=True, text=None, **fields)
    return changed("MessageDeleted", change_id, message=gone)


def conversation(**fields: Any) -> Json:
    return {"conversation_id": "c1", "kind": "direct", "status": "open", **fields}


def member(user_id: str, **fields: Any) -> Json:
    return {"user_id": user_id, "role": "member", "last_read_id": None, **fields}


def after(*events: Json) -> ConversationState:
    state = ConversationState("c1")
    for event in events:
        state.apply(event)
    return state


def texts(state: ConversationState) -> list[str | None]:
    return [m["text"] for m in state.messages]


def test_messages_are_in_the_order_of_their_ids() -> None:
    assert texts(after(received(10), received(9), received(10))) == ["text 9", "text 10"]


def test_the_change_with_the_greatest_id_stands() -> None:
    assert texts(after(received(1), edited(5, 1, "new"), edited(4, 1, "old"))) == ["new"]
    assert texts(after(edited(5, 1, "new"), received(1))) == ["new"]
    shown = after(received(1), deleted(6, 1), edited(5, 1, "new")).messages
    assert (shown[0]["deleted"], shown[0]["text"]) == (True, None)


def test_reactions_and_pins_change_apart_from_the_text() -> None:
    state = after(
        changed("ReactionChanged", 7, message_id="1", reactions={"+": ["bob"]}),
        changed("MessagePinned", 8, message_id="1", pinned=True),
        changed("ReactionChanged", 6, message_id="1", reactions={}),
    )
    assert state.messages == []
    state.apply(received(1))
    state.apply(edited(3, 1, "new"))
    assert state.messages == [message(1, text="new", reactions={"+": ["bob"]})]
    assert state.pinned == ["1"]
    state.apply(changed("MessagePinned", 9, message_id="1", pinned=False))
    assert state.pinned == []


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
def test_one_message_is_shown_for_each_sender_and_key(order: tuple[int, ...]) -> None:
    state = after(*(received(message_id, key="k") for message_id in order))
    state.apply(deleted(9, 3, key="k"))
    state.apply(received(4, key="k", sender_id="alice"))
    assert [m["message_id"] for m in state.messages] == ["3", "4"]


def test_a_key_that_is_used_again_after_two_days_stands_for_another_message() -> None:
    later = (48 * 3_600_000 << 22) + 3
    state = after(received(later, key="k"), received(1, key="k"), received(2, key="k"))
    assert [m["message_id"] for m in state.messages] == ["2", str(later)]


def test_markers_only_move_forward_and_a_message_moves_that_of_its_sender() -> None:
    state = ConversationState("c1")
    state.seed_conversation(conversation(members=[member("bob"), member("alice")]))
    for event in (read(20, 5), read(21, 3), received(7), read(22, 6, "alice")):
        state.apply(event)
    delivered = {"user_id": "alice", "up_to": "7"}
    state.apply(changed("MessageDelivered", 23, **delivered))
    assert state.members["bob"]["last_read_id"] == "7"
    assert state.members["alice"] == {
        "user_id": "alice",
        "role": "member",
        "last_read_id": "6",
        "last_delivered_id": "7",
    }


def test_members_come_go_and_change_their_role() -> None:
    state = after(
        changed("MemberAdded", 1, user_id="eve", member=member("eve")),
        changed("MemberRoleChanged", 3, user_id="eve", role="admin"),
        changed("MemberRoleChanged", 2, user_id="eve", role="owner"),
    )
    assert state.members["eve"]["role"] == "admin"
    state.apply(changed("MemberRemoved", 5, user_id="eve"))
    state.apply(changed("MemberAdded", 4, user_id="eve", member=member("eve")))
    assert state.members == {}


def test_fields_of_a_conversation_take_their_latest_value_without_what_is_derived() -> None:
    state = after(
        changed("ConversationUpdated", 6, conversation=conversation(title="new")),
        changed("ConversationCreated", 2, conversation=conversation(title="old", created_by="x")),
    )
    state.seed_conversation(conversation(title="older", unread_count=3, last_message=message(1)))
    assert state.fields == conversation(title="new", created_by="x")


def test_typing_ends_after_five_seconds_with_a_stop_or_with_a_message() -> None:
    now = 0.0
    state = ConversationState("c1", lambda: now)
    for user in ("a", "b", "bob"):
        state.apply(typing(user))
    assert state.typing == {"a", "b", "bob"}
    state.apply(received(1))
    state.apply({"type": "TypingStopped", "conversation_id": "c1", "user_id": "b"})
    assert state.typing == {"a"}
    now = 5.0
    assert state.typing == set()


def test_a_page_fills_in_what_events_did_not_tell() -> None:
    state = after(edited(9, 1, "edited"), received(2))
    page = [message(1, text="read before the edit"), message(2, text="edited, not told yet")]
    state.seed_messages([*page, message(3, reactions={"+": ["x"]}, status="read", reply_count=2)])
    assert texts(state) == ["edited", "edited, not told yet", "text 3"]
    assert state.messages[2] == message(3, reactions={"+": ["x"]})
    state.apply(received(2))
    assert texts(state)[1] == "edited, not told yet"


def test_a_deleted_conversation_comes_back_with_a_new_message() -> None:
    state = ChatState("alice")
    state.apply(received(1))
    state.apply(changed("ConversationDeleted", 5))
    state.apply(received(3))
    assert state.conversations == {}
    state.apply(received(6))
    assert texts(state.conversations["c1"]) == ["text 1", "text 3", "text 6"]


def test_a_conversation_is_seen_while_its_user_is_a_member() -> None:
    state = ChatState("alice")
    state.apply(changed("ConversationCreated", 1, conversation=conversation()))
    state.apply(changed("MemberRemoved", 2, user_id="bob"))
    assert list(state.conversations) == ["c1"]
    state.apply(changed("MemberRemoved", 3, user_id="alice"))
    assert state.view() == {}
    state.apply(changed("MemberAdded", 4, user_id="alice", member=member("alice")))
    assert list(state.view()["c1"]["members"]) == ["alice"]


def test_events_of_no_conversation_and_of_unknown_kinds_change_nothing() -> None:
    state = ChatState("alice")
    state.apply({"type": "UserOnline", "user_id": "bob"})
    state.apply(changed("OrderLinked", 1, order={}))
    assert state.view() == {"c1": ConversationState("c1").view()}


def test_a_state_read_from_the_server_equals_one_built_from_events() -> None:
    built, fresh = ChatState("alice"), ChatState("alice")
    created = conversation(members=[member("alice"), member("bob")])
    built.apply({"type": "ConversationCreated", "change_id": "1", "conversation": created})
    for event in (received(2), received(3), edited(4, 2, "new"), deleted(5, 3)):
        built.apply(event)
    members = [member("alice"), member("bob", last_read_id="3", last_delivered_id="3")]
    fresh.seed_conversation(conversation(members=members, unread_count=1))
    fresh.seed_messages([message(2, text="new"), message(3, deleted=True, text=None)])
    assert built.view() == fresh.view()


HISTORY = [
    {**changed("ConversationCreated", 1), "conversation": conversation(members=[member("alice")])},
    received(2, key="k"),
    received(3, key="k"),
    changed("MemberAdded", 4, user_id="bob", member=member("bob")),
    edited(5, 2, "first", key="k"),
    changed("ReactionChanged", 6, message_id="2", reactions={"+": ["alice"]}),
    edited(7, 2, "second", key="k"),
    changed("MemberRoleChanged", 8, user_id="bob", role="admin"),
    received(9, sender_id="alice"),
    deleted(10, 9),
    read(11, 9),
    changed("MessagePinned", 12, message_id="2", pinned=True),
    changed("MemberRemoved", 13, user_id="bob"),
    {**changed("ConversationUpdated", 14), "conversation": {"conversation_id": "c1", "title": "t"}},
    changed("ReactionChanged", 15, message_id="2", reactions={}),
]


@given(st.permutations(HISTORY), st.randoms())
@settings(deadline=None)
def test_the_order_of_arrival_and_repetitions_do_not_matter(
    events: list[Json], choice: random.Random
) -> None:
    in_order, as_it_came = ChatState("alice"), ChatState("alice")
    for event in HISTORY:
        in_order.apply(event)
    for event in [*events, *choice.sample(events, 5)]:
        as_it_came.apply(event)
    assert as_it_came.view() == in_order.view()
