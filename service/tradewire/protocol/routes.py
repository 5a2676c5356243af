"""The HTTP twins of the commands, one line each (protocol §4).

The handlers, the answers to wrong methods and the OpenAPI document all come from this table.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from tradewire.domain import commands, results
from tradewire.domain.commands import Command
from tradewire.domain.errors import BadRequest, InvalidField
from tradewire.protocol.validation import (
    UNDECODABLE,
    invalid_field,
    lone_surrogate,
    surrogate_refused,
)

RESULTS: dict[type[Command], type[Struct]] = {
    commands.CreateConversation: results.ConversationResult,
    commands.GetConversation: results.ConversationResult,
    commands.GetUserConversations: results.ConversationsResult,
    commands.UpdateConversation: results.ConversationResult,
    commands.ArchiveConversation: results.ConversationResult,
    commands.MuteConversation: results.ConversationResult,
    commands.PinConversation: results.ConversationResult,
    commands.DeleteConversation: results.Nothing,
    commands.AddMembers: results.MembersResult,
    commands.RemoveMember: results.MembersResult,
    commands.SetMemberRole: results.MembersResult,
    commands.GetMembers: results.MembersResult,
    commands.SendMessage: results.MessageResult,
    commands.EditMessage: results.MessageResult,
    commands.DeleteMessage: results.MessageResult,
    commands.GetMessage: results.MessageResult,
    commands.GetMessageEdits: results.EditsResult,
    commands.GetMessages: results.MessagesResult,
    commands.MarkMessagesAsRead: results.ReadResult,
    commands.MarkMessagesAsDelivered: results.Nothing,
    commands.GetUnreadCount: results.UnreadResult,
    commands.SetTypingIndicator: results.Nothing,
    commands.GetTypingIndicators: results.TypingResult,
    commands.SetOnlineStatus: results.StatusesResult,
    commands.GetOnlineStatus: results.StatusesResult,
    commands.WatchPresence: results.StatusesResult,
    commands.BlockUser: results.Nothing,
    commands.UnblockUser: results.Nothing,
    commands.GetBlockedUsers: results.BlockedUsersResult,
    commands.Revoke: results.Nothing,
    commands.RefreshToken: results.TokenResult,
    commands.Ping: results.PongResult,
}
"""What each command answers."""

ENVELOPE = frozenset({"type", "id"})
"""Members of a command that only a frame has."""


class Route(Struct, frozen=True, dict=True):
    """A method and an address that mean a command.

    Fields in braces come from the path; the others from the query string of a GET or DELETE, else
    from the body, unless the path has them all.

    Attributes:
        creates: answers 201 where something was made.
        key_header: `Idempotency-Key` may give the key.
        absent: parameters that this version refuses, and why.
    """

    method: str
    path: str
    command: type[Command]
    creates: bool = False
    key_header: bool = False
    absent: Mapping[str, str] = {}

    @cached_property
    def path_fields(self) -> tuple[str, ...]:
        """Fields that the path gives."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @cached_property
    def free_fields(self) -> tuple[str, ...]:
        """Fields that the query string or the body gives."""
        given = ENVELOPE.union(self.path_fields)
        return tuple(name for name in self.command.__struct_fields__ if name not in given)

    @cached_property
    def list_fields(self) -> frozenset[str]:
        """Fields that hold lists: comma-separated in a query string."""
        known = msgspec.inspect.type_info(self.command)
        assert isinstance(known, msgspec.inspect.StructType)
        return frozenset(
            field.name for field in known.fields if isinstance(field.type, msgspec.inspect.ListType)
        )

    @property
    def has_body(self) -> bool:
        """Whether the request carries a body."""
        return self.method not in {"GET", "DELETE"} and bool(self.free_fields)

    def bind(
        self,
        path: Mapping[str, str],
        query: Mapping[str, str],
        body: bytes = b"",
        key: str | None = None,
    ) -> Command:
        """The command that a request means; `key` is its `Idempotency-Key`.

        Raises:
            BadRequest: the body is no JSON object.
            InvalidField: a field is missing, of the wrong type or out of range.
        """
        given = self._from_body(body) if self.has_body else self._from_query(query)
        if self.key_header and key is not None:
            if given.get("key") not in (None, key):
                raise InvalidField("The key differs from the Idempotency-Key.", field="key")
            given["key"] = key
        try:
            return msgspec.convert({**given, **path}, self.command, strict=self.has_body)
        except msgspec.ValidationError as error:
            raise invalid_field(error) from error

    def _from_body(self, body: bytes) -> dict[str, Any]:
        try:
            decoded = msgspec.json.decode(body or b"{}")
        except UNDECODABLE as error:
            found = lone_surrogate(body)
            if found is not None:
                raise surrogate_refused(found[1]) from error
            raise BadRequest("The body is not JSON.") from error
        if not isinstance(decoded, dict):
            raise BadRequest("The body is not a JSON object.")
        return {name: decoded[name] for name in self.free_fields if name in decoded}

    def _from_query(self, query: Mapping[str, str]) -> dict[str, Any]:
        for name, why in self.absent.items():
            if name in query:
                raise InvalidField(why, field=name)
        given: dict[str, Any] = {name: query[name] for name in self.free_fields if name in query}
        for name in self.list_fields & given.keys():
            given[name] = given[name].split(",") if given[name] else []
        return given


