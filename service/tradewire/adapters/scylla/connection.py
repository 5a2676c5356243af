"""The driver's connection, read and written on the event loop that its requests come from.

The reactors of the driver live in a thread. A lone request then switches ten times between that
thread and the loop, each time waiting for the interpreter's lock and perhaps for a core: most of
what it costs, and nearly all of its tail (docs/decisions/0008).
"""

import asyncio
import ssl
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from cassandra.connection import Connection, ConnectionShutdown

_NOT_YET = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class OnLoop:
    """Makes calls on the loop that it is made on: at once from there, soon from other threads."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def __call__(self, call: Callable[..., object], *arguments: Any) -> None:
        if threading.get_ident() == self._thread:
            call(*arguments)
        else:
            self.loop.call_soon_threadsafe(call, *arguments)


class LoopConnection(Connection):  # type: ignore[misc]  # the driver has no types
    """A connection of the cluster that `connection_on` made this class for.

    It is made in a thread of the driver, which waits until it is open.
    """

    in_buffer_size = 65_536
    on_loop: ClassVar[OnLoop]
    is_closed: bool

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._unsent = bytearray()
        self._connect_socket()
        self._socket.setblocking(False)
        self.on_loop(self._listen)
        self._send_options_message()

    @classmethod
    def create_timer(cls, timeout: float, callback: Callable[[], object]) -> "Timer":
        return Timer(cls.on_loop, timeout, callback)

    def push(self, data: bytes) -> None:
        self.on_loop(self._send, data)

    def close(self) -> None:
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
        try:
            self.on_loop(self._release)
        except RuntimeError:  # the loop is closed, and watches nothing any more
            self._socket.close()
        if not self.is_defunct:
            why = f": {self.last_error}" if self.last_error else ""
            closed = ConnectionShutdown(f"Connection to {self.endpoint} was closed{why}")
            self.error_all_requests(closed)
            self.connected_event.set()

    # --- on the loop ------------------------------------------------------------------------------

    def _listen(self) -> None:
        if not self.is_closed:
            self.on_loop.loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(self.in_buffer_size)
        except _NOT_YET:
            return
        except OSError as error:
            self.defunct(error)
            return
        if not data:
            self.close()
            return
        self._iobuf.write(data)
        self.process_io_buffer()

    def _send(self, data: bytes) -> None:
        if self.is_closed:
            return
        if self._unsent:
            self._unsent += data
            return
        sent = self._write(data)
        if sent < len(data) and not self.is_closed:
            self._unsent += data[sent:]
            self.on_loop.loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        del self._unsent[: self._write(self._unsent)]
        if not self._unsent and not self.is_closed:
            self.on_loop.loop.remove_writer(self._socket)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            sent: int = self._socket.send(data)
        except _NOT_YET:
            return 0
        except OSError as error:
            self.defunct(error)
            return 0
        return sent

    def _release(self) -> None:
        self.on_loop.loop.remove_reader(self._socket)
        self.on_loop.loop.remove_writer(self._socket)
        self._socket.close()


class Timer:
    """Makes a call on the loop after some seconds, unless it is cancelled before."""

    __slots__ = ("_cancelled", "_handle", "_on_loop")

    def __init__(self, on_loop: OnLoop, seconds: float, call: Callable[[], object]) -> None:
        self._on_loop = on_loop
        self._cancelled = False
        self._handle: asyncio.TimerHandle | None = None
        on_loop(self._start, seconds, call)

    def cancel(self) -> None:
        """Do not make it; from any thread."""
        self._on_loop(self._stop)

    def _start(self, seconds: float, call: Callable[[], object]) -> None:
        if not self._cancelled:
            self._handle = self._on_loop.loop.call_later(seconds, call)

    def _stop(self) -> None:
        self._cancelled = True
        if self._handle is not None:
            self._handle.cancel()


def connection_on(on_loop: OnLoop) -> type[LoopConnection]:
    """The class of the connections whose sockets this loop watches."""
    return type("LoopConnection", (LoopConnection,), {"on_loop": on_loop})
