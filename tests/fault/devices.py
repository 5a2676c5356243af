"""Devices of users: each shows what its events told it, and does something at random."""

import random
import socket
from contextlib import suppress
from typing import Any

from tradewire.client import ChatState, Client, CommandError, ConnectionLost, HttpClient

Json = dict[str, Any]

RECONNECT_S = 0.1
COMMAND_S = 60.0
DERIVED = frozenset({"members", "member_count", "last_message", "unread_count"})
DERIVED_OF_MESSAGE = frozenset({"status", "reply_count"})
REFUSED = frozenset({"not_found", "forbidden", "conversation_closed", "conflict"})
"""What a user is told who acts on what others have changed meanwhile."""


class Screen:
    """What a device shows, built from events alone.

    What happened before a user joined is in no event, so who joins reads the conversation once, and
    forgets what an earlier membership left; not what was told after the joining, which a resume may
    tell late.
    """

    def __init__(self, user: str) -> None:
        self._user = user
        self._states: dict[str, ChatState] = {}
        self._told: dict[str, list[Json]] = {}

    def apply(self, event: Json) -> bool:
        """Take an event; True when the conversation is to be read, since the user has joined it."""
        conversation_id = _conversation_of(event)
        if conversation_id is None:
            return False
        told = self._told.setdefault(conversation_id, [])
        told.append(event)
        joined: bool = event["type"] == "MemberAdded" and event["user_id"] == self._user
        if joined:
            self._states[conversation_id] = ChatState(self._user)
            told[:] = [other for other in told if _place(other) >= _place(event)]
        for new in told if joined else told[-1:]:
            self._state(conversation_id).apply(new)
        return joined

    def seed(self, conversation: Json, messages: list[Json]) -> None:
        """Take what was read of a conversation."""
        state = self._state(conversation["conversation_id"])
        state.seed_conversation(conversation)
        state.seed_messages(messages)

    def view(self) -> Json:
        """All that lasts of the conversations that are shown."""
        shown: Json = {}
        for state in self._states.values():
            for conversation_id, conversation in state.view().items():
                shown[conversation_id] = {
                    "conversation": _told(conversation["conversation"]),
                    "messages": conversation["messages"],
                    "members": conversation["members"],
                }
        return shown

    def _state(self, conversation_id: str) -> ChatState:
        return self._states.setdefault(conversation_id, ChatState(self._user))


async def read_afresh(http: HttpClient) -> Json:
    """What a device that knows nothing would show, in the form of `Screen.view`."""
    shown: Json = {}
    for listed in await pages(http, "/v1/conversations?archived=any", "conversations"):
        conversation, messages = await read_conversation(http, listed["conversation_id"])
        shown[conversation["conversation_id"]] = {
            "conversation": _told(_without(conversation, DERIVED)),
            "messages": [_without(message, DERIVED_OF_MESSAGE) for message in messages],
            "members": {member["user_id"]: member for member in conversation["members"]},
        }
    return shown


async def read_conversation(http: HttpClient, conversation_id: str) -> tuple[Json, list[Json]]:
    """A conversation and all its messages."""
    path = f"/v1/conversations/{conversation_id}"
    conversation: Json = (await http.request("GET", path))["conversation"]
    messages: list[Json] = []
    params = {"after": "0", "limit": "200"}
    while True:
        page = await http.request("GET", f"{path}/messages", params=params)
        messages += page["messages"]
        if not page["has_more"]:
            return conversation, messages
        params["after"] = page["next_cursor"]


async def pages(http: HttpClient, path: str, name: str) -> list[Json]:
    """All pages of a list."""
    found: list[Json] = []
    params: dict[str, str] = {}
    while True:
        page = await http.request("GET", path, params=params)
        found += page[name]
        if page["next_cursor"] is None:
            return found
        params = {"cursor": page["next_cursor"]}


