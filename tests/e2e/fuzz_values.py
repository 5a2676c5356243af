"""What no client should send: Hypothesis strategies for values, frames and requests."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

import msgpack
from hypothesis import strategies as st

from tests.e2e.authorization_calls import HTTP_ONLY, TWINS
from tradewire.domain.commands import COMMANDS

CONVERSATION = "00000000-0000-8000-8000-000000000000"
MESSAGE = "100000000000000001"
"""Where the ids of what exists are put in at the time of sending; they are as long as those."""

FRAME_BYTES = 65_536
"""The largest frame and body (protocol §3)."""

ADDRESS_BYTES = 8_190
"""The longest address that the server's HTTP parser reads."""

_FIELDS = {
    command.__name__: tuple(name for name in command.__struct_fields__ if name != "id")
    for command in COMMANDS
} | {
    "GetEvents": ("after", "limit"),
    "TakeEvents": ("specversion", "id", "source", "type", "time", "tenant", "data"),
}

# A value that is right for a field of this name.
_RIGHT: dict[str, Any] = {
    "conversation_id": CONVERSATION,
    "message_id": MESSAGE,
    "message_ids": [MESSAGE],
    "up_to": MESSAGE,
    "reply_to": MESSAGE,
    "before": MESSAGE,
    "after": "0",
    "around": MESSAGE,
    "text": "hello",
    "title": "a title",
    "key": "a-key",
    "kind": "group",
    "content_type": "text",
    "metadata": {"product_id": "p-1", "nested": [{"a": 1.5}]},
    "user_id": "someone",
    "user_ids": ["someone", "another"],
    "member_ids": ["someone"],
    "role": "member",
    "status": "open",
    "archived": True,
    "muted": False,
    "pinned": True,
    "typing": True,
    "all": True,
    "until": "2099-01-01T00:00:00.000Z",
    "limit": 3,
    "specversion": "1.0",
    "id": "event-1",
    "source": "/marketplace",
    "type": "UserUnblocked",
    "data": {"user_id": "someone"},
}

_TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(categories=["Cs", "Cc", "So"]), max_size=5),
    st.sampled_from(
        ["\0", "\ud800", "\udc00\ud800", "a" * 10_001, "../../etc/passwd", "%00", "1e999", "null"]
    ),
)
_WHOLES = st.one_of(
    st.integers(),
    st.sampled_from([1 << 31, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 10**400]),
    st.sampled_from([-1, -(1 << 63), -(1 << 63) - 1]),
)
_SCALARS = st.one_of(st.none(), st.booleans(), _WHOLES, st.floats(), _TEXTS)
WILD: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=6,
)


@st.composite
def fields_of(draw: st.DrawFn, command: str) -> dict[str, Any]:
    """The fields of a command: at most two are wild, the others right or left out."""
    names = _FIELDS[command]
    wild = draw(st.lists(st.sampled_from(names), max_size=2)) if names else []
    right = [name for name in names if name in _RIGHT and draw(st.integers(0, 3))]
    return {name: _RIGHT[name] for name in right} | {name: draw(_wild(name)) for name in wild}


def _wild(name: str) -> st.SearchStrategy[Any]:
    """Wild values for a field; a message that soon expires would change the state by itself."""
    return WILD.filter(lambda value: name != "expires_in_s" or not _is_short(value))


