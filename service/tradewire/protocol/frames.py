"""Frames to commands, and events to payloads, in both subprotocols (protocol §3)."""

from typing import Any, Protocol

import msgspec

from tradewire.domain import limits
from tradewire.domain.commands import COMMANDS, Command
from tradewire.domain.errors import BadRequest, TooLarge, TradewireError
from tradewire.domain.events import Event
from tradewire.protocol.validation import (
    UNDECODABLE,
    invalid_field,
    lone_surrogate,
    surrogate_refused,
)

_AnyCommand: Any = COMMANDS[0]
for _command in COMMANDS[1:]:
    _AnyCommand = _AnyCommand | _command

_NAMES = frozenset(command.__name__ for command in COMMANDS)


class Malformed(msgspec.Struct, frozen=True):
    """A command that was not understood.

    Attributes:
        id: what its reply is to carry; None when that was not understood either.
        undecodable: not even an object: it counts against the connection.
    """

    id: int | str | None
    error: TradewireError
    undecodable: bool = False


class _Header(msgspec.Struct):
    type: Any = None
    id: Any = None


class _Format(Protocol):
    """A msgspec codec; the module for JSON or that for MessagePack."""

    Decoder: Any
    Encoder: Any


class Codec:
    """One subprotocol: `name` as negotiated, `opcode` of its frames, `slot` for what is cached."""

    def __init__(self, name: str, slot: int, opcode: int, form: _Format) -> None:
        self.name = name
        self.slot = slot
        self.opcode = opcode
        self.encode = form.Encoder().encode
        self._decode = form.Decoder(_AnyCommand).decode
        self._decode_list = form.Decoder(list[msgspec.Raw]).decode
        self._decode_header = form.Decoder(_Header).decode

    def decode(self, frame: bytes) -> list[Command | Malformed]:
        """The commands of a frame, in their order; never raises."""
        # Most frames are one command, which costs one look.
        try:
            return [self._decode(frame)]
        except UNDECODABLE:
            return self._decode_others(frame)

    def _decode_others(self, frame: bytes) -> list[Command | Malformed]:
        """What is not one command: several, or a fault."""
        if not self._is_array(frame):
            return [self._decode_one(frame)]
        try:
            items = self._decode_list(frame)
        except UNDECODABLE:
            return [_undecodable()]
        if len(items) > limits.FRAME_COMMANDS:
            error = TooLarge(f"A frame holds at most {limits.FRAME_COMMANDS} commands.")
            return [Malformed(None, error)]
        return [self._decode_one(item) for item in items]

    def batch(self, payloads: list[bytes]) -> bytes:
        """Several payloads as one array."""
        raise NotImplementedError

    def _is_array(self, frame: bytes) -> bool:
        raise NotImplementedError

    def _decode_one(self, item: bytes | msgspec.Raw) -> Command | Malformed:
        try:
            command: Command = self._decode(item)
        except msgspec.ValidationError as error:
            return self._explain(item, error)
        except UNDECODABLE:
            return self._fault(bytes(item))
        return command

    def _fault(self, item: bytes) -> Malformed:
        """What to answer to bytes that the decoder refused."""
        del item
        return _undecodable()

    def _explain(self, item: bytes | msgspec.Raw, error: msgspec.ValidationError) -> Malformed:
        """What is wrong with something that could be decoded, addressed to its id if it has one."""
        try:
            header: _Header = self._decode_header(item)
        except UNDECODABLE:
            return _undecodable()
        answer = header.id if _is_request_id(header.id) else None
        if not isinstance(header.type, str) or header.type not in _NAMES:
            return Malformed(answer, BadRequest("There is no such command.", field="type"))
        return Malformed(answer, invalid_field(error))


class JsonCodec(Codec):
    """`chat.v1.json`: text frames."""

    def __init__(self) -> None:
        super().__init__("chat.v1.json", 0, 0x1, msgspec.json)

    def batch(self, payloads: list[bytes]) -> bytes:
        """Several payloads as one array."""
        return b"[" + b",".join(payloads) + b"]"

    def _is_array(self, frame: bytes) -> bool:
        return frame.lstrip()[:1] == b"["

    def _fault(self, item: bytes) -> Malformed:
        found = lone_surrogate(item)
        if found is None:
            return _undecodable()
        command, field = found
        answer = command.get("id")
        known = answer if field != "id" and _is_request_id(answer) else None
        return Malformed(known, surrogate_refused(field))


class MsgpackCodec(Codec):
    """`chat.v1.msgpack`: binary frames."""

    def __init__(self) -> None:
        super().__init__("chat.v1.msgpack", 1, 0x2, msgspec.msgpack)

    def batch(self, payloads: list[bytes]) -> bytes:
        """Several payloads as one array, in the form for up to 65,535 items."""
        return b"\xdc" + len(payloads).to_bytes(2) + b"".join(payloads)

    def _is_array(self, frame: bytes) -> bool:
        return frame[:1] in _MSGPACK_ARRAYS


_MSGPACK_ARRAYS = frozenset(bytes((lead,)) for lead in (*range(0x90, 0xA0), 0xDC, 0xDD))

CODECS: dict[str, Codec] = {codec.name: codec for codec in (JsonCodec(), MsgpackCodec())}
"""By the name of the subprotocol; the first is the default."""

DEFAULT = "chat.v1.json"


class Encoded:
    """An event that is encoded once per codec, however many connections it goes to."""

    __slots__ = ("_payloads", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._payloads: list[bytes | None] = [None, None]

    def payload(self, codec: Codec) -> bytes:
        """The event in the form of this codec."""
        known = self._payloads[codec.slot]
        if known is None:
            known = self._payloads[codec.slot] = codec.encode(self.event)
        return known


def frame_header(opcode: int, length: int) -> bytes:
    """The header of an unmasked, final WebSocket frame (RFC 6455 §5.2)."""
    if length < 126:
        return bytes((0x80 | opcode, length))
    if length < 1 << 16:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2)
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8)


def _undecodable() -> Malformed:
    return Malformed(None, BadRequest("This frame cannot be decoded."), undecodable=True)


def _is_request_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 64
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63
