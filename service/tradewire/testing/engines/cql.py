"""The few frames of the CQL protocol that tell whether a server is ready, and which it is.

The driver is not used: a server must be looked at before it can serve one, and a test that needs
no driver should not have to install it. Frames: native protocol version 4, section 2 and 4.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from tradewire.testing.engines.addresses import split

TIMEOUT_S = 3.0
LOGIN = ("cassandra", "cassandra")
"""The superuser that a new server with passwords has."""

_VERSION = 4
_ERROR, _STARTUP, _READY, _AUTHENTICATE, _OPTIONS, _SUPPORTED = 0, 1, 2, 3, 5, 6
_QUERY, _RESULT, _AUTH_RESPONSE, _AUTH_SUCCESS = 7, 8, 15, 16
_ONE, _ALL = 1, 5
_ROWS = 2
_HEADER = struct.Struct("!BBhBi")

_WHO = "SELECT release_version, data_center FROM system.local"
# A table that is replicated three times from the start: to read it from all is to see all.
_FROM_ALL = (
    "SELECT status FROM system_distributed.view_build_status"
    " WHERE keyspace_name = 'none' AND view_name = 'none'"
)


@dataclass(frozen=True)
class Server:
    """What answers at an address: product and version, and the datacenter it counts itself to."""

    name: str
    datacenter: str


def identify(address: str) -> Server:
    """Which server answers there, once it takes queries.

    Raises:
        OSError: it does not answer, or not as a CQL server that is ready.
    """
    with _connected(address) as connection:
        options = connection.options()
        connection.log_in()
        release, datacenter = connection.query(_WHO, _ONE)[0]
    is_scylla = any(name.startswith("SCYLLA_") for name in options)
    return Server("ScyllaDB" if is_scylla else f"Apache Cassandra {release}", datacenter)


def sees_all(address: str) -> bool:
    """Whether the node sees all three nodes of its cluster up.

    Raises:
        OSError: it does not answer.
    """
    with _connected(address) as connection:
        connection.log_in()
        try:
            connection.query(_FROM_ALL, _ALL)
        except _Refused:
            return False
    return True


class _Refused(ConnectionError):
    """The server answered by an error; the text is its own."""


class _Connection:
    def __init__(self, raw: socket.socket, stream: BinaryIO) -> None:
        self._raw = raw
        self._stream = stream

    def options(self) -> dict[str, list[str]]:
        body = _Body(self._ask(_OPTIONS, b"", _SUPPORTED))
        return {body.string(): body.strings() for _ in range(body.short())}

    def log_in(self) -> None:
        opcode, _ = self._exchange(_STARTUP, _map({"CQL_VERSION": "3.0.0"}))
        if opcode == _AUTHENTICATE:
            user, password = LOGIN
            token = f"\0{user}\0{password}".encode()
            self._ask(_AUTH_RESPONSE, struct.pack("!i", len(token)) + token, _AUTH_SUCCESS)
        elif opcode != _READY:
            raise ConnectionError(f"STARTUP was answered by opcode {opcode}")

    def query(self, text: str, consistency: int) -> list[list[str]]:
        statement = text.encode()
        asked = struct.pack("!i", len(statement)) + statement + struct.pack("!HB", consistency, 0)
        return _Body(self._ask(_QUERY, asked, _RESULT)).rows()

    def _ask(self, opcode: int, body: bytes, expected: int) -> bytes:
        answered, answer = self._exchange(opcode, body)
        if answered == _ERROR:
            raise _Refused(answer[4:].decode(errors="replace"))
        if answered != expected:
            raise ConnectionError(f"opcode {opcode} was answered by {answered}")
        return answer

    def _exchange(self, opcode: int, body: bytes) -> tuple[int, bytes]:
        self._raw.sendall(_HEADER.pack(_VERSION, 0, 0, opcode, len(body)) + body)
        *_, answered, length = _HEADER.unpack(self._read(_HEADER.size))
        return answered, self._read(length)

    def _read(self, length: int) -> bytes:
        data = self._stream.read(length)
        if len(data) < length:
            raise ConnectionError("the server closed the connection")
        return data


@contextmanager
def _connected(address: str) -> Iterator[_Connection]:
    with (
        socket.create_connection(split(address), TIMEOUT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        try:
            yield _Connection(raw, stream)
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise ConnectionError(f"{address} does not speak CQL: {error}") from error


class _Body:
    """Reads the values of a frame one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def rows(self) -> list[list[str]]:
        """The rows of a result whose columns are all text; none of a result of another kind."""
        if self._integer() != _ROWS:
            return []
        flags, columns = self._integer(), self._integer()
        if flags != 1:
            raise ConnectionError(f"rows come with unexpected flags {flags}")
        self.string(), self.string()
        for _ in range(columns):
            self.string(), self.short()
        return [[self._value() for _ in range(columns)] for _ in range(self._integer())]

    def short(self) -> int:
        return int.from_bytes(self._take(2))

    def string(self) -> str:
        return self._take(self.short()).decode()

    def strings(self) -> list[str]:
        return [self.string() for _ in range(self.short())]

    def _integer(self) -> int:
        return int.from_bytes(self._take(4), signed=True)

    def _value(self) -> str:
        return self._take(max(self._integer(), 0)).decode()

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) < length:
            raise IndexError("a frame ends early")
        self._at += length
        return taken


def _map(values: dict[str, str]) -> bytes:
    texts = [text.encode() for pair in values.items() for text in pair]
    return struct.pack("!H", len(values)) + b"".join(
        struct.pack("!H", len(text)) + text for text in texts
    )
