"""Nodes on one keyspace and one Kafka behind one address, and users who talk through it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from tests.e2e.harness import Server
from tests.e2e.places import Place
from tests.engines import Keyspace
from tests.fault.load import ClientReader, ClientWriter, Load, Told, open_direct
from tests.fault.process import PLAIN, ServerProcess, free_port
from tests.fault.proxy import Proxy
from tests.kafka import Bus

NODES = 3


class Cluster(Server):
    """Three nodes; who connects to `url` gets to any of them that takes connections."""

    def __init__(self, nodes: Sequence[ServerProcess], proxy: Proxy) -> None:
        self.place = nodes[0].place
        self.url = proxy.url
        self.nodes = nodes
        self.proxy = proxy

    async def start(self) -> None:
        """Start all nodes at once."""
        await asyncio.gather(*(node.start() for node in self.nodes))


@asynccontextmanager
async def cluster_on(
    keyspace: Keyspace,
    bus: Bus,
    folder: Path,
    *,
    modules: Sequence[Sequence[str]] = (PLAIN,) * NODES,
    **environ: str,
) -> AsyncIterator[Cluster]:
    """Nodes that are still to be started; they do not outlive the block.

    `modules`: what runs as each node, see ServerProcess.
    """
    own = uuid4().hex[:12]
    settings = {**keyspace.environ, **bus.environ, **environ}
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy())
        nodes = []
        for number, module in enumerate(modules):
            data = {"DATA_DIR": str(folder / f"node{number}")}
            place = Place({**settings, **data}, f"cell-{own}", f"-{own}")
            node = ServerProcess(place, port=free_port(), module=module, measured=False)
            nodes.append(await stack.enter_async_context(node))
        proxy.upstreams = [urlsplit(node.url).port or 0 for node in nodes]
        yield Cluster(nodes, proxy)


class Room:
    """A direct conversation: both users write and read with the client of the SDK.

    Attributes:
        in_order: the users whose messages must be in the order of their numbers.
    """

    def __init__(
        self, load: Load, cluster: Cluster, number: int, room: str, *, rest_s: float, devices: int
    ) -> None:
        self.id = room
        self.users = self.in_order = users_of(number)
        self.writers = [
            ClientWriter(load, cluster, user, room, rest_s=rest_s) for user in self.users
        ]
        self.readers = [ClientReader(cluster, user) for user in self.users * devices]

    @property
    def acknowledged(self) -> list[Told]:
        """What was acknowledged, in no order."""
        return [told for writer in self.writers for told in writer.acknowledged.values()]

    def told_all(self) -> bool:
        """Whether all readers have heard of everything that was acknowledged."""
        return all(len(reader.received) >= len(self.acknowledged) for reader in self.readers)


def users_of(number: int) -> tuple[str, str]:
    """The two users of a room."""
    return f"buyer{number}", f"seller{number}"


async def open_rooms(
    load: Load, cluster: Cluster, rooms: int, *, rest_s: float, devices: int = 1
) -> list[Room]:
    """Rooms in which each user reads on so many devices, and each writer rests that long."""
    made = []
    for number in range(rooms):
        room = await open_direct(cluster, *users_of(number))
        made.append(Room(load, cluster, number, room, rest_s=rest_s, devices=devices))
    return made
