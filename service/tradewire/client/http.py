"""The HTTP twin: one call, one answer."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from tradewire.client.codec import Json
from tradewire.client.connection import retry_after_s
from tradewire.client.errors import CommandError, ConnectionLost


class HttpClient:
    """The HTTP interface of protocol §4, used as `async with HttpClient(url, token) as http:`.

    `url` is a node's address (`http://host:port`). Nothing is retried.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout_s: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Call `path` (as `/v1/conversations`); returns the JSON object, `{}` for an empty body.

        Raises CommandError for every status from 400 on, ConnectionLost if no answer came.
        """
        if self._session is None:
            raise RuntimeError("use the client in `async with`")
        call = self._session.request(
            method, self._url + path, json=json, params=params, headers=headers
        )
        try:
            async with call as response:
                return await _result(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConnectionLost(f"{method} {path}: {error!r}") from error


async def _result(response: aiohttp.ClientResponse) -> Json:
    body = await _object(response)
    if response.status < 400:
        return body
    error = CommandError.from_body(body, status=response.status)
    if error.retry_after_ms is None and "Retry-After" in response.headers:
        error.retry_after_ms = int(retry_after_s(response.headers) * 1000)
    raise error


async def _object(response: aiohttp.ClientResponse) -> Json:
    """The body, where it is a JSON object; a proxy's page is none."""
    if not response.content_type.endswith("json"):
        return {}
    body: Any = await response.json(content_type=None)
    return body if isinstance(body, dict) else {}
