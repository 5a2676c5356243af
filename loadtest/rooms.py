"""Who takes part in a scenario, in rooms: those who must be in one generator to be checked."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from loadtest.deployment import Deployment
from loadtest.plan import Buyer, Connection, Conversation
from loadtest.preparing import create_group, fill_inboxes, pages, write
from loadtest.scenario import (
    AnyScenario,
    Group,
    History,
    IdleCrowd,
    Inbox,
    MarketplaceDay,
    OrderEvents,
    Pairs,
    ReconnectStorm,
    Seller,
)

MOST_PEERS = 400
"""Users who write to those with many chats: past it each of them does so about several listings."""


@dataclass(frozen=True)
class Room:
    """Connections and the conversations between them; all numbers begin with 0 in each room.

    Attributes:
        cut: the connections that a storm cuts.
        buyers: those who order.
    """

    connections: list[Connection]
    conversations: list[Conversation] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    buyers: list[Buyer] = field(default_factory=list)


class Place:
    """A deployment, and users of it whom nobody has seen before."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._name = f"lt-{secrets.token_hex(4)}"

    def users(self, role: str, count: int) -> list[str]:
        """The names of users."""
        return [f"{self._name}-{role}{number}" for number in range(count)]

    def connection(
        self, user_id: str, turn: int, acts_in: int | None = None, chats: int = 0
    ) -> Connection:
        """A connection of a user, to one of the servers in turn."""
        token = self.deployment.target.token(user_id)
        endpoint = self.deployment.endpoint(user_id, turn)
        return Connection(endpoint, acts_in, token, chats)

    async def introduce(self, users: list[tuple[str, str]]) -> list[str]:
        """A conversation of each two; their ids."""
        return await self.deployment.target.introduce(self.deployment.url, users)


async def make_rooms(scenario: AnyScenario, deployment: Deployment) -> list[Room]:
    """Prepare everything for fresh users.

    Raises `ServerError` for what the servers refuse, `TimeoutError`, or as connecting does.
    """
    return await MAKERS[type(scenario)](scenario, Place(deployment))


