"""What a client asks for when it connects (protocol §3)."""

from aiohttp import web
from msgspec import Struct, ValidationError, convert

from tradewire.domain import limits
from tradewire.domain.caller import Caller
from tradewire.domain.errors import BadRequest, Forbidden, InvalidField, Unauthenticated
from tradewire.domain.types import MessageId, Name
from tradewire.edge.auth import Authenticator
from tradewire.protocol.frames import CODECS, DEFAULT, Codec

_BEARER = "Bearer "


class Handshake(Struct, frozen=True):
    """The parameters of `/ws/chat`, checked.

    Attributes:
        device_id: "" for a device of its own.
        since: None: no resume.
        conversations: how many of the inbox `Welcome` is to carry; 0: none.
    """

    caller: Caller
    codec: Codec
    device_id: str
    since: int | None
    conversations: int
    batch: bool

    @classmethod
    async def read(cls, request: web.Request, authenticator: Authenticator) -> "Handshake":
        """Read a handshake.

        Raises:
            Unauthenticated, TokenExpired: no valid token.
            Forbidden: `user_id` is not the token's.
            InvalidField, BadRequest: a parameter, or the request, makes no sense.
        """
        query = request.query
        caller = await authenticator.authenticate(_token(request))
        if query.get("user_id", caller.user_id) != caller.user_id:
            raise Forbidden("user_id is not the token's sub.", field="user_id")
        return cls(
            caller=caller,
            codec=_codec(request),
            device_id=_checked(query["device_id"], Name, "device_id")
            if "device_id" in query
            else "",
            since=int(_checked(query["since"], MessageId, "since")) if "since" in query else None,
            conversations=_conversations(query.get("conversations", "0")),
            batch=query.get("batch") == "1",
        )


def _token(request: web.Request) -> str:
    header = request.headers.get("Authorization", "")
    token = header[len(_BEARER) :] if header.startswith(_BEARER) else request.query.get("token")
    if not token:
        raise Unauthenticated
    return token


def _codec(request: web.Request) -> Codec:
    """The first subprotocol asked for that is known."""
    asked = [
        name.strip()
        for header in request.headers.getall("Sec-WebSocket-Protocol", [])
        for name in header.split(",")
    ]
    for name in asked or [DEFAULT]:
        if name in CODECS:
            return CODECS[name]
    raise BadRequest(f"The subprotocols are {', '.join(CODECS)}.")


def _checked(value: str, kind: object, field: str) -> str:
    try:
        checked: str = convert(value, kind)
    except ValidationError as error:
        raise InvalidField(f"{field} is not valid.", field=field) from error
    return checked


def _conversations(value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= limits.INBOX_PAGE_MAX):
        message = f"conversations is a number up to {limits.INBOX_PAGE_MAX}."
        raise InvalidField(message, field="conversations")
    return int(value)
