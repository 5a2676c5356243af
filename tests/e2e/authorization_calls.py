"""The commands of the authorization tables, over HTTP (addresses: protocol §4) and WebSocket."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from tests.e2e.harness import DEADLINE_S, Server
from tradewire.client import Client, CommandError, HttpClient

Json = dict[str, Any]

CONVERSATION = "/v1/conversations/{conversation_id}"
MESSAGE = f"{CONVERSATION}/messages/{{message_id}}"

TWINS = {
    "CreateConversation": ("POST", "/v1/conversations"),
    "GetConversation": ("GET", CONVERSATION),
    "GetUserConversations": ("GET", "/v1/conversations"),
    "UpdateConversation": ("PATCH", CONVERSATION),
    "ArchiveConversation": ("PUT", f"{CONVERSATION}/archive"),
    "MuteConversation": ("PUT", f"{CONVERSATION}/mute"),
    "PinConversation": ("PUT", f"{CONVERSATION}/pin"),
    "DeleteConversation": ("DELETE", CONVERSATION),
    "AddMembers": ("POST", f"{CONVERSATION}/members"),
    "RemoveMember": ("DELETE", f"{CONVERSATION}/members/{{user_id}}"),
    "SetMemberRole": ("PUT", f"{CONVERSATION}/members/{{user_id}}"),
    "GetMembers": ("GET", f"{CONVERSATION}/members"),
    "SendMessage": ("POST", "/v1/messages"),
    "EditMessage": ("PATCH", MESSAGE),
    "DeleteMessage": ("DELETE", MESSAGE),
    "GetMessage": ("GET", MESSAGE),
    "GetMessageEdits": ("GET", f"{MESSAGE}/edits"),
    "GetMessages": ("GET", f"{CONVERSATION}/messages"),
    "MarkMessagesAsRead": ("POST", f"{CONVERSATION}/read"),
    "MarkMessagesAsDelivered": ("POST", f"{CONVERSATION}/delivered"),
    "GetUnreadCount": ("GET", "/v1/unread"),
    "SetTypingIndicator": ("PUT", f"{CONVERSATION}/typing"),
    "GetTypingIndicators": ("GET", f"{CONVERSATION}/typing"),
    "SetOnlineStatus": ("PUT", "/v1/presence"),
    "GetOnlineStatus": ("GET", "/v1/presence"),
    "BlockUser": ("PUT", "/v1/blocks/{user_id}"),
    "UnblockUser": ("DELETE", "/v1/blocks/{user_id}"),
    "GetBlockedUsers": ("GET", "/v1/blocks"),
    "Revoke": ("POST", "/v1/revocations"),
    "GetEvents": ("GET", "/v1/events"),
    "TakeEvents": ("POST", "/v1/events"),
}
HTTP_ONLY = {"GetEvents", "TakeEvents"}
"""Operations that are no commands of a socket."""

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""The headers that ask for a WebSocket (RFC 6455 §4.1)."""

STATUS = {
    "unauthenticated": 401,
    "forbidden": 403,
    "blocked": 403,
    "read_only": 403,
    "not_found": 404,
    "conflict": 409,
}

ROLES = {"service": "service", "ADMIN": "admin", "MOD": "moderator"}
USERS = {"ADMIN": "site-admin", "MOD": "site-moderator", "tenant": "member", "blocker": "other"}
"""The user behind a caller, where it is not the caller's own name."""


def user_of(caller: str) -> str:
    """The name in the caller's token."""
    return USERS.get(caller, caller)


class Callers:
    """All callers of the tables, each with an HTTP connection and, where it may, a socket.

    They are in a tenant of their own: what they see does not grow with the tests before.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tenant = f"tenant-{next(_tenants)}"
        self._open = AsyncExitStack()
        self._http: dict[str, HttpClient] = {}
        self._sockets: dict[str, Client] = {}

    @classmethod
    @asynccontextmanager
    async def of(cls, server: Server) -> AsyncIterator["Callers"]:
        """The callers of a server; `banned` is suspended and `other` has blocked `blocked`."""
        callers = cls(server)
        async with callers._open:
            await callers.tell("UserBlocked", user_id="banned")
            await callers.do("other", "BlockUser", user_id="blocked")
            yield callers

    async def tell(self, event: str, **data: str) -> None:
        """Bring an event of the marketplace."""
        await self.do("service", "TakeEvents", **cloud_event(event, **data))

    def token(self, caller: str) -> str | None:
        """The caller's token."""
        if caller == "anon":
            return None
        roles = [ROLES[caller]] if caller in ROLES else []
        tenant = "elsewhere" if caller == "tenant" else self.tenant
        return self.server.token(user_of(caller), *roles, tenant=tenant)

    async def outcome(self, transport: str, caller: str, command: str, fields: Json) -> str:
        """`allowed`, or the code of the error, which came with its status."""
        call = self.do if transport == "http" else self.ask
        try:
            await call(caller, command, **fields)
        except CommandError as error:
            right = error.status == STATUS.get(error.code)
            return error.code if right else f"{error.code} with the status {error.status}"
        return "allowed"

    async def do(self, caller: str, command: str, **fields: Any) -> Json:
        """Give a command over HTTP."""
        method, path = TWINS[command]
        rest = {name: value for name, value in fields.items() if f"{{{name}}}" not in path}
        address = re.sub(r"{(\w+)}", lambda name: str(fields[name[1]]), path)
        http = await self._http_of(caller)
        if method in {"GET", "DELETE"}:
            query = {name: _parameter(value) for name, value in rest.items()}
            return await http.request(method, address, params=query)
        return await http.request(method, address, json=rest)

    async def ask(self, caller: str, command: str, **fields: Any) -> Json:
        """Give a command over WebSocket; raises what the handshake is refused with."""
        if caller not in self._sockets:
            await self.handshake(caller)
            client = Client(
                self.server.url,
                self.token(caller) or "",
                acknowledge_delivery=False,
                request_timeout_s=DEADLINE_S,
                max_events=1_000_000,
            )
            self._sockets[caller] = await self._open.enter_async_context(client)
        return await self._sockets[caller].request(command, **fields)

    async def handshake(self, caller: str) -> None:
        """Open a socket and drop it. Raises CommandError if it is refused."""
        token = self.token(caller)
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as session,
            session.get(
                f"{self.server.url}/ws/chat",
                params={} if token is None else {"token": token},
                headers=UPGRADE,
            ) as response,
        ):
            if response.status != 101:
                body = await response.json(content_type=None)
                raise CommandError.from_body(body, status=response.status)
            response.close()

    async def _http_of(self, caller: str) -> HttpClient:
        if caller not in self._http:
            client = HttpClient(self.server.url, self.token(caller), timeout_s=DEADLINE_S)
            self._http[caller] = await self._open.enter_async_context(client)
        return self._http[caller]


_events = iter(range(1, 1_000_000))
_tenants = iter(range(1, 1_000_000))


def cloud_event(kind: str, **data: str) -> Json:
    """An event of another service, in structured form and with an id of its own."""
    return {
        "specversion": "1.0",
        "id": f"event-{next(_events)}",
        "source": "/marketplace",
        "type": kind,
        "data": data,
    }


def _parameter(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
