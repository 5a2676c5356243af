"""The frames that a connection receives: taken as they arrive, or queued for its reader."""

import asyncio
from collections.abc import Callable

from aiohttp import WSMsgType, web
from aiohttp._websocket.models import WSMessage, WSMessageTextBytes
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketReader, WebSocketWriter

QUEUE_BYTES = 1 << 18
"""Past twice as many waiting, no more is read from the socket."""

Frame = WSMessage | WSMessageTextBytes

_DATA = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})


class Incoming(WebSocketDataQueue):
    """aiohttp's queue of received frames, past which its reader may take them while it waits.

    A taken frame costs no future, no turn of the loop and no coroutine (docs/decisions/0008). The
    order holds since frames are offered only while none is queued; one that is queued ends that.
    """

    __slots__ = ("_take",)

    def __init__(
        self, protocol: BaseProtocol, limit: int, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(protocol, limit, loop=loop)
        self._take: Callable[[Frame], bool] | None = None

    def offer(self, take: Callable[[Frame], bool]) -> None:
        """Call `take` with data frames as they arrive, until one is left to be read: by `take`,
        which then returns False, or since it is of another kind.

        To be called right before reading.
        """
        if not self._buffer:
            self._take = take

    def feed_data(self, data: Frame, size: int) -> None:
        """What the parser calls with each frame; what this raises ends it, and the reader."""
        take, self._take = self._take, None
        if take is not None and data.type in _DATA and take(data):
            self._take = take
        else:
            super().feed_data(data, size)


class ChatResponse(web.WebSocketResponse[bool]):
    """A WebSocket whose frames may be taken as they arrive."""

    _reader: Incoming | None

    def offer(self, take: Callable[[Frame], bool]) -> None:
        """See Incoming.offer."""
        assert self._reader is not None
        self._reader.offer(take)

    def _post_start(
        self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter
    ) -> None:
        """As aiohttp's own, without its heartbeat and with our queue."""
        self._ws_protocol, self._writer = protocol, writer
        self._reader = Incoming(request.protocol, QUEUE_BYTES, loop=asyncio.get_running_loop())
        self._parser = WebSocketReader(
            self._reader,
            self._max_msg_size,
            compress=bool(self._compress),
            decode_text=self._decode_text,
        )
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(False)
