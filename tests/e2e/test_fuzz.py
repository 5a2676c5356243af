"""Whatever is sent, the answer is an error of the protocol, and what is stored stays as it was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.authorization_calls import UPGRADE
from tests.e2e.fuzz_target import Target, check_error, check_no_leak, until_probed
from tests.e2e.fuzz_values import (
    ADDRESS_BYTES,
    FRAME_BYTES,
    FRAMES,
    QUERIES,
    REQUESTS,
    Request,
    mutated,
)
from tests.e2e.harness import DEADLINE_S, serving
from tests.e2e.places import Place
from tradewire.domain.caller import Caller
from tradewire.domain.commands import Command
from tradewire.domain.errors import Close
from tradewire.domain.events import Reply
from tradewire.protocol.frames import CODECS, Malformed
from tradewire.protocol.rate import TokenBucket
from tradewire.protocol.session import Limits, Session

JSON, MSGPACK = CODECS

in_module_loop = pytest.mark.asyncio(loop_scope="module")


def fuzzed(examples: int) -> settings:
    """The same examples on every run; a machine may take its time for each."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(module_place: Place) -> AsyncIterator[Target]:
    async with serving(module_place) as server, Target.on(server) as target:
        yield target
        assert not server.node.failed.is_set()


@pytest.mark.parametrize("protocol", CODECS)
@given(data=st.data())
@fuzzed(300)
def test_a_codec_answers_for_every_frame(protocol: str, data: st.DataObject) -> None:
    codec = CODECS[protocol]
    for item in codec.decode(data.draw(FRAMES[protocol])):
        if isinstance(item, Malformed):
            body = item.error.body()
            check_error({"code": body.code, "status": body.status})
            answer = codec.encode(Reply(id=item.id, error=body))
            check_no_leak(answer)
        else:
            assert isinstance(item, Command)


@pytest.mark.parametrize("protocol", CODECS)
@given(data=st.data())
@fuzzed(150)
def test_a_session_ends_only_with_the_third_undecodable_frame(
    protocol: str, data: st.DataObject
) -> None:
    caller = Caller("default", "fuzzer", frozenset(), None, 0.0)
    no_limit = Limits(messages_per_second=0, commands_per_second=0)
    session = Session("s", caller, CODECS[protocol], no_limit, TokenBucket(0, 0), 0.0)
    partly = wholly = 0
    for frame in data.draw(st.lists(FRAMES[protocol], max_size=8)):
        items = session.receive(frame, binary=data.draw(st.booleans()), now=0.0)
        undecodable = [isinstance(item, Malformed) and item.undecodable for item in items]
        partly = partly + 1 if any(undecodable) else 0
        wholly = wholly + 1 if undecodable and all(undecodable) else 0
        if session.close is not None:
            assert session.close is Close.NOT_THE_PROTOCOL
            assert partly >= 3
            return
        assert wholly < 3


@in_module_loop
@pytest.mark.parametrize("protocol", CODECS)
@given(data=st.data())
@fuzzed(150)
async def test_a_socket_outlives_every_frame(
    target: Target, protocol: str, data: st.DataObject
) -> None:
    frame = data.draw(FRAMES[protocol])
    right_kind = data.draw(st.sampled_from([True] * 9 + [False]))
    before = await target.state()
    replies = await target.replies(protocol, frame, binary=(protocol == MSGPACK) is right_kind)
    refused = [reply for reply in replies if "error" in reply]
    for reply in refused:
        check_error(reply["error"])
    commands = len(CODECS[protocol].decode(frame)) if right_kind else 1
    if len(refused) == commands:
        assert await target.state() == before


@in_module_loop
@given(request=REQUESTS)
@fuzzed(300)
async def test_http_blames_the_client(target: Target, request: Request) -> None:
    before = await target.state()
    status, body = await target.request(request)
    if status >= 400:
        check_error(body)
        assert body["status"] == status
        assert await target.state() == before


@in_module_loop
@given(query=QUERIES)
@fuzzed(60)
async def test_a_handshake_blames_the_client(target: Target, query: str) -> None:
    status, body = await target.handshake(query)
    if status != 101:
        check_error(body)
        assert body["status"] == status


_UPGRADE = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items()).encode()
_HEADERS = b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer TOKEN\r\n"
_REQUESTS = [
    b"GET /v1/conversations?limit=3" + _HEADERS + b"\r\n",
    b"POST /v1/messages" + _HEADERS + b"Content-Length: 2\r\n\r\n{}",
    b"PUT /v1/presence" + _HEADERS + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET /ws/chat" + _HEADERS + _UPGRADE + b"\r\n",
]
_RUBBISH = b"\xff" * (2 * FRAME_BYTES)
"""Neither HTTP nor a WebSocket frame, and more than any declared length that is accepted."""


