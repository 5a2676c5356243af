"""The frames that a connection receives: taken as they arrive, or queued for its reader."""

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import WSMsgType, web
from aiohttp._websocket.models import WSMessage, WSMessageTextBytes
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketReader, WebSocketWriter

_log = structlog.get_logger(__name__)

QUEUE_BYTES = 1 << 18
"""Past twice as many waiting, no more is read from the socket."""

Frame = WSMessage | WSMessageTextBytes

_DATA = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})


class Incoming(WebSocketDataQueue):
    """aiohttp's queue of received frames, past which those that find it empty may be taken.

    That saves a future, a turn of the loop and four coroutines for each (decision 8).
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
        """
        if not self._buffer:
            self._take = take

    def feed_data(self, data: Frame, size: int) -> None:
        """What the parser calls with each frame; it swallows what is raised here."""
        if self._take is not None and data.type in _DATA:
            try:
                if self._take(data):
                    return
            except Exception as error:  # noqa: BLE001  # the reader is to learn of it
                _log.exception("frame not taken")
                self.set_exception(error)
                return
        self._take = None
        super().feed_data(data, size)


class ChatResponse(web.WebSocketResponse[bool]):
    """A WebSocket whose frames may be taken as they arrive; messages come as bytes."""

    _reader: Incoming | None

    async def receive_unless(self, taken: Callable[[Frame], bool]) -> Frame:
        """The next frame that is not `taken`: see Incoming.offer."""
        assert self._reader is not None
        self._reader.offer(taken)
        return await self.receive()

    def _post_start(
        self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter
    ) -> None:
        """As aiohttp's own, without compression and heartbeat, and with our queue."""
        self._ws_protocol, self._writer = protocol, writer
        self._reader = Incoming(request.protocol, QUEUE_BYTES, loop=asyncio.get_running_loop())
        self._parser = WebSocketReader(
            self._reader, self._max_msg_size, compress=False, decode_text=False
        )
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(False)
