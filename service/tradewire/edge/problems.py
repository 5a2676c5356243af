"""Errors as HTTP answers (protocol §6)."""

import math
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web

from tradewire.domain.errors import ErrorBody, MethodNotAllowed, NotFound, TradewireError
from tradewire.protocol.problem import INTERNAL, MEDIA_TYPE, Problem

RETRY_AFTER_MS = 1_000
"""What is advised where an error may pass but does not say when."""


def problem(error: TradewireError) -> web.Response:
    """The answer to a request that was refused."""
    response = _answer(error.body())
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if error.retry:
        seconds = math.ceil((error.retry_after_ms or RETRY_AFTER_MS) / 1000)
        response.headers[hdrs.RETRY_AFTER] = str(seconds)
    return response


def refusal(refused: web.HTTPException) -> web.Response:
    """The answer to a request that aiohttp itself refused."""
    if isinstance(refused, web.HTTPNotFound):
        return problem(NotFound("There is nothing at this address."))
    if isinstance(refused, web.HTTPMethodNotAllowed):
        response = problem(MethodNotAllowed())
        response.headers[hdrs.ALLOW] = refused.headers[hdrs.ALLOW]
        return response
    return _answer(ErrorBody("bad_request", refused.status, refused.reason))


def unreadable(status: int) -> web.Response:
    """The answer to what is no proper HTTP request."""
    return _answer(ErrorBody("bad_request", status, "This is no HTTP request understood here."))


def internal() -> web.Response:
    """The answer where the server failed."""
    return _answer(INTERNAL)


def _answer(error: ErrorBody) -> web.Response:
    return web.Response(
        status=error.status,
        body=msgspec.json.encode(Problem.of(error)),
        content_type=MEDIA_TYPE,
    )
