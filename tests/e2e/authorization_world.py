"""Conversations for the authorization tables, and what the commands on them are given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.e2e.authorization_calls import Callers, Json, cloud_event, user_of

SILENT = {"banned", "tenant", "anon"}
"""Callers who can have written nothing where the others are."""

FIELDS: dict[str, Json] = {
    "UpdateConversation": {"title": "another", "status": "closed"},
    "ArchiveConversation": {"archived": True},
    "MuteConversation": {"until": "2099-01-01T00:00:00.000Z"},
    "PinConversation": {"pinned": True},
    "DeleteConversation me": {"scope": "me"},
    "DeleteConversation all": {"scope": "everyone"},
    "AddMembers": {"user_ids": ["newcomer"]},
    "SetMemberRole own": {"role": "moderator"},
    "SetMemberRole other": {"role": "admin"},
    "SendMessage": {"text": "hello"},
    "EditMessage own": {"text": "changed"},
    "EditMessage other": {"text": "changed"},
    "MarkMessagesAsRead": {"all": True},
    "SetTypingIndicator": {"typing": True},
    "CreateConversation": {"user_id": "other"},
    "CreateConversation grp": {"kind": "group", "title": "group", "member_ids": ["other"]},
    "CreateConversation chn": {"kind": "channel", "title": "channel", "member_ids": ["other"]},
    "SetOnlineStatus": {"status": "away"},
    "GetOnlineStatus": {"user_ids": ["other"]},
    "WatchPresence": {"user_ids": ["other"]},
    "BlockUser": {"user_id": "nuisance"},
    "UnblockUser": {"user_id": "nuisance"},
    "Revoke user": {"user_id": "nuisance"},
    "Revoke token": {"token_id": "of-a-nuisance"},
}

ABOUT_A_MESSAGE = {
    "EditMessage", "DeleteMessage", "GetMessage", "GetMessageEdits",
}  # fmt: skip
ABOUT_A_MEMBER = {"RemoveMember", "SetMemberRole"}


class World:
    """A conversation with messages in it, as some of the callers have made it.

    Attributes:
        id: its conversation id.
    """

    def __init__(self, callers: Callers, kind: str, id: str) -> None:
        self.id = id
        self._kind = kind
        self._callers = callers
        self._messages: dict[str, str] = {}
        self._seen: list[Json] | None = None

    async def fields(self, label: str, caller: str) -> Json:
        """What the command of a row is given when this caller gives it."""
        command, _, about = label.partition(" ")
        fields = {"conversation_id": self.id, **FIELDS.get(label, {})}
        if command in ABOUT_A_MESSAGE:
            fields["message_id"] = await self._message(self._author(caller, about))
        if command == "MarkMessagesAsDelivered":
            fields["up_to"] = await self._message(self._author(caller, "other"))
        if command in ABOUT_A_MEMBER:
            fields["user_id"] = user_of(caller) if about == "own" else "other"
        if about in {"mod", "admin", "owner"}:
            await self._set_role("other", "moderator" if about == "mod" else about)
        return fields

    async def before(self) -> list[Json]:
        """All that a member could see of it since it was last changed."""
        return self._seen or await self.state()

    async def state(self) -> list[Json]:
        """All that a member can see of it."""
        reads = ("GetConversation", "GetMembers", "GetMessages", "GetTypingIndicators")
        seen = [self._callers.do("other", read, conversation_id=self.id) for read in reads]
        self._seen = await asyncio.gather(*seen)
        return self._seen

    async def write(self, caller: str) -> None:
        """Let a caller send a message who may."""
        self._seen = None
        sent = await self._callers.do(
            caller, "SendMessage", conversation_id=self.id, text=f"by {caller}"
        )
        self._messages[user_of(caller)] = sent["message"]["message_id"]

    def _author(self, caller: str, about: str) -> str:
        """Whose message: the caller's own, or that of someone else who has written one."""
        user = user_of(caller)
        return caller if about == "own" else next(by for by in self._messages if by != user)

    async def _message(self, author: str) -> str:
        """A message of the author's; of another's where the author cannot have one."""
        if user_of(author) not in self._messages and self._can_write(author):
            async with self._allowed_to_write(author):
                await self.write(author)
        return self._messages.get(user_of(author)) or next(iter(self._messages.values()))

    def _can_write(self, author: str) -> bool:
        return author == "ADMIN" or (self._kind != "direct" and author not in SILENT)

    @asynccontextmanager
    async def _allowed_to_write(self, author: str) -> AsyncIterator[None]:
        """For as long as this lasts the author may write, as a member and a moderator."""
        if author == "ADMIN":
            yield
            return
        role = await self._role(user_of(author))
        if role is None:
            await self._do("AddMembers", user_ids=[user_of(author)])
        await self._set_role(user_of(author), "moderator")
        yield
        if role is None:
            await self._do("RemoveMember", user_id=user_of(author))
        else:
            await self._set_role(user_of(author), role)

    async def _role(self, user: str) -> str | None:
        found = await self._callers.do("owner", "GetMembers", conversation_id=self.id)
        roles: dict[str, str] = {member["user_id"]: member["role"] for member in found["members"]}
        return roles.get(user)

    async def _set_role(self, user: str, role: str) -> None:
        await self._do("SetMemberRole", user_id=user, role=role)

    async def _do(self, command: str, **fields: object) -> Json:
        self._seen = None
        return await self._callers.do("owner", command, conversation_id=self.id, **fields)


_listings = iter(range(1, 1_000_000))


async def made(callers: Callers, kind: str, caller: str) -> World:
    """A fresh conversation of a kind, for this caller to be tried on."""
    if kind == "direct":
        return await _direct(callers, first_of_pair(caller))
    members = ["admin", "mod", "member", "blocked", "banned", "other"]
    created = await callers.do(
        "owner", "CreateConversation", kind=kind, title="title", member_ids=members
    )
    world = World(callers, kind, created["conversation"]["conversation_id"])
    roles = [
        callers.do("owner", "SetMemberRole", conversation_id=world.id, user_id=user, role=role)
        for user, role in (("admin", "admin"), ("mod", "moderator"))
    ]
    await asyncio.gather(*roles)
    await asyncio.gather(world.write("owner"), world.write("admin"))
    return world


def first_of_pair(caller: str) -> str:
    """Who stands beside `other` in the direct conversation that a caller is tried on."""
    if caller == "blocker":
        return "blocked"
    return caller if caller in {"blocked", "banned"} else "member"


async def _direct(callers: Callers, first: str) -> World:
    if first == "blocked":
        await callers.do("other", "UnblockUser", user_id=first)
    listing = f"listing-{next(_listings)}"
    created = await callers.do("other", "CreateConversation", listing_id=listing, buyer_id=first)
    world = World(callers, "direct", created["conversation"]["conversation_id"])
    await world.write("other")
    if first not in SILENT:
        await world.write(first)
    if first == "blocked":
        await callers.do("other", "BlockUser", user_id=first)
    return world


def personal_fields(callers: Callers, label: str, caller: str) -> Json:
    """What a command about the caller alone is given."""
    if label == "TakeEvents":
        return cloud_event("UserUnblocked", user_id="nuisance")
    if label.startswith("RefreshToken"):
        whose = caller if label.endswith("own") else "other"
        return {"token": callers.token(whose) or "none"}
    return FIELDS.get(label, {})


async def surroundings(callers: Callers) -> list[Json]:
    """What `other` sees of conversations begun with them, and of blocks."""
    inbox = callers.do("other", "GetUserConversations", limit=5)
    return list(await asyncio.gather(inbox, callers.do("other", "GetBlockedUsers")))
