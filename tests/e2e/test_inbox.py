"""The inbox: its order, filters and pages, and what the caller set for themselves (protocol §4)."""

from itertools import product
from typing import Any

import pytest

from tests.e2e.devices import Call, HttpCaller, Talk, Talker, direct, group, say

FOREVER = "2099-01-01T00:00:00.000Z"
PEERS = [f"peer-{number}" for number in range(7)]


async def inbox(talker: Talker, **query: Any) -> list[str]:
    """The ids of one page."""
    page = await talker.ask("GetUserConversations", **query)
    return [conversation["conversation_id"] for conversation in page["conversations"]]


async def pages(talker: Talker, **query: Any) -> list[list[str]]:
    """The ids of all pages; each page's cursor leads to the next, the last has none."""
    found: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await talker.ask("GetUserConversations", **query, **cursor)
        found.append([shown["conversation_id"] for shown in page["conversations"]])
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


@pytest.fixture
async def seven(http: Call) -> list[str]:
    """Alice's conversations with seven peers in the order made; then each peer wrote, the first
    last.
    """
    alice = await http("alice")
    made = [await direct(alice, peer) for peer in PEERS]
    for peer, conversation in reversed(list(zip(PEERS, made, strict=True))):
        await say(await http(peer), conversation, f"from {peer}")
    return made


async def test_the_newest_activity_comes_first(talk: Talk, seven: list[str]) -> None:
    alice = await talk("alice")
    assert await inbox(alice) == seven
    assert await inbox(alice, order="asc") == seven[::-1]
    await say(alice, seven[4], "I am active, too")
    assert await inbox(alice) == [seven[4], *seven[:4], *seven[5:]]
    assert await inbox(await talk("peer-4")) == [seven[4]]


async def test_changes_that_are_no_messages_move_nothing(talk: Talk, seven: list[str]) -> None:
    alice = await talk("alice")
    about = {"conversation_id": seven[5]}
    (last,) = (await alice.ask("GetMessages", **about))["messages"]
    await alice.ask("MarkMessagesAsRead", **about, all=True)
    await alice.ask("PinConversation", **about, pinned=True)
    await alice.ask("UpdateConversation", **about, metadata={"a": 1})
    peer = await talk("peer-5")
    await peer.ask("EditMessage", **about, message_id=last["message_id"], text="changed")
    assert await inbox(alice) == seven


async def test_the_order_of_creation(talk: Talk, seven: list[str]) -> None:
    alice = await talk("alice")
    assert await inbox(alice, sort="created_at") == seven[::-1]
    assert await inbox(alice, sort="created_at", order="asc") == seven


async def test_a_conversation_without_messages_stands_where_it_was_made(
    talk: Talk, seven: list[str]
) -> None:
    alice = await talk("alice")
    silent = await direct(alice, "silent")
    assert await inbox(alice) == [silent, *seven]
    await say(alice, seven[6], "newer")
    assert await inbox(alice) == [seven[6], silent, *seven[:6]]


async def test_pages_follow_one_another(talk: Talk, seven: list[str]) -> None:
    alice = await talk("alice")
    for sort, order in product(("last_activity", "created_at"), ("asc", "desc")):
        everything = await inbox(alice, sort=sort, order=order)
        assert len(everything) == 7
        for limit, sizes in ((3, [3, 3, 1]), (7, [7]), (1, [1] * 7)):
            paged = await pages(alice, sort=sort, order=order, limit=limit)
            assert [len(page) for page in paged] == sizes
            assert [shown for page in paged for shown in page] == everything


async def test_pages_hold_what_was_there_although_others_move(talk: Talk, seven: list[str]) -> None:
    alice = await talk("alice")
    first = await alice.ask("GetUserConversations", limit=3)
    await say(alice, seven[1], "moves within what was read")
    rest = await alice.ask("GetUserConversations", limit=10, cursor=first["next_cursor"])
    assert [c["conversation_id"] for c in rest["conversations"]] == seven[3:]


async def test_twenty_are_a_page(http: Call) -> None:
    alice = await http("alice")
    for number in range(21):
        await direct(alice, f"peer-{number}")
    assert len(await inbox(alice)) == 20
    assert len(await inbox(alice, limit=100)) == 21


@pytest.fixture
async def sorted_out(http: Call, seven: list[str]) -> HttpCaller:
    """Alice, who archived 0 and 1, muted 1 and 2, closed 3, pinned 4 and read 5."""
    alice = await http("alice")
    for place, command, fields in (
        (0, "ArchiveConversation", {"archived": True}),
        (1, "ArchiveConversation", {"archived": True}),
        (1, "MuteConversation", {"until": FOREVER}),
        (2, "MuteConversation", {"until": FOREVER}),
        (3, "UpdateConversation", {"status": "closed"}),
        (4, "PinConversation", {"pinned": True}),
        (5, "MarkMessagesAsRead", {"all": True}),
    ):
        await alice.ask(command, conversation_id=seven[place], **fields)
    return alice


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [2, 3, 4, 5, 6]),
    ({"archived": False}, [2, 3, 4, 5, 6]),
    ({"archived": "false"}, [2, 3, 4, 5, 6]),
    ({"archived": True}, [0, 1]),
    ({"archived": "true"}, [0, 1]),
    ({"archived": "any"}, [0, 1, 2, 3, 4, 5, 6]),
    ({"muted": True}, [2]),
    ({"muted": True, "archived": "any"}, [1, 2]),
    ({"muted": False}, [3, 4, 5, 6]),
    ({"status": "closed"}, [3]),
    ({"status": "open"}, [2, 4, 5, 6]),
    ({"unread": True}, [2, 3, 4, 6]),
    ({"unread": False}, [5]),
    ({"unread": True, "status": "open", "muted": False}, [4, 6]),
    ({"listing_id": "bike"}, []),
]