async def pairs(scenario: Pairs, place: Place) -> list[Room]:
    """Each two, who both send."""
    return await pair_rooms(place, scenario.connections // 2)


async def pair_rooms(place: Place, count: int) -> list[Room]:
    """So many pairs, each two on servers that follow each other."""
    users = list(zip(place.users("a", count), place.users("b", count), strict=True))
    ids = await place.introduce(users)
    return [
        Room(
            [place.connection(one, 2 * number, 0), place.connection(other, 2 * number + 1, 0)],
            [Conversation(conversation_id, [0, 1])],
        )
        for number, ((one, other), conversation_id) in enumerate(zip(users, ids, strict=True))
    ]


async def seller(scenario: Seller, place: Place) -> list[Room]:
    """The devices of the seller, and the buyers, each with a conversation."""
    [owner], buyers = place.users("seller", 1), place.users("buyer", scenario.connections)
    ids = await place.introduce([(buyer, owner) for buyer in buyers])
    devices = list(range(scenario.devices))
    return [
        Room(
            [
                *(place.connection(owner, number) for number in devices),
                *(place.connection(buyer, number, number) for number, buyer in enumerate(buyers)),
            ],
            [
                Conversation(conversation_id, [*devices, len(devices) + number])
                for number, conversation_id in enumerate(ids)
            ],
        )
    ]


async def group(scenario: Group, place: Place) -> list[Room]:
    """The members, the first of whom send."""
    members = place.users("member", scenario.connections)
    conversation_id = await create_group(place.deployment, members[0], members[1:])
    return [group_room(place, conversation_id, members, scenario.senders)]


def group_room(
    place: Place, conversation_id: str, members: list[str], senders: int, first: int = 0
) -> Room:
    """A group whose members connect to the servers in turn, the first of them to the ``first``."""
    connections = [
        place.connection(user, first + number, 0 if number < senders else None)
        for number, user in enumerate(members)
    ]
    return Room(connections, [Conversation(conversation_id, list(range(len(members))))])


async def idle(scenario: IdleCrowd, place: Place) -> list[Room]:
    """Users who have nothing to do with one another."""
    users = place.users("idle", scenario.connections)
    return [Room([place.connection(user, number)]) for number, user in enumerate(users)]


async def storm(scenario: ReconnectStorm, place: Place) -> list[Room]:
    """Groups, of whom all but the sender are cut."""
    rooms = []
    for number in range(scenario.connections // scenario.group_size):
        members = place.users(f"storm{number}-", scenario.group_size + 1)
        conversation_id = await create_group(place.deployment, members[0], members[1:])
        room = group_room(place, conversation_id, members, 1, first=number)
        rooms.append(replace(room, cut=list(range(1, len(members)))))
    return rooms


async def history(scenario: History, place: Place) -> list[Room]:
    """Readers of one conversation, which somebody has filled."""
    [writer], readers = place.users("writer", 1), place.users("reader", scenario.connections)
    conversation_id = await create_group(place.deployment, writer, readers)
    ids = await write(place.deployment, writer, [conversation_id] * scenario.messages)
    conversation = Conversation(conversation_id, [], pages(ids, scenario.page))
    return [
        Room([place.connection(reader, number, 0)], [conversation])
        for number, reader in enumerate(readers)
    ]


async def inbox(scenario: Inbox, place: Place) -> list[Room]:
    """Readers, who have chats with the same users."""
    readers = place.users("reader", scenario.connections)
    unread = scenario.chats if scenario.unread is None else scenario.unread
    await fill(place, readers, scenario.chats, unread)
    nowhere = Conversation("", [])
    return [
        Room([place.connection(reader, number, 0, scenario.chats)], [nowhere])
        for number, reader in enumerate(readers)
    ]


async def fill(place: Place, users: list[str], chats: int, unread: int) -> None:
    """So many chats, and unread ones among them, for each of these users, with peers who are the
    same for all.
    """
    peers = place.users("peer", min(chats, MOST_PEERS))
    await fill_inboxes(place.deployment, users, peers, chats, unread)


async def order_events(scenario: OrderEvents, place: Place) -> list[Room]:
    """Pairs who chat, and buyers whose sellers are away."""
    users = list(
        zip(
            place.users("buyer", scenario.buyers),
            place.users("seller", scenario.buyers),
            strict=True,
        )
    )
    ids = await place.introduce(users)
    buying = [
        Room([place.connection(buyer, number)], buyers=[Buyer(0, buyer, seller, conversation_id)])
        for number, ((buyer, seller), conversation_id) in enumerate(zip(users, ids, strict=True))
    ]
    return [*await pair_rooms(place, scenario.connections // 2), *buying]


async def marketplace_day(scenario: MarketplaceDay, place: Place) -> list[Room]:
    """Pairs with something to read: a history, and an inbox each."""
    count = scenario.connections // 2
    rooms = await pair_rooms(place, count)
    users = [place.users("a", count), place.users("b", count)]
    await fill(place, [*users[0], *users[1]], scenario.chats, unread=scenario.chats)
    return [
        await furnished(scenario, place, room, sender)
        for room, sender in zip(rooms, users[0], strict=True)
    ]


async def furnished(scenario: MarketplaceDay, place: Place, room: Room, sender: str) -> Room:
    """A pair with a history, and with as many chats as it has by now."""
    [conversation] = room.conversations
    said = [conversation.conversation_id] * scenario.messages
    ids = await write(place.deployment, sender, said)
    shown = pages(ids, scenario.page, growing=True)
    chats = scenario.chats + 1
    return replace(
        room,
        connections=[msgspec.structs.replace(c, chats=chats) for c in room.connections],
        conversations=[msgspec.structs.replace(conversation, pages=shown)],
    )


def merged(rooms: Sequence[Room]) -> Room:
    """Several rooms as one."""
    whole = Room([])
    for room in rooms:
        here, there = len(whole.connections), len(whole.conversations)
        whole.connections.extend(moved(connection, there) for connection in room.connections)
        whole.conversations.extend(
            msgspec.structs.replace(each, receivers=[here + number for number in each.receivers])
            for each in room.conversations
        )
        whole.cut.extend(here + number for number in room.cut)
        whole.buyers.extend(
            msgspec.structs.replace(buyer, connection=here + buyer.connection)
            for buyer in room.buyers
        )
    return whole


def moved(connection: Connection, by: int) -> Connection:
    """A connection whose conversation has become a later one."""
    if connection.acts_in is None:
        return connection
    return msgspec.structs.replace(connection, acts_in=connection.acts_in + by)


MAKERS: dict[type[Any], Callable[[Any, Place], Awaitable[list[Room]]]] = {
    Pairs: pairs,
    Seller: seller,
    Group: group,
    IdleCrowd: idle,
    ReconnectStorm: storm,
    History: history,
    Inbox: inbox,
    OrderEvents: order_events,
    MarketplaceDay: marketplace_day,
}
