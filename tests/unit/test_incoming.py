"""Received frames: what is taken as it arrives, and what is left to be read."""

import asyncio

import pytest
from aiohttp import WSMsgType
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketReader

from tradewire.edge.incoming import Frame, Incoming


def frame(kind: WSMsgType, data: bytes = b"") -> bytes:
    """As a client sends it: final, masked with zeros."""
    return bytes((0x80 | kind, 0x80 | len(data))) + bytes(4) + data


def texts(*data: bytes) -> bytes:
    return b"".join(frame(WSMsgType.TEXT, each) for each in data)


class Taker:
    """Takes all but what is called `stays`."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def __call__(self, frame: Frame) -> bool:
        if frame.data == b"stays":
            return False
        if frame.data == b"breaks":
            raise ZeroDivisionError
        self.taken.append(frame.data)
        return True


class Wire:
    """The parser that a connection's bytes go to, and the queue behind it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol._upgraded = True
        self.incoming = Incoming(protocol, 1_000, loop=loop)
        self.taker = Taker()
        self._parser = WebSocketReader(self.incoming, 1 << 16, compress=False, decode_text=False)

    def offer(self) -> None:
        self.incoming.offer(self.taker)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    async def read(self, count: int) -> list[object]:
        return [(await self.incoming.read()).data for _ in range(count)]


@pytest.fixture
async def wire() -> Wire:
    return Wire()


async def test_nothing_is_taken_that_comes_before_the_offer_or_behind_it(wire: Wire) -> None:
    wire.feed(texts(b"early"))
    wire.offer()
    wire.feed(texts(b"behind it"))
    assert await wire.read(2) == [b"early", b"behind it"]
    assert wire.taker.taken == []


async def test_frames_are_taken_however_the_bytes_arrive(wire: Wire) -> None:
    wire.offer()
    data = texts(b"one", b"two", b"three")
    for start, end in ((0, 20), (20, 25), (25, None)):
        wire.feed(data[start:end])
    assert wire.taker.taken == [b"one", b"two", b"three"]


async def test_what_is_left_holds_up_what_follows_until_the_next_offer(wire: Wire) -> None:
    wire.offer()
    reading = asyncio.create_task(wire.read(1))
    await asyncio.sleep(0)
    wire.feed(texts(b"one", b"two", b"stays", b"three"))
    assert wire.taker.taken == [b"one", b"two"]
    assert await reading == [b"stays"]
    wire.offer()
    wire.feed(texts(b"four"))
    assert await wire.read(2) == [b"three", b"four"]
    wire.offer()
    wire.feed(texts(b"five"))
    assert wire.taker.taken == [b"one", b"two", b"five"]


@pytest.mark.parametrize("kind", [WSMsgType.PING, WSMsgType.PONG])
async def test_other_kinds_are_left_and_end_the_offer(wire: Wire, kind: WSMsgType) -> None:
    wire.offer()
    wire.feed(texts(b"one") + frame(kind, b"?") + texts(b"after it"))
    assert await wire.read(2) == [b"?", b"after it"]
    assert wire.taker.taken == [b"one"]


async def test_after_a_close_nothing_is_taken(wire: Wire) -> None:
    wire.offer()
    wire.feed(frame(WSMsgType.CLOSE, (1000).to_bytes(2)) + texts(b"too late"))
    assert (await wire.incoming.read()).type is WSMsgType.CLOSE
    assert wire.taker.taken == []


async def test_more_than_the_queue_holds_keeps_its_order(wire: Wire) -> None:
    wire.offer()
    sent = [b"stays", *(b"%d" % number for number in range(100))]
    wire.feed(texts(*sent))
    found: list[object] = []
    while len(found) < len(sent):
        found += await wire.read(1)
        wire.offer()
    assert found == sent
    assert wire.taker.taken == []
    wire.feed(texts(b"next"))
    assert wire.taker.taken == [b"next"]


async def test_what_goes_wrong_ends_the_connection_and_nothing_behind_it_is_taken(
    wire: Wire,
) -> None:
    wire.offer()
    reading = asyncio.create_task(wire.read(1))
    await asyncio.sleep(0)
    wire.feed(texts(b"one", b"breaks", b"two"))
    wire.feed(texts(b"three"))
    with pytest.raises(ZeroDivisionError):
        await reading
    assert wire.taker.taken == [b"one"]
