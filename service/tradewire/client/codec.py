"""Frames of the two subprotocols: bytes to objects and back."""

import json
from typing import Any, Literal, Protocol, TypeAlias

import msgpack

Json: TypeAlias = dict[str, Any]
ProtocolName: TypeAlias = Literal["json", "msgpack"]


class UnreadableFrame(ValueError):
    """The server sent what is neither an object nor an array of objects."""


class Codec(Protocol):
    """One way to write the objects of the protocol."""

    subprotocol: str
    binary: bool

    def encode(self, value: Json) -> bytes:
        """Write one object. Raises TypeError or ValueError for what the format cannot hold."""
        ...

    def decode(self, frame: str | bytes) -> list[Json]:
        """Read the objects of a frame. Raises UnreadableFrame."""
        ...


class JsonCodec:
    """`chat.v1.json`: text frames."""

    subprotocol = "chat.v1.json"
    binary = False

    def encode(self, value: Json) -> bytes:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()

    def decode(self, frame: str | bytes) -> list[Json]:
        try:
            return _objects(json.loads(frame))
        except (ValueError, RecursionError) as error:
            raise UnreadableFrame(str(error)) from error


class MsgpackCodec:
    """`chat.v1.msgpack`: binary frames."""

    subprotocol = "chat.v1.msgpack"
    binary = True

    def encode(self, value: Json) -> bytes:
        packed: bytes = msgpack.packb(value)
        return packed

    def decode(self, frame: str | bytes) -> list[Json]:
        try:
            return _objects(msgpack.unpackb(frame))
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise UnreadableFrame(str(error)) from error


def codec_for(protocol: ProtocolName) -> Codec:
    """The codec of a protocol's short name. Raises KeyError for any other."""
    codecs: dict[str, Codec] = {"json": JsonCodec(), "msgpack": MsgpackCodec()}
    return codecs[protocol]


def _objects(value: Any) -> list[Json]:
    objects: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in objects):
        raise UnreadableFrame("a frame holds an object or an array of objects")
    return objects
