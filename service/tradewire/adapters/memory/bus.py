"""A bus between the nodes of one process."""

import asyncio
from collections.abc import Callable


class Wire:
    """What buses in memory share.

    Attributes:
        lossy: whether records go missing at present.
    """

    def __init__(self) -> None:
        self.lossy = False
        self.places: dict[int, Callable[[bytes], None]] = {}


class MemoryBus:
    """See ports.Bus."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._node: int | None = None

    async def listen(self, node: int, heard: Callable[[bytes], None]) -> None:
        await self.close()
        self._node = node
        self._wire.places[node] = heard

    def send(self, node: int, record: bytes) -> None:
        heard = self._wire.places.get(node)
        if heard is not None and not self._wire.lossy:
            asyncio.get_running_loop().call_soon(heard, record)

    async def close(self) -> None:
        if self._node is not None:
            del self._wire.places[self._node]
            self._node = None
