"""`/ws/chat`: all sockets of this node."""

import asyncio
import random
from contextlib import suppress

from aiohttp import web

from tradewire.domain.errors import Close
from tradewire.domain.events import Reconnect
from tradewire.edge.admission import Admission
from tradewire.edge.auth import Authenticator
from tradewire.edge.handshake import Handshake
from tradewire.edge.hub import LocalHub
from tradewire.edge.socket import CLOSE_DEADLINE_S, ChatSocket
from tradewire.protocol.session import HEARTBEAT_S
from tradewire.telemetry.metrics import Metrics
from tradewire.telemetry.tasks import Tasks
from tradewire.usecases.service import Service

RESUMES_AT_ONCE = 64
TURN_S = 1.0


class ChatSockets:
    """Serves `/ws/chat`.

    Attributes:
        open: the sockets that are connected now.
        resumes: how many may read their backlog at once; the others wait their turn.
    """

    def __init__(
        self,
        service: Service,
        hub: LocalHub,
        authenticator: Authenticator,
        admission: Admission,
        tasks: Tasks,
        metrics: Metrics,
    ) -> None:
        self.service = service
        self.hub = hub
        self.authenticator = authenticator
        self.admission = admission
        self.tasks = tasks
        self.metrics = metrics
        self.resumes = asyncio.Semaphore(RESUMES_AT_ONCE)
        self.open: dict[ChatSocket, None] = {}
        self._none_open = asyncio.Event()
        self._none_open.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The handler of the route; raises TradewireError before the upgrade."""
        handshake = await Handshake.read(request, self.authenticator)
        await self.service.standing.check(handshake.caller)
        self.admission.check_connection(handshake.caller, handshake.device_id)
        try:
            socket = await ChatSocket.accept(self, request, handshake)
        except ConnectionError as gone:
            raise web.HTTPBadRequest(reason="The client left during the handshake.") from gone
        return await socket.run()

    def add(self, socket: ChatSocket) -> None:
        """Count a socket in."""
        self.open[socket] = None
        self._none_open.clear()
        self.hub.join(socket.connection)
        self.metrics.connections.value = len(self.open)
        self.metrics.connections_opened.add()

    def remove(self, socket: ChatSocket, code: int) -> None:
        """Count a socket out that was closed with this code."""
        del self.open[socket]
        self.hub.leave(socket.connection)
        self.metrics.connections.value = len(self.open)
        self.metrics.connections_closed.add(labels=(str(code),))
        if not self.open:
            self._none_open.set()

    async def watch(self) -> None:
        """For ever, each second: let some of the sockets ping, and all look at their deadlines."""
        loop = asyncio.get_running_loop()
        turn = 0
        while True:
            await asyncio.sleep(TURN_S)
            turn = (turn + 1) % HEARTBEAT_S
            now = loop.time()
            for socket in list(self.open):
                socket.look(now, ping=socket.turn == turn)

    async def drain(self, spread_s: float) -> None:
        """Send everyone away, their return spread at random over these seconds."""
        sockets = list(self.open)
        for socket in sockets:
            socket.tell(Reconnect(after_ms=int(random.uniform(0, spread_s * 1000))))
        for socket in sockets:
            socket.close(Close.RESTART)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none_open.wait(), max(spread_s, 2 * CLOSE_DEADLINE_S))
