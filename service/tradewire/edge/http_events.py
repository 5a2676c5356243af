"""`/v1/events`: the log of domain events, and the way in for those of other services."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from tradewire.domain import limits
from tradewire.domain.caller import Caller
from tradewire.domain.errors import Forbidden, TooLarge
from tradewire.domain.incoming import IncomingEvent
from tradewire.edge.http_requests import cloud_event_headers, parameters, read_body
from tradewire.ports import Journal
from tradewire.protocol import cloudevents
from tradewire.protocol.eventlog import PATH, ROLE, EventsHandled, EventsPage, EventsQuery
from tradewire.usecases.service import Service

BODY_BYTES = 1 << 20

Admit = Callable[[web.Request], Awaitable[Caller]]


class EventLogApi:
    """Reads and feeds the log for callers with the role `service`, each within its tenant.

    `source` is the CloudEvents source of what is read; `admit` says who is calling.
    """

    def __init__(self, service: Service, journal: Journal, source: str, admit: Admit) -> None:
        self._service = service
        self._journal = journal
        self._source = source
        self._admit = admit

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get(PATH, self._read, allow_head=False),
            web.post(PATH, self._take),
        ]

    async def _read(self, request: web.Request) -> web.Response:
        caller = await self._admit_service(request)
        query = EventsQuery.read(parameters(request))
        events = await self._journal.events(int(query.after), query.limit)
        page = EventsPage(
            [
                cloudevents.structured(event, self._source)
                for event in events
                if event.tenant == caller.tenant
            ],
            str(events[-1].id) if events else query.after,
        )
        return _json(page)

    async def _take(self, request: web.Request) -> web.Response:
        caller = await self._admit_service(request)
        body = await read_body(request, BODY_BYTES)
        events = cloudevents.decode(cloud_event_headers(request), body, caller.tenant)
        _check_batch(events, caller)
        return _json(EventsHandled(*await self._service.handle_events(events)))

    async def _admit_service(self, request: web.Request) -> Caller:
        caller = await self._admit(request)
        if ROLE not in caller.roles:
            raise Forbidden
        return caller


def _check_batch(events: list[IncomingEvent], caller: Caller) -> None:
    if len(events) > limits.EVENTS_PAGE_MAX:
        raise TooLarge(f"A batch has at most {limits.EVENTS_PAGE_MAX} events.")
    if any(event.tenant != caller.tenant for event in events):
        raise Forbidden("The event is of another tenant than the token.", field="tenant")


def _json(value: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