def _is_short(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < 3_600


@st.composite
def _commands(draw: st.DrawFn) -> dict[str, Any]:
    """A command as a client might write it, more or less."""
    name = draw(st.sampled_from([command.__name__ for command in COMMANDS]))
    kind = name if draw(st.integers(0, 7)) else draw(WILD)
    id = draw(st.integers(0, 9)) if draw(st.integers(0, 7)) else draw(WILD)
    return {"type": kind, "id": id, **draw(fields_of(name))}


Encode: TypeAlias = Callable[[Any], bytes]


def json_bytes(value: Any) -> bytes:
    """JSON, or nearly: NaN and lone surrogates are written as well."""
    return json.dumps(value).encode()


def _json_in_utf8(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _msgpack_bytes(value: Any) -> bytes:
    packed: bytes = msgpack.packb(_packable(value), unicode_errors="surrogatepass")
    return packed


def _packable(value: Any) -> Any:
    """The value with what MessagePack cannot hold as an extension or as bytes."""
    match value:
        case bool():
            return value
        case int() if not -(1 << 63) <= value < 1 << 64:
            return msgpack.ExtType(5, b"a large number")
        case list():
            return [_packable(item) for item in value]
        case dict():
            return {name: _packable(item) for name, item in value.items()}
    return value


@st.composite
def mutated(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """The bytes with a few places changed, cut out, doubled or put in."""
    data = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        middle = draw(st.sampled_from([b"", data[start:end] * 2]) | st.binary(max_size=8))
        data = data[:start] + middle + data[end:]
    return data


_DEPTHS = (14, 15, 16, 17, 1_000, 8_000)
_LEVELS: dict[Encode, list[tuple[bytes, bytes]]] = {
    json_bytes: [(b"[", b"]"), (b'{"a":', b"}")],
    _msgpack_bytes: [(b"\x91", b""), (b"\x81\xa1a", b"")],
}
"""What opens and closes a level of nesting."""


def _oddities(encode: Encode) -> list[bytes]:
    """Values nested deep, alone and as the metadata of a message, a long number, empty arrays."""
    message = encode({**_RIGHT, "type": "SendMessage", "metadata": "HERE"})
    found = [
        opening * depth + encode(1) + closing * depth
        for opening, closing in _LEVELS[encode]
        for depth in _DEPTHS
    ]
    in_metadata = [message.replace(encode("HERE"), value) for value in found]
    number = encode({"type": "Ping", "id": "HERE"}).replace(encode("HERE"), b"9" * 5_000)
    return [*found, *in_metadata, number, encode([]), encode([[]])]


def _frames(encode: Encode) -> st.SearchStrategy[bytes]:
    commands = _commands()
    written = st.one_of(commands, commands, st.lists(commands, max_size=4), WILD).map(encode)
    frames = st.one_of(
        written,
        mutated(written),
        st.binary(max_size=100),
        st.sampled_from(_oddities(encode)),
    )
    return frames.filter(lambda frame: len(frame) <= FRAME_BYTES)


FRAMES = {
    "chat.v1.json": _frames(json_bytes) | _commands().map(_json_in_utf8),
    "chat.v1.msgpack": _frames(_msgpack_bytes),
}
"""By subprotocol."""


@dataclass(frozen=True)
class Request:
    """One request over HTTP; `caller` is whose token it carries."""

    caller: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


_CALLERS = st.sampled_from(["fuzzer", "fuzzer", "fuzzer", "service", "nobody"])
_BODIES = st.one_of(mutated(WILD.map(json_bytes)), st.sampled_from(_oddities(json_bytes)))
_MEDIA_TYPES = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-16",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "text/plain",
        "multipart/form-data",
        "",
    ]
)
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=150)
        for name in ("Idempotency-Key", "X-Request-Id", "Accept", "Range", "ce-id", "ce-type")
    },
)


def _query(fields: dict[str, Any]) -> str:
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in fields.items())


def _quoted(value: Any) -> str:
    return quote(value if isinstance(value, str) else repr(value), safe="", errors="surrogatepass")


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    """A request to an address of the interface, with fields in all the places they can be."""
    command = draw(st.sampled_from(sorted(TWINS)))
    method, path = TWINS[command]
    fields = draw(fields_of(command))
    for name in [name for name in _FIELDS[command] if f"{{{name}}}" in path]:
        path = path.replace(f"{{{name}}}", _quoted(fields.pop(name, _RIGHT[name])))
    in_query = method in {"GET", "DELETE"}
    media_type = "application/json" if draw(st.booleans()) else draw(_MEDIA_TYPES)
    return Request(
        caller="service" if command in HTTP_ONLY else draw(_CALLERS),
        method=method,
        path=f"{path}?{_query(fields)}" if in_query or draw(st.booleans()) else path,
        headers={**draw(_HEADERS), "Content-Type": media_type},
        body=json_bytes(fields) if draw(st.booleans()) and not in_query else draw(_BODIES),
    )


REQUESTS = _requests().filter(lambda request: len(request.path) < ADDRESS_BYTES)

QUERIES = (
    st.dictionaries(
        st.sampled_from(["since", "device_id", "user_id", "conversations", "batch"]), WILD
    )
    .map(_query)
    .filter(lambda query: len(query) < ADDRESS_BYTES - 1_000)
)
"""Parameters of a handshake; the token comes on top."""
