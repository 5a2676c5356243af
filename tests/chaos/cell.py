"""Two nodes on a cluster of three databases, and what is done to them."""

import asyncio
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from tests.chaos.load import Load
from tests.e2e.places import Place
from tests.engines import Keyspace
from tests.fault.load import Told, open_direct
from tests.fault.process import LOG_LINES, ServerProcess, free_port
from tests.fault.waiting import until
from tradewire.client import CommandError
from tradewire.testing.engines import Cassandra

NODES = 2
CELL = "chaos"
LEASE_S = 4
PROBES = ("probe", "probed")
LOOK_S = 0.25
LOOK_DEADLINE_S = 6.0
SERVE_S = 30.0
TAKEOVER = "finishing the run of a dead node"

Tell = Callable[[str], None]


class Log(deque[str]):
    """The last lines of a node; all of them go to a file, and those that matter are counted."""

    def __init__(self, path: Path) -> None:
        super().__init__(maxlen=LOG_LINES)
        self.path = path
        self.takeovers = 0
        self._file = path.open("a", buffering=1)

    def append(self, line: str) -> None:
        super().append(line)
        self.takeovers += TAKEOVER in line
        self._file.write(f"{line}\n")

    def close(self) -> None:
        self._file.close()


class Readiness:
    """What a node said of itself, again and again.

    Attributes:
        looks: (when, status, body); the status is 0 where no answer came.
    """

    def __init__(self, node: ServerProcess) -> None:
        self.looks: list[tuple[float, int, str]] = []
        self._node = node

    async def watch(self) -> None:
        """Look for ever."""
        timeout = aiohttp.ClientTimeout(total=LOOK_DEADLINE_S)
        while True:
            try:
                async with (
                    aiohttp.ClientSession(timeout=timeout) as http,
                    http.get(f"{self._node.url}/readyz") as response,
                ):
                    self._note(response.status, await response.text())
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self._note(0, repr(error))
            await asyncio.sleep(LOOK_S)

    def since(self, moment: float) -> list[tuple[int, str]]:
        """What it said from this moment on (of the monotonic clock)."""
        return [(status, body) for when, status, body in self.looks if when >= moment]

    def _note(self, status: int, body: str) -> None:
        self.looks.append((time.monotonic(), status, body))


class Cell:
    """The nodes, the databases, and a count of what happened to them.

    Attributes:
        probes: messages that were sent to see whether a node serves.
    """

    def __init__(
        self,
        load: Load,
        nodes: list[ServerProcess],
        logs: list[Log],
        database: Cassandra,
        keyspace: Keyspace,
        tell: Tell,
    ) -> None:
        self.load = load
        self.nodes = nodes
        self.database = database
        self.keyspace = keyspace
        self.readiness = [Readiness(node) for node in nodes]
        self.kills = 0
        self.freezes = 0
        self.database_kills = 0
        self.database_freezes = 0
        self.probes: list[Told] = []
        self._logs = logs
        self._tell = tell
        self._begun = time.monotonic()

    @property
    def takeovers(self) -> int:
        """Runs of dead nodes that were finished."""
        return sum(log.takeovers for log in self._logs)

    def tell(self, line: str) -> None:
        """Say how far it is."""
        load = self.load
        self._tell(
            f"{time.monotonic() - self._begun:5.0f} s  {line}:"
            f" {load.acknowledged} acknowledged, {load.retried} retried,"
            f" {load.duplicates} duplicates, refused {dict(load.refused)},"
            f" away {load.away_s:.1f} s, {self.takeovers} takeovers"
        )

    async def kill(self, node: ServerProcess) -> None:
        """End a node without a word."""
        self.kills += 1
        await node.kill()

    async def freeze(self, node: ServerProcess, seconds: float) -> None:
        """Stop a node in the middle of everything, and let it go on later."""
        self.freezes += 1
        node.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            node.signal(signal.SIGCONT)

    async def serves(self, node: ServerProcess) -> None:
        """Wait until a node says that it is ready, and takes a message.

        What it asked while the databases were away may still fail after they have come back.

        Raises:
            TimeoutError: it does not by itself.
        """
        readiness, now = self.readiness[self.nodes.index(node)], time.monotonic()
        await until(lambda: any(status == 200 for status, _ in readiness.since(now)), SERVE_S)
        key = f"probe {len(self.probes)}"
        async with asyncio.timeout(SERVE_S):
            while True:
                with suppress(CommandError):
                    self.probes.append(await self._probe(node, key))
                    return
                await asyncio.sleep(LOOK_S)

    async def _probe(self, node: ServerProcess, key: str) -> Told:
        """Send a message."""
        room = await open_direct(node, *PROBES)
        body = {"conversation_id": room, "key": key, "text": "there?"}
        async with node.http(PROBES[0]) as http:
            result = await http.request("POST", "/v1/messages", json=body)
        return Told.of(result["message"])

    async def stop(self) -> None:
        """End the nodes in good order."""
        for node in self.nodes:
            node.signal(signal.SIGTERM)
        for node in self.nodes:
            assert await node.ended() == 0, node.errors

    async def kill_database(self, index: int) -> None:
        """End a database."""
        self.database_kills += 1
        await asyncio.to_thread(self.database.kill, index)

    async def start_database(self, index: int) -> None:
        """Bring a database back, and wait until all three see each other."""
        await asyncio.to_thread(self.database.start, index)

    async def freeze_databases(self, indexes: list[int], seconds: float) -> None:
        """Stop some databases, and let them go on later."""
        self.database_freezes += len(indexes)
        for index in indexes:
            self.database.pause(index)
        try:
            await asyncio.sleep(seconds)
        finally:
            for index in indexes:
                self.database.resume(index)


@asynccontextmanager
async def cell(
    load: Load, database: Cassandra, keyspace: Keyspace, folder: Path, tell: Tell
) -> AsyncIterator[Cell]:
    """Nodes that run; they do not outlive the block."""
    nodes, logs = [], []
    for number in range(NODES):
        environ = {**keyspace.environ, "NODE_LEASE_SECONDS": str(LEASE_S)}
        place = Place({**environ, "DATA_DIR": str(folder / f"node{number}")}, CELL)
        node = ServerProcess(place, port=free_port(), measured=False)
        node.log = log = Log(folder / f"node{number}.log")
        nodes.append(node)
        logs.append(log)
    load.nodes = nodes
    made = Cell(load, nodes, logs, database, keyspace, tell)
    try:
        for node in nodes:
            await node.start()
        yield made
    finally:
        for node, log in zip(nodes, logs, strict=True):
            await node.kill()
            log.close()
