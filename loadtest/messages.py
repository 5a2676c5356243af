"""The few objects of the wire protocol (§3) that the generator sends and reads."""

from collections.abc import Callable
from typing import Literal

import msgspec

from loadtest.websocket import BINARY, TEXT, masked_frame

Protocol = Literal["json", "msgpack"]

MESSAGE_TEXT = "Is the lamp still available? I could pick it up on Saturday."


class Message(msgspec.Struct, gc=False):
    """A received message, as far as it is checked."""

    message_id: str
    conversation_id: str
    key: str = ""
    text: str = ""


class Chat(msgspec.Struct, gc=False):
    """A conversation of an inbox page, as far as it is checked."""

    conversation_id: str


class Result(msgspec.Struct, gc=False):
    """What a reply says: to ``SendMessage``, ``GetMessages`` and ``GetUserConversations``."""

    message: Message | None = None
    duplicate: bool = False
    messages: list[Message] | None = None
    conversations: list[Chat] | None = None


class Error(msgspec.Struct, gc=False):
    """An error of a reply (§6)."""

    code: str


class ServerFrame(msgspec.Struct, gc=False):
    """Whatever the server sends: a ``Reply``, ``Welcome``, ``SyncCompleted`` or an event."""

    type: str
    id: int | str | None = None
    result: Result | None = None
    error: Error | None = None
    message: Message | None = None
    session_id: str = ""
    cursor: str = "0"
    truncated: bool = False


DECODERS: dict[Protocol, Callable[[bytes], ServerFrame]] = {
    "json": msgspec.json.Decoder(ServerFrame).decode,
    "msgpack": msgspec.msgpack.Decoder(ServerFrame).decode,
}


RESULT = msgspec.json.Decoder(Result).decode
"""Reads the answer to a request over HTTP."""


def command_frame(protocol: Protocol, fields: object) -> bytes:
    """The whole frame of any command, or of a list of them."""
    if protocol == "json":
        return masked_frame(TEXT, msgspec.json.encode(fields))
    return masked_frame(BINARY, msgspec.msgpack.encode(fields))


def frame_encoder(
    protocol: Protocol, conversation_id: str, session_id: str
) -> Callable[[int], bytes]:
    """Return a function from ``n`` to the whole frame of a ``SendMessage``.

    Its ``id`` is ``n``, its ``key`` ``<session_id>:<n>``; all else is encoded once, here.
    """
    fields = {
        "type": "SendMessage",
        "conversation_id": conversation_id,
        "text": MESSAGE_TEXT,
    }
    if protocol == "json":
        return _json_encoder(fields, session_id)
    return _msgpack_encoder(fields, session_id)


def _json_encoder(fields: dict[str, str], session_id: str) -> Callable[[int], bytes]:
    head = msgspec.json.encode(fields)[:-1] + f',"key":"{session_id}:'.encode()

    def encode(n: int) -> bytes:
        digits = b"%d" % n
        return masked_frame(TEXT, head + digits + b'","id":' + digits + b"}")

    return encode


def _msgpack_encoder(fields: dict[str, str], session_id: str) -> Callable[[int], bytes]:
    head = b"\x85" + msgspec.msgpack.encode(fields)[1:] + b"\xa2id\xce"
    prefix = f"{session_id}:".encode()

    def encode(n: int) -> bytes:
        key = prefix + b"%d" % n
        payload = head + n.to_bytes(4, "big") + b"\xa3key\xd9" + bytes((len(key),)) + key
        return masked_frame(BINARY, payload)

    return encode