async def test_filters_let_through_what_they_say(
    sorted_out: HttpCaller, talk: Talk, seven: list[str]
) -> None:
    alice = await talk("alice")
    for query, places in FILTERS:
        expected = [seven[place] for place in places]
        assert await inbox(alice, **query) == expected, query
        assert await inbox(alice, **query, sort="created_at", order="asc") == expected, query
        paged = await pages(alice, **query, limit=2)
        assert [shown for page in paged for shown in page] == expected, query


async def test_settings_are_shown_with_each_conversation(
    sorted_out: HttpCaller, talk: Talk, seven: list[str]
) -> None:
    alice = await talk("alice")
    page = await alice.ask("GetUserConversations", archived="any")
    shown = {c["conversation_id"]: c for c in page["conversations"]}
    by_place = [shown[conversation] for conversation in seven]
    assert [c["archived"] for c in by_place] == [True, True, *[False] * 5]
    assert [c["pinned"] for c in by_place] == [p == 4 for p in range(7)]
    assert [c.get("muted_until") for c in by_place] == [
        FOREVER if place in {1, 2} else None for place in range(7)
    ]
    assert [c["unread_count"] for c in by_place] == [1, 1, 1, 1, 1, 0, 1]
    assert [c["last_message"]["text"] for c in by_place] == [f"from {peer}" for peer in PEERS]
    for conversation in seven:
        read = await alice.ask("GetConversation", conversation_id=conversation)
        assert shown[conversation] == read["conversation"]


async def test_the_total_leaves_out_archived_and_muted_ones(
    sorted_out: HttpCaller, talk: Talk, seven: list[str]
) -> None:
    alice = await talk("alice")
    for query in ({}, {"limit": 1}, {"archived": "any"}, {"unread": False}):
        page = await alice.ask("GetUserConversations", **query)
        assert page["unread_total"] == 3
    counted = await alice.ask("GetUnreadCount")
    assert counted["total"] == 6
    assert counted["by_conversation"].keys() == set(seven) - {seven[5]}
    await alice.ask("MuteConversation", conversation_id=seven[2], until=None)
    await alice.ask("ArchiveConversation", conversation_id=seven[0], archived=False)
    assert (await alice.ask("GetUserConversations"))["unread_total"] == 5


async def test_hidden_ones_are_out_until_a_new_message(talk: Talk, seven: list[str]) -> None:
    alice, peer = await talk("alice"), await talk("peer-3")
    await alice.ask("DeleteConversation", conversation_id=seven[3])
    rest = [conversation for conversation in seven if conversation != seven[3]]
    assert await inbox(alice, archived="any") == rest
    assert (await alice.ask("GetUserConversations"))["unread_total"] == 6
    assert await inbox(peer) == [seven[3]]
    await say(peer, seven[3], "are you there?")
    assert await inbox(alice) == [seven[3], *rest]
    await alice.ask("DeleteConversation", conversation_id=seven[3])
    made = await alice.ask("CreateConversation", user_id="peer-3")
    assert (made["created"], made["conversation"]["conversation_id"]) == (False, seven[3])
    assert seven[3] in await inbox(alice)


async def test_left_and_deleted_ones_are_gone(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    stays, left, removed, deleted = [await group(alice, "bob") for _ in range(4)]
    await bob.ask("RemoveMember", conversation_id=left, user_id="bob")
    await alice.ask("RemoveMember", conversation_id=removed, user_id="bob")
    await alice.ask("DeleteConversation", conversation_id=deleted, scope="everyone")
    for conversation in (stays, left, removed):
        await say(alice, conversation, "hello")
    assert await inbox(bob, archived="any") == [stays]
    assert (await bob.ask("GetUnreadCount"))["by_conversation"] == {stays: 1}
    assert await inbox(alice) == [removed, left, stays]


async def test_conversations_of_a_listing_are_found(talk: Talk) -> None:
    seller = await talk("seller")
    made = {}
    for listing in ("bike", "boat"):
        for buyer in ("alice", "bob"):
            result = await seller.ask("CreateConversation", listing_id=listing, buyer_id=buyer)
            made[listing, buyer] = result["conversation"]["conversation_id"]
    found = await inbox(seller, listing_id="bike", sort="created_at", order="asc")
    assert found == [made["bike", "alice"], made["bike", "bob"]]


async def test_a_cursor_of_another_list_is_refused(talk: Talk, seven: list[str]) -> None:
    alice = await talk("alice")
    page = await alice.ask("GetUserConversations", limit=2)
    for cursor in ("", "x", "1", "1:2:3", page["next_cursor"][:-3] + "???"):
        error = await alice.refused("GetUserConversations", cursor=cursor)
        assert (error["code"], error["field"]) == ("invalid_field", "cursor")
