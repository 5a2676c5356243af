"""The send queue of one connection: bounded in bytes, written in one go."""

import asyncio
from typing import Protocol

from tradewire.domain.events import (
    Event,
    MessageDelivered,
    MessageRead,
    TypingStarted,
    TypingStopped,
    UserOffline,
    UserOnline,
)
from tradewire.protocol.frames import Codec, Encoded, frame_header

QUEUE_BYTES = 1 << 20
"""More than this waiting, and the connection is too slow."""

BACKLOG_BYTES = 1 << 16
"""What the transport may hold before the queue begins to wait for it, and merges and drops."""

STALL_S = 20.0
"""How long a connection may take nothing at all."""

BATCH_BYTES = 1 << 16
BATCH_ITEMS = 1 << 10

_DROPPABLE = (TypingStarted, TypingStopped, UserOnline, UserOffline)
_MERGEABLE = (MessageRead, MessageDelivered)


class Transport(Protocol):
    """What is needed of an asyncio transport."""

    def write(self, data: bytes) -> None:
        """Send bytes, keep what the socket does not take."""

    def get_write_buffer_size(self) -> int:
        """Bytes kept."""

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""


class Outbound:
    """What waits to be sent to one connection.

    While the transport keeps up, all is passed on at each `flush`. When it does not, typing and
    presence are dropped, an older receipt of the same reader gives way to the newer one, and past
    QUEUE_BYTES `overrun` is set: the connection is to be closed, and resumes.

    It starts held: what is put waits behind the payload that `release` sends first.
    """

    __slots__ = (
        "_batch", "_codec", "_drained", "_held", "_merged", "_stalled_at", "_transport",
        "_waiting", "bytes", "dropped", "overrun",
    )  # fmt: skip

    def __init__(self, transport: Transport, codec: Codec, *, batch: bool) -> None:
        self._transport = transport
        self._codec = codec
        self._batch = batch
        self._waiting: list[bytes] = []
        self._merged: dict[tuple[str, ...], int] | None = None
        self._stalled_at: float | None = None
        self._drained: asyncio.Future[None] | None = None
        self._held = True
        self.bytes = 0
        self.dropped = 0
        self.overrun = False

    def put(self, encoded: Encoded) -> None:
        """Queue an event by its class: dropped or merged only when the connection lags."""
        if self._stalled_at is not None:
            event = encoded.event
            if isinstance(event, _DROPPABLE):
                self.dropped += 1
                return
            if isinstance(event, _MERGEABLE):
                self._merge(event, encoded.payload(self._codec))
                return
        self.put_payload(encoded.payload(self._codec))

    def put_payload(self, payload: bytes) -> None:
        """Queue a payload that must arrive."""
        self._waiting.append(payload)
        self.bytes += len(payload)
        if self.bytes > QUEUE_BYTES:
            self.overrun = True

    def put_event(self, event: Event) -> None:
        """Queue what concerns this connection alone and must arrive."""
        self.put_payload(self._codec.encode(event))

    def release(self, first: Event) -> None:
        """Send this first, then what has gathered."""
        payload = self._codec.encode(first)
        self._waiting.insert(0, payload)
        self.bytes += len(payload)
        self._held = False

    def flush(self, now: float) -> bool:
        """Write what waits if the transport has room; False: call again later.

        `now` is in seconds of any clock that never goes back.
        """
        if self._held or not self._waiting:
            return True
        if self._transport.is_closing():
            self._clear()
            return True
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES:
            if self._stalled_at is None:
                self._stalled_at = now
                self._merged = {}
            elif now - self._stalled_at > STALL_S:
                self.overrun = True
            return False
        self._transport.write(self._frames())
        self._clear()
        return True

    async def drained(self, deadline_s: float) -> None:
        """Wait until nothing waits here.

        Raises:
            TimeoutError: not within the deadline.
        """
        if not self._waiting:
            return
        if self._drained is None or self._drained.done():
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.wait_for(asyncio.shield(self._drained), deadline_s)

    def _clear(self) -> None:
        self._waiting.clear()
        self.bytes = 0
        self._merged = self._stalled_at = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _merge(self, event: MessageRead | MessageDelivered, payload: bytes) -> None:
        key = (type(event).__name__, event.conversation_id, event.user_id)
        assert self._merged is not None
        place = self._merged.get(key)
        if place is None:
            self._merged[key] = len(self._waiting)
            self.put_payload(payload)
            return
        self.dropped += 1
        self.bytes += len(payload) - len(self._waiting[place])
        self._waiting[place] = payload

    def _frames(self) -> bytes:
        if len(self._waiting) == 1:
            payload = self._waiting[0]
            return frame_header(self._codec.opcode, len(payload)) + payload
        payloads = self._arrays() if self._batch else self._waiting
        opcode = self._codec.opcode
        pieces: list[bytes] = []
        for payload in payloads:
            pieces.append(frame_header(opcode, len(payload)))
            pieces.append(payload)
        return b"".join(pieces)

    def _arrays(self) -> list[bytes]:
        """The payloads in as few arrays as their bounds allow."""
        arrays: list[bytes] = []
        gathered: list[bytes] = []
        size = 0
        for payload in self._waiting:
            if gathered and (size + len(payload) > BATCH_BYTES or len(gathered) == BATCH_ITEMS):
                arrays.append(self._codec.batch(gathered))
                gathered, size = [], 0
            gathered.append(payload)
            size += len(payload)
        arrays.append(self._codec.batch(gathered))
        return arrays
