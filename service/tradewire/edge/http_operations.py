"""What operators and tools ask a node: does it live, is it ready, its metrics, its interface."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache

import msgspec
from aiohttp import hdrs, web

from tradewire.domain.errors import Unavailable
from tradewire.protocol import openapi
from tradewire.telemetry.metrics import CONTENT_TYPE, Metrics

READY_DEADLINE_S = 5.0

SERVED_WITHOUT = frozenset({"kafka"})
"""What a node serves without: it is told, and the node is ready."""

Readiness = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Asks what the node needs: by name, None if it is there, else what is wrong with it."""


class OperationsApi:
    """Answers without a token; nothing here is about any user."""

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        self._readiness = readiness
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get("/healthz", self._health),
            web.get("/readyz", self._ready),
            web.get("/metrics", self._exposition),
            web.get("/openapi.json", self._interface),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _ready(self, _: web.Request) -> web.Response:
        try:
            checks = await asyncio.wait_for(self._readiness(), READY_DEADLINE_S)
        except TimeoutError as error:
            raise Unavailable("The checks did not end in time.") from error
        ready = all(reason is None for name, reason in checks.items() if name not in SERVED_WITHOUT)
        told = {name: reason or "ok" for name, reason in checks.items()}
        return _json({"ready": ready, "checks": told}, status=200 if ready else 503)

    async def _exposition(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    async def _interface(self, _: web.Request) -> web.Response:
        return web.Response(body=_openapi(), content_type="application/json")


@cache
def _openapi() -> bytes:
    return msgspec.json.encode(openapi.document())


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