def differences(shown: Any, held: Any, path: str = "") -> list[str]:
    """Where two views differ, a line for each place."""
    if isinstance(shown, dict) and isinstance(held, dict):
        return [
            line
            for name in sorted(shown.keys() | held.keys())
            for line in differences(shown.get(name), held.get(name), f"{path}/{name}")
        ]
    if isinstance(shown, list) and isinstance(held, list):
        return differences(_by_id(shown), _by_id(held), path)
    return [] if shown == held else [f"{path}: shown {shown!r}, held {held!r}"]


def doubled(held: Json) -> list[str]:
    """Where a view holds two messages of one sender and key, a line for each."""
    lines = []
    for conversation in held.values():
        first: dict[tuple[str, str], Json] = {}
        for message in conversation["messages"]:
            known = first.setdefault((message["sender_id"], message["key"]), message)
            if known is not message:
                lines.append(f"one key, two messages: {known} and {message}")
    return lines


def _by_id(messages: list[Json]) -> Json:
    return {message["message_id"]: message for message in messages}


class Device:
    """One device of a user, with a client that comes back by itself."""

    def __init__(self, url: str, token: str, user: str, rng: random.Random) -> None:
        self.user = user
        self.screen = Screen(user)
        self.refused = 0
        self._rng = rng
        self._client = Client(
            url,
            token,
            protocol=rng.choice(("json", "msgpack")),
            since=0,
            request_timeout_s=COMMAND_S,
            reconnect_base_s=RECONNECT_S,
            reconnect_cap_s=RECONNECT_S,
        )
        self._texts = 0

    async def run(self) -> None:
        """Be connected, and show events, for ever."""
        async with self._client:
            async for event in self._client.events():
                assert not event.get("truncated")
                if self.screen.apply(event):
                    await self._read(event["conversation_id"])

    def break_off(self) -> None:
        """End the connection under the client's feet, at its own end of the wire."""
        connection = self._client._uplink.connection
        wire = connection and connection._socket.get_extra_info("socket")
        if wire:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    async def act(self, users: list[str]) -> None:
        """Do something; that others forestalled it is no fault."""
        command = self._draw(users)
        try:
            result = await self._client.request(command.pop("type"), **command)
        except CommandError as error:
            if error.code not in REFUSED:
                raise
            self.refused += 1
        except ConnectionLost:
            # To make another group is the one thing the client must not repeat by itself.
            assert command.get("kind") == "group"
        else:
            if "duplicate" in result:
                self.screen.apply({"type": "MessageReceived", "message": result["message"]})

    async def _read(self, conversation_id: str) -> None:
        """Read a conversation over the socket, for the screen."""
        try:
            told = await self._client.request("GetConversation", conversation_id=conversation_id)
            messages: list[Json] = []
            after = "0"
            while True:
                page = await self._client.request(
                    "GetMessages", conversation_id=conversation_id, after=after, limit=200
                )
                messages += page["messages"]
                if not page["has_more"]:
                    break
                after = page["next_cursor"]
        except CommandError as error:
            if error.code != "not_found":
                raise
        else:
            self.screen.seed(told["conversation"], messages)

    def _draw(self, users: list[str]) -> Json:
        """A random command on something that is on the screen."""
        shown = self.screen.view()
        if not shown or self._rng.random() < 0.01:
            return self._draw_room(users)
        conversation_id = self._rng.choice(sorted(shown))
        messages = shown[conversation_id]["messages"]
        command = self._rng.choices(*zip(*_WEIGHTS.items(), strict=True))[0]
        draw = getattr(self, f"_{command}")
        fields: Json = draw(messages, users)
        return {"conversation_id": conversation_id, **fields}

    def _draw_room(self, users: list[str]) -> Json:
        if self._rng.random() < 0.5:
            return {"type": "CreateConversation", "user_id": self._rng.choice(self._others(users))}
        return {
            "type": "CreateConversation",
            "kind": "group",
            "title": self._text(),
            "member_ids": self._rng.sample(self._others(users), 2),
        }

    def _send(self, messages: list[Json], users: list[str]) -> Json:
        fields: Json = {"type": "SendMessage", "text": self._text()}
        if messages and self._rng.random() < 0.2:
            fields["reply_to"] = self._rng.choice(messages)["message_id"]
        if self._rng.random() < 0.2:
            fields["metadata"] = {"n": self._rng.randrange(10)}
        return fields

    def _edit(self, messages: list[Json], users: list[str]) -> Json:
        own = [m for m in messages if m["sender_id"] == self.user and not m.get("deleted")]
        if not own:
            return self._send(messages, users)
        chosen = self._rng.choice(own)["message_id"]
        return {"type": "EditMessage", "message_id": chosen, "text": self._text()}

    def _delete(self, messages: list[Json], users: list[str]) -> Json:
        if not messages:
            return self._send(messages, users)
        chosen = self._rng.choice(messages)["message_id"]
        return {"type": "DeleteMessage", "message_id": chosen}

    def _read_up_to(self, messages: list[Json], users: list[str]) -> Json:
        if not messages or self._rng.random() < 0.3:
            return {"type": "MarkMessagesAsRead", "all": True}
        chosen = self._rng.choice(messages)["message_id"]
        return {"type": "MarkMessagesAsRead", "up_to": chosen}

    def _add(self, messages: list[Json], users: list[str]) -> Json:
        return {"type": "AddMembers", "user_ids": self._rng.sample(self._others(users), 2)}

    def _remove(self, messages: list[Json], users: list[str]) -> Json:
        return {"type": "RemoveMember", "user_id": self._rng.choice(users)}

    def _promote(self, messages: list[Json], users: list[str]) -> Json:
        role = self._rng.choice(("owner", "admin", "moderator", "member"))
        return {"type": "SetMemberRole", "user_id": self._rng.choice(users), "role": role}

    def _revise(self, messages: list[Json], users: list[str]) -> Json:
        metadata = self._rng.choice(({"about": self._text()}, None))
        fields = {"title": self._text(), "metadata": metadata}
        name = self._rng.choice(sorted(fields))
        return {"type": "UpdateConversation", name: fields[name]}

    def _archive(self, messages: list[Json], users: list[str]) -> Json:
        return {"type": "ArchiveConversation", "archived": self._rng.random() < 0.5}

    def _pin(self, messages: list[Json], users: list[str]) -> Json:
        return {"type": "PinConversation", "pinned": self._rng.random() < 0.5}

    def _mute(self, messages: list[Json], users: list[str]) -> Json:
        until = self._rng.choice(("2099-01-01T00:00:00.000Z", None))
        return {"type": "MuteConversation", "until": until}

    def _hide(self, messages: list[Json], users: list[str]) -> Json:
        scope = self._rng.choices(("me", "everyone"), (4, 1))[0]
        return {"type": "DeleteConversation", "scope": scope}

    def _text(self) -> str:
        self._texts += 1
        return f"{self.user} {self._texts} é€😀"

    def _others(self, users: list[str]) -> list[str]:
        return [user for user in users if user != self.user]


_WEIGHTS = {
    "send": 40,
    "edit": 15,
    "delete": 6,
    "read_up_to": 15,
    "add": 4,
    "remove": 4,
    "promote": 4,
    "revise": 4,
    "archive": 3,
    "pin": 3,
    "mute": 3,
    "hide": 1,
}


def _conversation_of(event: Json) -> str | None:
    for part in (event, event.get("message", {}), event.get("conversation", {})):
        if "conversation_id" in part:
            return str(part["conversation_id"])
    return None


def _place(event: Json) -> int:
    """The place of an event in the order of ids; one without an id comes first."""
    return int(event.get("change_id") or event.get("message", {}).get("message_id") or 0)


def _told(fields: Json) -> Json:
    """Without what may be left out since it says nothing (protocol §4)."""
    return {name: value for name, value in fields.items() if value not in (None, False)}


def _without(fields: Json, names: frozenset[str]) -> Json:
    return {name: value for name, value in fields.items() if name not in names}