CONVERSATIONS = "/v1/conversations"
CONVERSATION = f"{CONVERSATIONS}/{{conversation_id}}"
MEMBERS = f"{CONVERSATION}/members"
MESSAGES = f"{CONVERSATION}/messages"
MESSAGE = f"{MESSAGES}/{{message_id}}"
TYPING = f"{CONVERSATION}/typing"
BLOCK = "/v1/blocks/{user_id}"

ROUTES: tuple[Route, ...] = (
    Route("POST", CONVERSATIONS, commands.CreateConversation, creates=True),
    Route(
        "GET",
        CONVERSATIONS,
        commands.GetUserConversations,
        absent={"q": "Search is not available in this version."},
    ),
    Route("GET", CONVERSATION, commands.GetConversation),
    Route("PATCH", CONVERSATION, commands.UpdateConversation),
    Route("DELETE", CONVERSATION, commands.DeleteConversation),
    Route("PUT", f"{CONVERSATION}/archive", commands.ArchiveConversation),
    Route("PUT", f"{CONVERSATION}/mute", commands.MuteConversation),
    Route("PUT", f"{CONVERSATION}/pin", commands.PinConversation),
    Route("POST", MEMBERS, commands.AddMembers),
    Route("GET", MEMBERS, commands.GetMembers),
    Route("PUT", f"{MEMBERS}/{{user_id}}", commands.SetMemberRole),
    Route("DELETE", f"{MEMBERS}/{{user_id}}", commands.RemoveMember),
    Route("POST", "/v1/messages", commands.SendMessage, creates=True, key_header=True),
    Route("GET", MESSAGES, commands.GetMessages),
    Route("GET", MESSAGE, commands.GetMessage),
    Route("PATCH", MESSAGE, commands.EditMessage),
    Route("DELETE", MESSAGE, commands.DeleteMessage),
    Route("GET", f"{MESSAGE}/edits", commands.GetMessageEdits),
    Route("POST", f"{CONVERSATION}/read", commands.MarkMessagesAsRead),
    Route("POST", f"{CONVERSATION}/delivered", commands.MarkMessagesAsDelivered),
    Route("GET", "/v1/unread", commands.GetUnreadCount),
    Route("PUT", TYPING, commands.SetTypingIndicator),
    Route("GET", TYPING, commands.GetTypingIndicators),
    Route("PUT", "/v1/presence", commands.SetOnlineStatus),
    Route("GET", "/v1/presence", commands.GetOnlineStatus),
    Route("GET", "/v1/blocks", commands.GetBlockedUsers),
    Route("PUT", BLOCK, commands.BlockUser),
    Route("DELETE", BLOCK, commands.UnblockUser),
    Route("POST", "/v1/revocations", commands.Revoke),
)
