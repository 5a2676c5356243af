"""Tokens, bodies, limits, failures: what holds for every request."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.unit.http_server import SECRET, Client, RecordingService, bearer, problem, serving
from tradewire.domain.errors import (
    Conflict,
    Draining,
    KeyReused,
    NotFound,
    Overloaded,
    RateLimited,
    TextTooLong,
    TooLarge,
    TradewireError,
    Unavailable,
)
from tradewire.edge import http_requests
from tradewire.edge.auth import mint
from tradewire.edge.http import BODY_BYTES
from tradewire.protocol.examples import CONVERSATION_ID

MESSAGE = {"conversation_id": CONVERSATION_ID, "text": "hello"}
JSON = {"Content-Type": "application/json"}


async def refuse(_: web.Request) -> web.Response:
    raise KeyReused


async def fail(_: web.Request) -> web.Response:
    raise RuntimeError("a secret of the server")


@pytest.fixture
def service() -> RecordingService:
    return RecordingService()


@pytest.fixture
async def client(service: RecordingService) -> AsyncIterator[Client]:
    async with serving(service, web.get("/refuse", refuse), web.get("/fail", fail)) as client:
        yield client


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        f"Basic {mint(SECRET, 'alice')}",
        f"Bearer {mint('another secret that is long enough', 'alice')}",
        mint(SECRET, "alice"),
    ],
)
async def test_a_token_is_required(
    client: Client, service: RecordingService, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with client.get("/v1/unread", headers=headers) as response:
        await problem(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert service.commands == []
    assert service.limited == []


async def test_an_expired_token_is_told_so(client: Client) -> None:
    headers = {"Authorization": f"Bearer {mint(SECRET, 'alice', ttl_s=-60)}"}
    async with client.get("/v1/unread", headers=headers) as response:
        await problem(response, 401, "token_expired")
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_in_the_query_is_not_looked_at(client: Client) -> None:
    async with client.get("/v1/unread", params={"token": mint(SECRET, "alice")}) as response:
        await problem(response, 401, "unauthenticated")


async def test_the_scheme_may_be_written_in_any_case(client: Client) -> None:
    headers = {"Authorization": f"bearer {mint(SECRET, 'alice')}"}
    async with client.get("/v1/unread", headers=headers) as response:
        assert response.status == 200


async def test_a_limit_is_told_with_when_to_come_again(
    client: Client, service: RecordingService
) -> None:
    service.limit = RateLimited(retry_after_ms=1_200)
    async with client.get("/v1/unread", headers=bearer()) as response:
        body = await problem(response, 429, "rate_limited")
        assert response.headers["Retry-After"] == "2"
    assert body["retry_after_ms"] == 1_200
    assert service.commands == []


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (NotFound(field="conversation_id"), None),
        (TextTooLong(field="text"), None),
        (KeyReused(), None),
        (Conflict("Another edit came first."), None),
        (TooLarge(field="metadata"), None),
        (Unavailable(), "1"),
        (Overloaded(retry_after_ms=1), "1"),
        (Draining(retry_after_ms=4_000), "4"),
    ],
)
async def test_an_error_of_a_command_is_a_problem(
    client: Client, service: RecordingService, error: TradewireError, retry_after: str | None
) -> None:
    service.answer = error
    async with client.get("/v1/unread", headers=bearer()) as response:
        body = await problem(response, error.status, error.code)
        assert response.headers.get("Retry-After") == retry_after
    assert body["detail"] == str(error)
    assert body.get("field") == error.field
    assert body.get("retry_after_ms") == error.retry_after_ms


async def test_a_failure_is_logged_and_not_told(client: Client) -> None:
    with capture_logs() as logs:
        async with client.get("/fail?token=x", headers={"X-Request-Id": "r-1"}) as response:
            body = await problem(response, 500, "internal")
    assert "secret" not in json.dumps(body)
    (line,) = logs
    assert line["request_id"] == response.headers["X-Request-Id"] == "r-1"
    assert line["path"] == "/fail"
    assert line["log_level"] == "error"


async def test_what_else_is_served_has_the_same_errors(client: Client) -> None:
    async with client.get("/refuse") as response:
        await problem(response, 409, "key_reused")


@pytest.mark.parametrize("given", ["req-1", "0123:ab.c_d"])
async def test_the_id_of_a_request_comes_back(client: Client, given: str) -> None:
    async with client.get("/healthz", headers={"X-Request-Id": given}) as response:
        assert response.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 65])
async def test_a_request_without_a_usable_id_gets_one(client: Client, given: str) -> None:
    async with client.get("/nothing", headers={"X-Request-Id": given}) as response:
        first = response.headers["X-Request-Id"]
    async with client.get("/nothing") as response:
        second = response.headers["X-Request-Id"]
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.parametrize(
    ("header", "status", "told"),
    [
        (b"Authorization: Bearer \xff", 401, b"unauthenticated"),
        (b"X-Request-Id: \xff", 401, b"unauthenticated"),
        (b"Idempotency-Key: \xff", 400, b'"field":"key"'),
    ],
)
async def test_a_header_may_hold_any_bytes(
    client: Client, header: bytes, status: int, told: bytes
) -> None:
    token = bearer()["Authorization"].encode() if status == 400 else b""
    lines = (
        b"POST /v1/messages HTTP/1.1",
        b"Host: localhost",
        header,
        b"Connection: close",
        b"Authorization: " + token,
        b"Content-Length: 0",
    )
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert told in answer


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"7", b"null", b"\xff", b'"\xed\xa0\x80"', b"[" * 9_000]
)
async def test_what_is_no_json_object_is_a_bad_request(
    client: Client, service: RecordingService, body: bytes
) -> None:
    async with client.post("/v1/messages", data=body, headers=bearer() | JSON) as response:
        await problem(response, 400, "bad_request")
    assert service.commands == []


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_a_body_of_another_type_is_refused(client: Client, media_type: str) -> None:
    headers = bearer() | {"Content-Type": media_type}
    body = json.dumps(MESSAGE)
    async with client.post("/v1/messages", data=body, headers=headers) as response:
        await problem(response, 415, "unsupported_media_type")


async def test_a_charset_does_not_make_it_another_type(client: Client) -> None:
    headers = bearer() | {"Content-Type": "application/json; charset=utf-8"}
    body = json.dumps(MESSAGE)
    async with client.post("/v1/messages", data=body, headers=headers) as response:
        assert response.status == 201


async def test_no_body_is_an_object_without_members(client: Client) -> None:
    async with client.post("/v1/messages", headers=bearer()) as response:
        body = await problem(response, 400, "invalid_field")
    assert body["field"] == "conversation_id"


def padded(size: int) -> bytes:
    body = json.dumps(MESSAGE).encode()
    return body[:-1] + b" " * (size - len(body)) + body[-1:]


def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    return chunks()


@pytest.mark.parametrize("wrap", [bytes, in_chunks])
async def test_a_body_has_a_greatest_size(client: Client, wrap: Any) -> None:
    headers = bearer() | JSON
    async with client.post("/v1/messages", data=wrap(padded(BODY_BYTES)), headers=headers) as fits:
        assert fits.status == 201
    body = wrap(padded(BODY_BYTES + 1))
    async with client.post("/v1/messages", data=body, headers=headers) as response:
        await problem(response, 413, "too_large")


async def test_a_compressed_body_counts_by_what_comes_out(client: Client) -> None:
    headers = bearer() | JSON | {"Content-Encoding": "gzip"}
    body = gzip.compress(padded(BODY_BYTES * 50))
    assert len(body) < BODY_BYTES
    async with client.post("/v1/messages", data=body, headers=headers) as response:
        await problem(response, 413, "too_large")


async def test_a_body_that_is_not_compressed_as_it_says_is_a_bad_request(client: Client) -> None:
    headers = bearer() | JSON | {"Content-Encoding": "gzip"}
    async with client.post("/v1/messages", data=b"\x00" * 50, headers=headers) as response:
        await problem(response, 400, "bad_request")


async def test_a_body_that_does_not_arrive_is_given_up(
    client: Client, service: RecordingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_requests, "BODY_DEADLINE_S", 0.05)
    answered = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.wait_for(answered.wait(), 10)

    headers = bearer() | JSON
    async with client.post("/v1/messages", data=stuck(), headers=headers) as response:
        await problem(response, 400, "bad_request")
        answered.set()
    assert service.commands == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["conversation_id", "key", "text", "metadata", "content_type", "language", "expires_in_s"]
)
BODIES = st.binary() | (JSON_VALUES | st.dictionaries(FIELDS, JSON_VALUES)).map(
    lambda value: json.dumps(value).encode()
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_no_body_makes_it_fail(client: Client, data: st.DataObject) -> None:
    paths = ["/v1/messages", "/v1/conversations", f"/v1/conversations/{CONVERSATION_ID}/read"]
    path = data.draw(st.sampled_from(paths))
    body = data.draw(BODIES)
    async with client.post(path, data=body, headers=bearer() | JSON) as response:
        assert response.status in {200, 201, 400}
        assert "Traceback" not in await response.text()
