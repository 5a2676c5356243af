import json
from collections.abc import Callable

import msgpack
import msgspec
import pytest

from loadtest.messages import DECODERS, MESSAGE_TEXT, Protocol, frame_encoder
from loadtest.websocket import BINARY, TEXT

READERS: dict[Protocol, Callable[[bytes], object]] = {
    "json": json.loads,
    "msgpack": msgpack.unpackb,
}
OPCODES: dict[Protocol, int] = {"json": TEXT, "msgpack": BINARY}
PROTOCOLS = pytest.mark.parametrize("protocol", ["json", "msgpack"])


@PROTOCOLS
@pytest.mark.parametrize("n", [1, 9, 10, 99_999, 4_000_000_000])
@pytest.mark.parametrize("session_id", ["01HZX4J7", "0123456789abcdef0123456789abcdef-01234567"])
def test_a_frame_holds_the_command(protocol: Protocol, n: int, session_id: str) -> None:
    frame = frame_encoder(protocol, "c-1", session_id)(n)
    header = 8  # two bytes, two of length, four of mask
    assert frame[:2] == bytes((0x80 | OPCODES[protocol], 0x80 | 126))
    assert int.from_bytes(frame[2:4], "big") == len(frame) - header
    assert frame[4:header] == bytes(4)
    assert READERS[protocol](frame[header:]) == {
        "type": "SendMessage",
        "id": n,
        "conversation_id": "c-1",
        "key": f"{session_id}:{n}",
        "text": MESSAGE_TEXT,
    }


WRITERS: dict[Protocol, Callable[[object], bytes]] = {
    "json": msgspec.json.encode,
    "msgpack": msgspec.msgpack.encode,
}


@PROTOCOLS
def test_replies_events_and_errors_are_read(protocol: Protocol) -> None:
    write, read = WRITERS[protocol], DECODERS[protocol]
    message = {"message_id": "7", "conversation_id": "c-1", "key": "s:1", "text": "hi", "more": []}
    reply = read(write({"type": "Reply", "id": 1, "result": {"message": message}}))
    assert reply.id == 1
    assert reply.result is not None
    assert reply.result.message is not None
    assert reply.result.message.message_id == "7"
    event = read(write({"type": "MessageReceived", "message": message}))
    assert event.message is not None
    assert (event.message.key, event.message.text) == ("s:1", "hi")
    failed = read(write({"type": "Reply", "id": 2, "error": {"code": "overloaded", "status": 503}}))
    assert failed.result is None
    assert failed.error is not None
    assert failed.error.code == "overloaded"
