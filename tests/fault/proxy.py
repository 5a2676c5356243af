"""A TCP relay whose connections can be cut at any byte."""

import asyncio
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

CHUNK_BYTES = 1 << 16
CUT_AT_ONCE = 0.3


class Link:
    """One connection through the proxy.

    Attributes:
        opened: when, on the clock of the loop.
        left: bytes that still pass before the cut, for each direction (to the client, to the
            server); None: no cut is near.
    """

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.opened = asyncio.get_running_loop().time()
        self.left: dict[asyncio.StreamWriter, int | None] = {client: None, server: None}
        self._client = client
        self._server = server

    def cut(self) -> None:
        """Cut now, on both sides and without a farewell."""
        for side in (self._client, self._server):
            side.transport.abort()

    def cut_after(self, size: int, *, to_client: bool) -> None:
        """Cut once so many more bytes have passed in one direction."""
        self.left[self._client if to_client else self._server] = size

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flowing: asyncio.Event,
    ) -> None:
        """Pass bytes on, while they flow, until the end, or the cut."""
        while chunk := await reader.read(CHUNK_BYTES):
            await flowing.wait()
            left = self.left[writer]
            writer.write(chunk[:left])
            await writer.drain()
            if left is not None and left <= len(chunk):
                break
            if left is not None:
                self.left[writer] = left - len(chunk)
        self.cut()


class Proxy:
    """Listens on one port of 127.0.0.1, for whatever servers are behind it at the time: each
    connection goes to one that takes it, at random.

    Args:
        tls: what to meet clients with; the server is always spoken to in the open.

    Attributes:
        upstreams: the ports of the servers.
        links: the connections that are open.
        flowing: set; while it is not, nothing passes and the connections stay open.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.upstreams: Sequence[int] = ()
        self.links: list[Link] = []
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    def cut_one(self, rng: random.Random, frame_bytes: int) -> None:
        """Cut a random connection: now, or within the next frame of one direction or the other."""
        if not self.links:
            return
        link = rng.choice(self.links)
        if rng.random() < CUT_AT_ONCE:
            link.cut()
        else:
            link.cut_after(rng.randint(1, frame_bytes), to_client=rng.random() < 0.5)

    def spare(self) -> None:
        """Take back the cuts that have not come yet."""
        for link in self.links:
            link.left = dict.fromkeys(link.left)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer), name="proxy")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                await self._pass_on(reader, writer, *await self._connect())
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for port in random.sample(self.upstreams, len(self.upstreams)):
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        onward: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        link = Link(writer, back)
        self.links.append(link)
        try:
            await asyncio.gather(
                link.pump(reader, back, self.flowing), link.pump(onward, writer, self.flowing)
            )
        finally:
            self.links.remove(link)
            link.cut()
