"""The HTTP interface: the commands' twins, and one form for every answer (protocol §4, §6)."""

import re
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import msgspec
import structlog
from aiohttp import web

from tradewire.domain import limits
from tradewire.domain.caller import Caller
from tradewire.domain.commands import Command
from tradewire.domain.errors import TradewireError
from tradewire.domain.results import ConversationResult, MessageResult, Result
from tradewire.edge import problems
from tradewire.edge.auth import Authenticator
from tradewire.edge.http_events import EventLogApi
from tradewire.edge.http_operations import OperationsApi, Readiness
from tradewire.edge.http_requests import bearer_token, header, json_body, parameters
from tradewire.protocol.routes import ROUTES, Route
from tradewire.telemetry.metrics import Metrics
from tradewire.usecases.service import Service

BODY_BYTES = limits.FRAME_BYTES
REQUEST_ID = "X-Request-Id"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Limiter = Callable[[Caller, type[Command] | None], None]
"""Raises RateLimited or Draining unless the caller may give this command now; None: no command."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_log = structlog.get_logger(__name__)


class HttpApi:
    """Everything a node answers over HTTP, to be added to an application.

    Its middleware gives every answer of the application its form, so that whatever else is served
    there may raise TradewireError until it has begun to answer.
    """

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator,
        *,
        limiter: Limiter,
        readiness: Readiness,
        metrics: Metrics,
        source: str,
    ) -> None:
        self._service = service
        self._authenticator = authenticator
        self._limiter = limiter
        self._metrics = metrics
        self._operations = OperationsApi(readiness, metrics)
        self._event_log = EventLogApi(service, service.context.store.journal, source, self._admit)

    def add_to(self, app: web.Application) -> None:
        """Serve everything here as part of `app`."""
        app.middlewares.append(self._answer)
        app.add_routes(self._operations.routes())
        app.add_routes(self._event_log.routes())
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._handler(route))

    def _handler(self, route: Route) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            caller = await self._admit(request, route.command)
            command = route.bind(
                request.match_info,
                parameters(request),
                await json_body(request, BODY_BYTES) if route.has_body else b"",
                header(request, "Idempotency-Key", "key") if route.key_header else None,
            )
            result = await self._service.execute(caller, command)
            return web.Response(
                body=msgspec.json.encode(result),
                status=201 if route.creates and _is_new(result) else 200,
                content_type="application/json",
            )

        return handle

    async def _admit(self, request: web.Request, command: type[Command] | None = None) -> Caller:
        caller = await self._authenticator.authenticate(bearer_token(request))
        await self._service.standing.check(caller)
        self._limiter(caller, command)
        return caller

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = _request_id(request)
        response = await _respond(request, handler, request_id)
        if isinstance(response, web.WebSocketResponse):
            return response
        response.headers[REQUEST_ID] = request_id
        self._observe(request, response.status, time.perf_counter() - started)
        return response

    def _observe(self, request: web.Request, status: int, seconds: float) -> None:
        resource = request.match_info.route.resource
        # Only what is in the route table is counted by name: anyone can make up others.
        labels = (request.method, resource.canonical) if resource else ("other", "other")
        self._metrics.http_requests.add(1, (*labels, str(status)))
        self._metrics.http_seconds.observe(seconds, labels)


async def _respond(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except TradewireError as error:
        return problems.problem(error)
    except web.HTTPException as refused:
        return problems.refusal(refused)
    except Exception:  # noqa: BLE001 - logged here, and nothing of it is for the client
        _log.exception(
            "request failed", request_id=request_id, method=request.method, path=request.path
        )
        return problems.internal()


def _request_id(request: web.Request) -> str:
    given = request.headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def _is_new(result: Result) -> bool:
    match result:
        case ConversationResult(created=True) | MessageResult(duplicate=False):
            return True
        case _:
            return False
