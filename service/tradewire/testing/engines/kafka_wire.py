"""The one request of the Kafka protocol that any broker answers: which requests it knows."""

import socket
import struct

from tradewire.testing.engines.addresses import split

TIMEOUT_S = 3.0
_API_VERSIONS = 18
_CORRELATION = 7


def answers(address: str) -> bool:
    """Whether a broker that takes requests answers there."""
    request = struct.pack("!hhih", _API_VERSIONS, 0, _CORRELATION, -1)
    try:
        answer = _asked(address, struct.pack("!i", len(request)) + request)
    except OSError:
        return False
    # Length, the correlation id of the request, no error.
    return answer[4:] == struct.pack("!ih", _CORRELATION, 0)


def _asked(address: str, request: bytes) -> bytes:
    with (
        socket.create_connection(split(address), TIMEOUT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        raw.sendall(request)
        return stream.read(10)
