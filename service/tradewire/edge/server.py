"""The listener: one aiohttp application with the HTTP interface and the sockets."""

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tradewire.edge import problems
from tradewire.edge.http import HttpApi
from tradewire.edge.websocket import ChatSockets

_log = structlog.get_logger(__name__)

BACKLOG = 4_096
SHUTDOWN_S = 5.0


class CannotListen(Exception):
    """The address cannot be listened on."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"Cannot listen on {host}:{port}: {error}")


class Listener:
    """Listens from `start` to `stop`."""

    def __init__(self, api: HttpApi, sockets: ChatSockets) -> None:
        application = web.Application()
        api.add_to(application)
        application.router.add_get("/ws/chat", sockets.handle)
        self._runner = _Runner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)

    async def start(self, host: str, port: int, *, shared: bool) -> str:
        """Listen, on a free port for 0; returns the address. `shared`: with other processes.

        Raises:
            CannotListen: the address cannot be listened on.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=BACKLOG, reuse_port=shared)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(host, port, error) from error
        bound = self._runner.addresses[0][1]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def stop(self) -> None:
        """Accept nothing more, finish the requests in flight."""
        await self._runner.cleanup()


class _Protocol(RequestHandler):
    """Answers what is no proper HTTP in the form of every other error, and without a log line that
    any stranger could cause at will.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun already.")
        if status >= 500:
            _log.error("request failed", exc_info=exc)
            response = problems.internal()
        else:
            _log.debug("request refused", status=status, reason=message)
            response = problems.unreadable(status)
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """aiohttp takes no class for its protocol, so the server that makes it is replaced."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        arguments = made._kwargs  # noqa: SLF001  # of the class that this one stands in for
        return _Server(made.request_handler, request_factory=made.request_factory, **arguments)
