"""What a request carries: its token, its parameters, its body."""

import asyncio
from urllib.parse import unquote

from aiohttp import hdrs, web

from tradewire.domain.errors import (
    BadRequest,
    InvalidField,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)

BODY_DEADLINE_S = 10.0
"""How long a body may take to arrive."""

JSON = "application/json"


def bearer_token(request: web.Request) -> str:
    """The token of the Authorization header, the only place it is looked for.

    Raises:
        Unauthenticated: there is none.
    """
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token.strip()


def parameters(request: web.Request) -> dict[str, str]:
    """The query string; what stands in it several times is joined by commas."""
    query = request.query
    return {name: ",".join(query.getall(name)) for name in query}


def header(request: web.Request, name: str, field: str) -> str | None:
    """A header that holds the value of a field.

    Raises:
        InvalidField: it is no text in UTF-8.
    """
    value = request.headers.get(name)
    if value is not None and not is_text(value):
        raise InvalidField(f"The header {name} is not in UTF-8.", field=field)
    return value


def is_text(value: str) -> bool:
    """Whether a header's value was UTF-8; aiohttp smuggles other bytes in as lone surrogates."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def cloud_event_headers(request: web.Request) -> dict[str, str]:
    """The headers as a CloudEvent's, percent-decoded: `ce-id` is `ce_id`.

    Raises:
        InvalidField: an attribute is no text in UTF-8.
    """
    found = {"content-type": request.headers.get(hdrs.CONTENT_TYPE, "")}
    for name in request.headers:
        attribute = name.lower().replace("-", "_")
        if attribute.startswith("ce_"):
            found[attribute] = unquote(header(request, name, attribute) or "")
    return found


async def json_body(request: web.Request, limit: int) -> bytes:
    """The body of a command, empty where there is none.

    Raises:
        UnsupportedMediaType: it is not JSON.
        BadRequest, TooLarge: as `read_body`.
    """
    if request.body_exists and request.content_type != JSON:
        raise UnsupportedMediaType(f"The body must be {JSON}.")
    return await read_body(request, limit)


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes after decompression.

    Raises:
        BadRequest: it is broken, or did not arrive in time.
        TooLarge: it is longer.
    """
    if (request.content_length or 0) > limit:
        raise TooLarge(f"A body has at most {limit} bytes here.")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"A body has at most {limit} bytes here.")
    except TimeoutError as error:
        raise BadRequest("The body did not arrive in time.") from error
    except web.RequestPayloadError as error:
        raise BadRequest("The body cannot be read.") from error
    return bytes(body)
