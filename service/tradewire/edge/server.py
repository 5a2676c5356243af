"""The listener: one aiohttp application with the HTTP interface and the sockets."""

from aiohttp import web

from tradewire.edge.http import HttpApi
from tradewire.edge.websocket import ChatSockets

BACKLOG = 4_096
SHUTDOWN_S = 5.0


class Listener:
    """Listens from `start` to `stop`."""

    def __init__(self, api: HttpApi, sockets: ChatSockets) -> None:
        application = web.Application()
        api.add_to(application)
        application.router.add_get("/ws/chat", sockets.handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)

    async def start(self, host: str, port: int) -> str:
        """Listen, on a free port for 0; returns the address.

        Raises:
            OSError: the address cannot be listened on.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        bound = self._runner.addresses[0][1]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def stop(self) -> None:
        """Accept nothing more, finish the requests in flight."""
        await self._runner.cleanup()
