"""What a device hears that comes back with `since` (protocol §3 "Resume")."""

from collections import Counter
from typing import Any

import pytest

from tests.e2e.devices import SUBPROTOCOLS, Call, Connect, Device, Subprotocol, direct, group, say
from tests.e2e.harness import Server
from tests.e2e.marketplace import cloud_event, order_created, order_status, product

BOTH = pytest.mark.parametrize("protocol", SUBPROTOCOLS)
Event = dict[str, Any]

OVERLAP = 11_000 << 22
"""What an id grows by in 11 s: a resume from so much later leaves out all that was before."""


def id_of(event: Event) -> int:
    return int(event.get("change_id") or event["message"]["message_id"])


async def missed(device: Device) -> list[Event]:
    """What the server sends before `SyncCompleted`, which must not be truncated."""
    done = await device.hear("SyncCompleted")
    assert done["truncated"] is False
    events = await device.heard()
    numbers = [id_of(event) for event in events]
    assert numbers == sorted(set(numbers))
    assert int(done["cursor"]) >= max(numbers, default=0)
    return events


def types(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


async def test_who_does_not_ask_hears_of_nothing_old(connect: Connect) -> None:
    alice = await connect("alice")
    await say(alice, await direct(alice, "bob"), "hello")
    bob = await connect("bob")
    assert await bob.heard() == []


@BOTH
async def test_since_zero_is_the_beginning(connect: Connect, protocol: Subprotocol) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    sent = await say(alice, conversation, "one", "two", "three")
    for user in ("alice", "bob"):
        events = await missed(await connect(user, protocol=protocol, since=0))
        assert types(events) == ["ConversationCreated", *["MessageReceived"] * 3]
        assert [event["message"]["message_id"] for event in events[1:]] == sent
        created = events[0]["conversation"]
        assert created["conversation_id"] == conversation
        assert [member["user_id"] for member in created["members"]] == ["alice", "bob"]
    assert await missed(await connect("stranger", protocol=protocol, since=0)) == []
    assert await missed(await connect("bob", tenant="elsewhere", since=0)) == []


@BOTH
async def test_all_after_the_cursor_is_heard_and_a_little_before(
    connect: Connect, protocol: Subprotocol
) -> None:
    alice, bob = await connect("alice"), await connect("bob", protocol=protocol)
    conversation = await direct(alice, "bob")
    seen = await say(alice, conversation, "seen")
    cursor = (await bob.ask("Ping"))["cursor"]
    await bob.socket.close()
    unseen = await say(alice, conversation, "one", "two")
    again = await connect("bob", protocol=protocol, since=cursor)
    events = await missed(again)
    assert types(events) == ["ConversationCreated", *["MessageReceived"] * 3]
    assert [event["message"]["message_id"] for event in events[1:]] == seen + unseen
    live = await say(alice, conversation, "live")
    assert [event["message"]["message_id"] for event in await again.heard()] == live


async def test_what_is_older_than_the_overlap_is_not_repeated(connect: Connect) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    (message,) = await say(alice, conversation, "long ago")
    bob = await connect("bob", since=int(message) + OVERLAP)
    assert await missed(bob) == []
    await say(alice, conversation, "new")
    assert types(await bob.heard()) == ["MessageReceived"]


async def test_the_cursor_of_one_resume_begins_the_next(connect: Connect) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    cursor, expected = "0", []
    for text in ("one", "two", "three"):
        expected += await say(alice, conversation, text)
        bob = await connect("bob", since=cursor)
        cursor = (await bob.hear("SyncCompleted"))["cursor"]
        assert int(cursor) >= int(expected[-1])
        heard = await bob.heard("MessageReceived")
        assert [event["message"]["message_id"] for event in heard] == expected
        await bob.socket.close()


class Away:
    """Bob was online until the cursor, then away while alice went on.

    Attributes:
        id: of a group of alice, bob and carol.
    """

    def __init__(self, connect: Connect, alice: Device, carol: Device, id: str) -> None:
        self.alice = alice
        self.carol = carol
        self.id = id
        self._connect = connect

    async def back(self, user: str = "bob") -> list[Event]:
        """What the user hears now, without what was there before."""
        events = await missed(await self._connect(user, since=0))
        starts = [id_of(e) for e in events if (e.get("message") or {}).get("text") == "the start"]
        return [event for event in events if id_of(event) > max(starts, default=0)]


@pytest.fixture
async def away(connect: Connect) -> Away:
    alice, carol = await connect("alice"), await connect("carol")
    conversation = await group(alice, "bob", "carol")
    await say(alice, conversation, "the start")
    return Away(connect, alice, carol, conversation)


async def test_edits_and_deletions_are_heard_as_things_are_now(away: Away) -> None:
    kept, lost = await say(away.alice, away.id, "kept", "lost")
    about = {"conversation_id": away.id}
    for text in ("kept?", "kept!"):
        await away.alice.ask("EditMessage", **about, message_id=kept, text=text)
    await away.alice.ask("EditMessage", **about, message_id=lost, text="secret")
    await away.alice.ask("DeleteMessage", **about, message_id=lost)
    events = await away.back()
    received = {e["message"]["message_id"]: e["message"] for e in events if _is_new(e)}
    changed = [e for e in events if not _is_new(e)]
    assert received[kept]["text"] == "kept!"
    assert received[lost]["deleted"] is True
    assert "secret" not in str(events)
    final = {e["message"]["message_id"]: e for e in changed}
    assert (final[kept]["type"], final[kept]["message"]["text"]) == ("MessageEdited", "kept!")
    assert final[lost]["type"] == "MessageDeleted"


def _is_new(event: Event) -> bool:
    return bool(event["type"] == "MessageReceived")


async def test_receipts_are_heard(away: Away) -> None:
    first, second = await say(away.alice, away.id, "one", "two")
    about = {"conversation_id": away.id}
    await away.carol.ask("MarkMessagesAsDelivered", **about, up_to=second)
    await away.carol.ask("MarkMessagesAsRead", **about, up_to=first)
    events = [e for e in await away.back() if not _is_new(e)]
    assert [(e["type"], e["user_id"], e["up_to"]) for e in events] == [
        ("MessageDelivered", "carol", second),
        ("MessageRead", "carol", first),
    ]
    assert all(event["conversation_id"] == away.id for event in events)


async def test_what_was_read_on_another_device_is_heard(away: Away, http: Call) -> None:
    (message,) = await say(away.alice, away.id, "read elsewhere")
    bob = await http("bob")
    await bob.ask("MarkMessagesAsRead", conversation_id=away.id, up_to=message)
    (read,) = [e for e in await away.back() if e["type"] == "MessageRead"]
    assert (read["user_id"], read["up_to"]) == ("bob", message)


async def test_membership_is_heard(away: Away) -> None:
    about = {"conversation_id": away.id}
    await away.alice.ask("AddMembers", **about, user_ids=["dave", "erin"])
    await away.alice.ask("SetMemberRole", **about, user_id="carol", role="moderator")
    await away.alice.ask("RemoveMember", **about, user_id="erin")
    events = await away.back()
    told = {(e["type"], e["user_id"]) for e in events}
    assert told >= {
        ("MemberAdded", "dave"),
        ("MemberRoleChanged", "carol"),
        ("MemberRemoved", "erin"),
    }
    (role,) = [e["role"] for e in events if e["type"] == "MemberRoleChanged"]
    assert role == "moderator"


async def test_who_was_added_while_away_hears_all_of_it(away: Away) -> None:
    await away.alice.ask("AddMembers", conversation_id=away.id, user_ids=["dave"])
    events = await away.back("dave")
    (added,) = [e for e in events if e["type"] == "MemberAdded"]
    assert (added["user_id"], added["member"]["role"]) == ("dave", "member")


async def test_who_was_removed_while_away_hears_that_and_nothing_more(
    away: Away, connect: Connect
) -> None:
    about = {"conversation_id": away.id}
    await say(away.alice, away.id, "secret")
    await away.alice.ask("RemoveMember", **about, user_id="bob")
    await away.alice.ask("UpdateConversation", **about, title="Without bob")
    events = await missed(await connect("bob", since=0))
    assert [(e["type"], e.get("user_id")) for e in events] == [("MemberRemoved", "bob")]
    assert events[0]["conversation_id"] == away.id


async def test_who_was_removed_and_added_again_is_a_member(away: Away) -> None:
    about = {"conversation_id": away.id}
    await away.alice.ask("RemoveMember", **about, user_id="bob")
    await away.alice.ask("AddMembers", **about, user_ids=["bob"])
    await say(away.alice, away.id, "welcome back")
    events = await away.back()
    own = [event for event in events if event.get("user_id") == "bob"]
    assert own[-1]["type"] == "MemberAdded"
    assert types(events)[-1] == "MessageReceived"


async def test_a_changed_conversation_is_heard(away: Away) -> None:
    about = {"conversation_id": away.id}
    await away.alice.ask("UpdateConversation", **about, title="One")
    await away.alice.ask("UpdateConversation", **about, title="Two", status="closed")
    await away.alice.ask("UpdateConversation", **about, status="open")
    told = [e for e in await away.back() if e["type"] == "ConversationUpdated"]
    assert told[-1]["conversation"]["title"] == "Two"
    assert told[-1]["conversation"]["status"] == "open"


async def test_own_settings_are_heard_by_their_owner_only(away: Away, http: Call) -> None:
    about = {"conversation_id": away.id}
    bob = await http("bob")
    await bob.ask("ArchiveConversation", **about, archived=True)
    await bob.ask("PinConversation", **about, pinned=True)
    await bob.ask("MuteConversation", **about, until="2099-01-01T00:00:00.000Z")
    told = [e for e in await away.back() if e["type"] == "ConversationUpdated"]
    last = told[-1]["conversation"]
    assert (last["archived"], last["pinned"]) == (True, True)
    assert last["muted_until"] == "2099-01-01T00:00:00.000Z"
    assert types(await away.back("carol")) == []


async def test_a_hidden_conversation_is_heard_by_its_owner_only(away: Away, http: Call) -> None:
    bob = await http("bob")
    await bob.ask("DeleteConversation", conversation_id=away.id)
    told = [e for e in await away.back() if e["type"] == "ConversationDeleted"]
    assert [e["conversation_id"] for e in told] == [away.id]
    assert types(await away.back("carol")) == []
    await say(away.alice, away.id, "and back again")
    assert types(await away.back()) == ["ConversationDeleted", "MessageReceived"]


async def test_a_deleted_conversation_is_heard_and_nothing_of_it(
    away: Away, connect: Connect
) -> None:
    await say(away.alice, away.id, "secret")
    await away.alice.ask("DeleteConversation", conversation_id=away.id, scope="everyone")
    for user in ("alice", "bob", "carol"):
        events = await missed(await connect(user, since=0))
        assert types(events) == ["ConversationDeleted"]
        assert events[0]["conversation_id"] == away.id


async def test_blocks_are_heard_by_who_made_them(connect: Connect, http: Call) -> None:
    alice = await http("alice")
    await alice.ask("BlockUser", user_id="bob")
    await alice.ask("BlockUser", user_id="carol")
    await alice.ask("UnblockUser", user_id="bob")
    events = await missed(await connect("alice", since=0))
    state = {event["user_id"]: event["blocked"] for event in events}
    assert set(types(events)) == {"UserBlocked"}
    assert state == {"bob": False, "carol": True}
    assert await missed(await connect("bob", since=0)) == []


async def test_orders_and_products_are_heard(connect: Connect, http: Call) -> None:
    shop = await http("shop", "service")
    for event in (
        cloud_event("ProductUpdated", **product("p-1", 1)),
        cloud_event("OrderCreated", **order_created("o-1", items=["p-1"])),
        cloud_event("OrderStatusChanged", **order_status("o-1", "paid", minute=1)),
        cloud_event("OrderStatusChanged", **order_status("o-1", "sent", minute=2)),
        cloud_event("ProductUpdated", **product("p-1", 2)),
    ):
        await shop.ask("TakeEvents", **event)
    for user in ("buyer", "seller"):
        events = await missed(await connect(user, since=0))
        told = {event["type"]: event for event in events}
        assert told.keys() == {
            "ConversationCreated", "OrderLinked", "MessageReceived", "OrderUpdated",
            "ProductUpdated",
        }  # fmt: skip
        assert told["OrderUpdated"]["order"]["status"] == "sent"
        assert told["ProductUpdated"]["product"]["version"] == 2
        messages = [event["message"] for event in events if _is_new(event)]
        assert [m["content_type"] for m in messages] == ["order", "system", "system"]
        assert messages[0]["card"]["status"] == "sent"


async def test_across_a_block_receipts_stay_unheard(away: Away, http: Call) -> None:
    (message,) = await say(away.alice, away.id, "hello")
    bob = await http("bob")
    await bob.ask("BlockUser", user_id="carol")
    await away.carol.ask("MarkMessagesAsRead", conversation_id=away.id, up_to=message)
    assert [e for e in await away.back() if e["type"] == "MessageRead"] == []
    assert [e["user_id"] for e in await away.back("alice") if e["type"] == "MessageRead"] == [
        "carol"
    ]


@BOTH
async def test_more_than_the_limit_is_truncated_and_said_so(
    connect: Connect, protocol: Subprotocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewire.domain.limits.RESUME_EVENTS", 5)
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    await say(alice, conversation, *map(str, range(10)))
    bob = await connect("bob", protocol=protocol, since=0)
    done = await bob.hear("SyncCompleted")
    assert done["truncated"] is True
    assert len(await bob.heard()) == 5
    monkeypatch.undo()
    again = await connect("bob", protocol=protocol, since=done["cursor"])
    await again.hear("SyncCompleted")
    (live,) = await say(alice, conversation, "live")
    heard = await again.heard("MessageReceived")
    assert heard[-1]["message"]["message_id"] == live


async def test_a_long_history_is_resumed_whole(connect: Connect) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    sends = [
        {"type": "SendMessage", "conversation_id": conversation, "text": "x" * 2_000}
        for _ in range(30)
    ]
    for _ in range(20):
        await alice.put(sends)
    await alice.ask("Ping")
    bob = await connect("bob", since=0, batch=1)
    assert len(await missed(bob)) == 601


async def test_nothing_is_lost_between_what_was_missed_and_what_is_live(connect: Connect) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    message = {"type": "SendMessage", "conversation_id": conversation, "text": "hello"}
    readers = []
    for _ in range(8):
        for _ in range(40):
            await alice.put(message)
        readers.append(await connect("bob", since=0))
    await alice.ask("Ping")
    sent: list[str] = []
    while len(sent) < 320:
        page = await alice.ask(
            "GetMessages", conversation_id=conversation, after=sent[-1] if sent else "0", limit=200
        )
        sent += [shown["message_id"] for shown in page["messages"]]
    for reader in readers:
        await reader.hear("SyncCompleted")
        heard = await reader.heard("MessageReceived")
        assert {event["message"]["message_id"] for event in heard} == set(sent)


@pytest.mark.parametrize("place", ["scylla"], indirect=True)
async def test_many_who_were_added_are_read_together(server: Server, connect: Connect) -> None:
    alice = await connect("alice")
    room = await group(alice, "bob")
    crowd = [f"member-{number:02}" for number in range(90)]
    await alice.ask("AddMembers", conversation_id=room, user_ids=crowd)
    statements: Counter[str] = Counter()
    store: Any = server.node._store
    store.engine.on_statement = lambda name: statements.update((name,))
    events = await missed(await connect("bob", since=0))
    store.engine.on_statement = None
    added = [event["member"]["user_id"] for event in events if event["type"] == "MemberAdded"]
    assert sorted(added) == crowd
    # What expires is looked for beside it, as often as it takes long.
    assert statements.total() - statements["EXPIRATIONS"] < len(crowd)
