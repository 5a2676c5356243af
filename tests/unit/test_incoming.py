"""Received frames: what is taken as it arrives, and what is left to be read."""

import asyncio

import pytest
from aiohttp import WSMessage, WSMsgType
from aiohttp.base_protocol import BaseProtocol

from tradewire.edge.incoming import QUEUE_BYTES, Frame, Incoming


def text(data: str) -> WSMessage:
    return WSMessage(WSMsgType.TEXT, data.encode(), "")


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


@pytest.fixture
async def incoming() -> Incoming:
    loop = asyncio.get_running_loop()
    return Incoming(BaseProtocol(loop), QUEUE_BYTES, loop=loop)


async def test_nothing_is_taken_before_it_is_offered(incoming: Incoming) -> None:
    taker = Taker()
    incoming.feed_data(text("early"), 5)
    incoming.offer(taker)
    incoming.feed_data(text("behind it"), 9)
    assert taker.taken == []
    assert [(await incoming.read()).data for _ in range(2)] == [b"early", b"behind it"]


async def test_what_is_left_holds_up_what_follows_until_the_next_offer(incoming: Incoming) -> None:
    taker = Taker()
    incoming.offer(taker)
    reading = asyncio.create_task(incoming.read())
    await asyncio.sleep(0)
    for data in ("one", "two", "stays", "three"):
        incoming.feed_data(text(data), len(data))
    assert taker.taken == [b"one", b"two"]
    assert (await reading).data == b"stays"
    incoming.offer(taker)
    incoming.feed_data(text("four"), 4)
    assert [(await incoming.read()).data for _ in range(2)] == [b"three", b"four"]
    incoming.offer(taker)
    incoming.feed_data(text("five"), 4)
    assert taker.taken == [b"one", b"two", b"five"]


@pytest.mark.parametrize("kind", [WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE])
async def test_other_kinds_are_left_and_end_the_offer(incoming: Incoming, kind: WSMsgType) -> None:
    taker = Taker()
    incoming.offer(taker)
    incoming.feed_data(WSMessage(kind, b"", ""), 0)
    incoming.feed_data(text("after it"), 8)
    assert taker.taken == []
    assert [(await incoming.read()).type for _ in range(2)] == [kind, WSMsgType.TEXT]


async def test_what_goes_wrong_is_raised_to_the_reader(incoming: Incoming) -> None:
    incoming.offer(Taker())
    reading = asyncio.create_task(incoming.read())
    await asyncio.sleep(0)
    incoming.feed_data(text("breaks"), 6)
    with pytest.raises(ZeroDivisionError):
        await reading