@in_module_loop
@given(request=mutated(st.sampled_from(_REQUESTS)))
@fuzzed(80)
async def test_broken_http_ends_the_connection_alone(target: Target, request: bytes) -> None:
    before = await target.state()
    answer = await _exchange(target, request)
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    check_no_leak(answer)
    assert await target.state() == before


@in_module_loop
@given(frames=st.binary(min_size=1, max_size=60))
@fuzzed(60)
async def test_broken_websocket_frames_end_the_connection_alone(
    target: Target, frames: bytes
) -> None:
    before = await target.state()
    answer = await _exchange(target, _REQUESTS[-1] + frames)
    assert answer.startswith(b"HTTP/1.1 101") or not answer, answer
    check_no_leak(answer)
    assert await target.state() == before


async def _exchange(target: Target, data: bytes) -> bytes:
    """What the server answers to these bytes and rubbish after them, until it hangs up."""
    token = target.server.token("fuzzer").encode()
    host, port = target.server.url.removeprefix("http://").split(":")
    answer = b""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            # A server that hangs up with input unread resets the connection.
            with suppress(ConnectionError):
                writer.write(data.replace(b"TOKEN", token) + _RUBBISH)
                while chunk := await reader.read(FRAME_BYTES):
                    answer += chunk
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
    return answer


@in_module_loop
@pytest.mark.parametrize("protocol", CODECS)
async def test_the_third_undecodable_frame_in_a_row_closes(target: Target, protocol: str) -> None:
    wrong_kind = aiohttp.WSMsgType.TEXT if protocol == MSGPACK else aiohttp.WSMsgType.BINARY
    socket = await target.connect(protocol)
    for _ in range(2):
        await socket.send_frame(b"\xc1", wrong_kind)
    replies = await until_probed(socket, protocol)
    assert [reply["error"]["code"] for reply in replies] == ["bad_request"] * 2
    for _ in range(3):
        await socket.send_frame(b"\xc1", wrong_kind)
    while (await socket.receive(timeout=DEADLINE_S)).type in _DATA:
        pass
    assert socket.close_code == 4400


_DATA = {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}


@in_module_loop
@pytest.mark.parametrize(
    ("protocol", "frame"),
    [(JSON, b'[null,1,[],"a"]'), (MSGPACK, b"\x94\xc0\x01\x90\xa1a")],
    ids=CODECS,
)
async def test_an_array_of_what_is_no_command_is_one_frame(
    target: Target, protocol: str, frame: bytes
) -> None:
    replies = await target.replies(protocol, frame, binary=protocol == MSGPACK)
    assert [reply["error"]["code"] for reply in replies] == ["bad_request"] * 4


@in_module_loop
async def test_a_frame_may_have_so_many_bytes_and_no_more(target: Target) -> None:
    socket = await target.connect(JSON)
    ping = b'{"type":"Ping","id":1}'
    await socket.send_frame(ping.ljust(FRAME_BYTES), aiohttp.WSMsgType.TEXT)
    (reply,) = await until_probed(socket, JSON)
    assert "result" in reply
    await socket.send_frame(ping.ljust(FRAME_BYTES + 1), aiohttp.WSMsgType.TEXT)
    while (await socket.receive(timeout=DEADLINE_S)).type in _DATA:
        pass
    assert socket.close_code == 1009


@in_module_loop
@pytest.mark.parametrize("size", [FRAME_BYTES + 1, 1 << 19])
async def test_a_body_over_the_limit_is_too_large(target: Target, size: int) -> None:
    headers = {"Content-Type": "application/json"}
    request = Request("fuzzer", "POST", "/v1/messages", headers, b"{}".ljust(size))
    status, body = await target.request(request)
    assert (status, body["code"]) == (413, "too_large")


@in_module_loop
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/blocks/someone"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "unknown"])
async def test_a_body_not_encoded_as_it_says_is_refused(
    target: Target, path: str, encoding: str
) -> None:
    method = "POST" if path == "/v1/messages" else "PUT"
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    status, body = await target.request(Request("fuzzer", method, path, headers, b"{}"))
    if status >= 400:
        check_error(body)


@in_module_loop
async def test_an_address_that_is_too_long_is_refused(target: Target) -> None:
    path = "/v1/unread?" + "a" * ADDRESS_BYTES
    status, body = await target.request(Request("fuzzer", "GET", path, {}, b""))
    assert status in {400, 414, 431}
    assert body["code"] == "bad_request"
