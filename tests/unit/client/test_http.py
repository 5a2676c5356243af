"""The HTTP twin, against a server that answers as it is told."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tradewire.client import CommandError, ConnectionLost, HttpClient


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "query": dict(request.query),
            "body": await request.json() if request.can_read_body else None,
            "authorization": request.headers.get("Authorization"),
            "key": request.headers.get("Idempotency-Key"),
        },
        status=201,
    )


async def limited(_: web.Request) -> web.Response:
    problem = {"code": "rate_limited", "status": 429, "detail": "too fast", "field": "text"}
    return web.json_response(
        problem,
        status=429,
        content_type="application/problem+json",
        headers={"Retry-After": "2"},
    )


async def proxy_error(_: web.Request) -> web.Response:
    return web.Response(status=502, text="<h1>Bad gateway</h1>", content_type="text/html")


async def nothing(_: web.Request) -> web.Response:
    return web.Response(status=204)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/v1/echo", echo)
    app.router.add_get("/v1/limited", limited)
    app.router.add_get("/v1/proxy", proxy_error)
    app.router.add_delete("/v1/nothing", nothing)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/"
    await runner.cleanup()


async def test_a_call_says_who_asks_and_returns_the_object(url: str) -> None:
    async with HttpClient(url, "t0") as http:
        answer = await http.request(
            "POST",
            "/v1/echo",
            json={"text": "é"},
            params={"limit": 5},
            headers={"Idempotency-Key": "k"},
        )
    assert answer == {
        "method": "POST",
        "query": {"limit": "5"},
        "body": {"text": "é"},
        "authorization": "Bearer t0",
        "key": "k",
    }


async def test_without_a_token_none_is_sent_and_an_empty_body_is_an_empty_object(url: str) -> None:
    async with HttpClient(url) as http:
        assert (await http.request("GET", "/v1/echo"))["authorization"] is None
        assert await http.request("DELETE", "/v1/nothing") == {}


async def test_a_problem_is_the_same_error_as_over_the_socket(url: str) -> None:
    async with HttpClient(url, "t0") as http:
        with pytest.raises(CommandError) as raised:
            await http.request("GET", "/v1/limited")
    error = raised.value
    assert (error.code, error.status, error.message) == ("rate_limited", 429, "too fast")
    assert (error.field, error.retry_after_ms) == ("text", 2000)


async def test_an_error_of_something_between_has_no_code_of_ours(url: str) -> None:
    async with HttpClient(url, "t0") as http:
        with pytest.raises(CommandError) as raised:
            await http.request("GET", "/v1/proxy")
    assert (raised.value.code, raised.value.status) == ("unknown", 502)


async def test_a_server_that_is_not_there_is_a_lost_connection() -> None:
    async with HttpClient("http://127.0.0.1:1") as http:
        with pytest.raises(ConnectionLost, match="GET /v1/unread"):
            await http.request("GET", "/v1/unread")


async def test_it_is_used_in_a_with_statement() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await HttpClient("http://127.0.0.1:1").request("GET", "/")
