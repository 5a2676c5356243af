"""A minimal WebSocket client (RFC 6455) that costs the generator as little as Python allows.

It takes what servers under test send: unfragmented frames without extensions.
"""

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import Callable
from typing import cast

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
HANDSHAKE_SECONDS = 30.0
_DATA = (TEXT, BINARY)
_FINAL = 0x80
_MASKED = 0x80
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NORMAL_CLOSE = struct.pack("!H", 1000)
_SHORT_HEADER = struct.Struct("!BBxxxx").pack
_MIDDLE_HEADER = struct.Struct("!BBHxxxx").pack
_LONG_HEADER = struct.Struct("!BBQxxxx").pack


class WebSocketError(Exception):
    """The server refused the handshake or broke the framing."""


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame.

    The masking key is zero, so the payload stays as it is: the server unmasks it at the usual
    cost, and the proxies that random keys protect (RFC 6455 §10.3) are not on the loopback.
    """
    size = len(payload)
    if size < 126:
        return _SHORT_HEADER(_FINAL | opcode, _MASKED | size) + payload
    if size < 65_536:
        return _MIDDLE_HEADER(_FINAL | opcode, _MASKED | 126, size) + payload
    return _LONG_HEADER(_FINAL | opcode, _MASKED | 127, size) + payload


class FrameReader:
    """Cuts a byte stream into the frames of a server, however it arrives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames completed by ``data`` as (opcode, payload).

        Raises `WebSocketError` for a fragmented, extended or masked frame.
        """
        if self._rest:
            data = self._rest + data
        frames = []
        position, available = 0, len(data)
        while available - position >= 2:
            first, size = data[position], data[position + 1]
            if first & 0xF0 != _FINAL or size > 127:
                raise WebSocketError(f"unexpected frame header {data[position : position + 2]!r}")
            start = position + 2
            if size > 125:
                start += 2 if size == 126 else 8
                if start > available:
                    break
                size = int.from_bytes(data[position + 2 : start], "big")
            end = start + size
            if end > available:
                break
            frames.append((first & 0x0F, data[start:end]))
            position = end
        self._rest = data[position:]
        return frames


class WebSocket(asyncio.Protocol):
    """One connection: ``receive`` gets the payloads of all data frames that came in one read."""

    def __init__(self, request: bytes, accept: bytes, receive: Callable[[list[bytes]], None]):
        self._request = request
        self._accept = accept
        self._receive = receive
        self._reader = FrameReader()
        self._head: bytes | None = b""
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[str] = loop.create_future()
        """Resolves when the connection is gone, with the reason the server gave, or ''."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Hand the payloads on; a frame that cannot be read ends the connection."""
        try:
            if self._head is not None:
                data = self._read_head(self._head + data)
            self._dispatch(self._reader.feed(data))
        except WebSocketError as error:
            self._end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, in whichever phase it comes."""
        self._end(f"connection lost: {exc}" if exc else "connection lost")

    def send(self, frames: bytes) -> None:
        """Write frames made by `masked_frame`; nothing happens on a closed connection."""
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(frames)

    def close(self) -> None:
        """Say goodbye and close."""
        self.send(masked_frame(CLOSE, _NORMAL_CLOSE))
        self._end("")

    def cut(self) -> None:
        """End the connection at once, as a network that fails does."""
        assert self._transport is not None
        self._transport.abort()

    def _dispatch(self, frames: list[tuple[int, bytes]]) -> None:
        payloads = []
        for opcode, payload in frames:
            if opcode in _DATA:
                payloads.append(payload)
            else:
                self._control(opcode, payload)
        if payloads:
            self._receive(payloads)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.send(masked_frame(PONG, payload))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self._end(f"closed by the server with {code}")

    def _read_head(self, head: bytes) -> bytes:
        """Collect the answer to the handshake; return what follows it."""
        end = head.find(b"\r\n\r\n")
        if end < 0:
            self._head = head
            return b""
        status = head.partition(b"\r\n")[0].decode("latin-1")
        if " 101 " not in status:
            raise WebSocketError(f"handshake refused: {status}")
        if self._accept not in head[:end]:
            raise WebSocketError("handshake answered with another key")
        self._head = None
        self.opened.set_result(None)
        return head[end + 4 :]

    def _end(self, reason: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(WebSocketError(reason))
        if not self.closed.done():
            self.closed.set_result(reason)
        if self._transport is not None:
            self._transport.close()


async def connect(
    host: str, port: int, path: str, subprotocol: str, receive: Callable[[list[bytes]], None]
) -> WebSocket:
    """Open a WebSocket; raises `WebSocketError`, `OSError`, or `TimeoutError` after 30 s."""
    key = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SUFFIX, usedforsecurity=False).digest())
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    async with asyncio.timeout(HANDSHAKE_SECONDS):
        _, socket = await asyncio.get_running_loop().create_connection(
            lambda: WebSocket(request.encode(), accept, receive), host, port
        )
        try:
            await socket.opened
        except asyncio.CancelledError:
            socket.cut()
            raise
    return socket
