"""Connections that end, and how the client comes back or gives up."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.unit.client.peer import (
    DEADLINE_S,
    ManualClock,
    Peer,
    joined,
    next_event,
    received,
    sync_completed,
)
from tradewire.client import AuthenticationFailed, Client, ClientError, ConnectionLost
from tradewire.client.jitter import FullJitter

Connect = Callable[..., Client]


async def failure(client: Client) -> ClientError:
    """What ended the client, as its events and its commands tell."""
    with pytest.raises(ClientError) as told:
        await next_event(client)
    with pytest.raises(type(told.value)):
        await client.send("c1", "a")
    assert client.state == "closed"
    return told.value


def test_full_jitter_is_uniform_below_a_bound_that_doubles_up_to_a_cap() -> None:
    jitter = FullJitter(1.0, 5.0, iter([1.0, 0.5, 1.0, 1.0, 0.0, 1.0]).__next__)
    assert [jitter.next() for _ in range(5)] == [1.0, 1.0, 4.0, 5.0, 0.0]
    jitter.reset()
    assert jitter.next() == 1.0


async def test_the_handshake_says_who_asks_for_what(peer: Peer, connect: Connect) -> None:
    client = connect(device_id="phone", conversations=20, since="0", protocol="msgpack")
    async with joined(client, peer, cursor=3) as end:
        wanted = {"device_id": "phone", "conversations": "20", "since": "0", "batch": "1"}
        assert end.query == wanted
        assert end.binary
        assert peer.tokens == ["t0"]
        assert client.welcome["session_id"] == "s1"
        assert client.state == "resuming"
        await end.tell(sync_completed(3))
        assert (await next_event(client))["type"] == "SyncCompleted"
        assert client.state == "live"


async def test_batches_are_not_asked_for_unless_wanted(peer: Peer, connect: Connect) -> None:
    async with joined(connect(batch=False), peer) as end:
        assert end.query == {}


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4408, 4503])
async def test_a_passing_close_is_followed_by_a_resume(
    peer: Peer, connect: Connect, code: int
) -> None:
    client = connect()
    async with joined(client, peer, cursor=5) as end:
        await end.tell(received(9))
        await next_event(client)
        await end.close(code)
        resumed = await peer.welcome()
        assert resumed.query["since"] == "9"


async def test_waits_grow_while_the_server_is_away_and_begin_anew_after_a_welcome(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock, reconnect_base_s=1.0, reconnect_cap_s=3.0)
    async with joined(client, peer) as end:
        peer.refuse_handshake(502)
        peer.refuse_handshake(500)
        end.cut()
        for wait in (1.0, 2.0, 3.0):
            await clock.advance(wait)
        resumed = await peer.welcome()
        resumed.cut()
        await clock.advance(1.0)
        await peer.welcome()


async def test_a_flood_backs_off_further_although_each_handshake_succeeds(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock, reconnect_base_s=1.0)
    async with joined(client, peer) as first:
        end = first
        for wait in (1.0, 2.0, 4.0):
            await end.close(4429)
            await clock.advance(wait)
            end = await peer.welcome()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    peer: Peer, connect: Connect, clock: ManualClock, status: int
) -> None:
    client = connect(clock=clock, reconnect_base_s=1.0)
    peer.refuse_handshake(status, Retry_After="20")
    advancing = asyncio.create_task(clock.advance(21.0), name="advance")
    async with joined(client, peer):
        await advancing
    assert peer.tokens == ["t0", "t0"]


async def test_the_server_says_when_to_come_back(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock, reconnect_base_s=1.0)
    async with joined(client, peer, cursor=5) as end:
        await end.tell({"type": "Reconnect", "after_ms": 4_000})
        await clock.advance(4.0)
        await end.gone()
        resumed = await peer.welcome()
        assert resumed.query["since"] == "5"


async def test_a_server_that_closes_before_the_time_it_gave_is_given_that_time(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock)
    async with joined(client, peer) as end:
        await end.tell({"type": "Reconnect", "after_ms": 4_000}, received(1))
        await next_event(client)
        await end.close(1012)
        await end.gone()
        await clock.advance(4.0)
        await peer.welcome()


@pytest.mark.parametrize("code", [1009, 4400, 4409])
async def test_a_final_close_ends_the_client(peer: Peer, connect: Connect, code: int) -> None:
    client = connect()
    async with joined(client, peer) as end:
        await end.close(code)
        error = await failure(client)
        assert isinstance(error, ConnectionLost)
        assert error.close_code == code


async def test_what_was_heard_before_the_end_is_still_handed_over(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        await end.tell(received(1))
        await end.close(4409)
        assert (await next_event(client))["type"] == "MessageReceived"
        await failure(client)


async def test_a_blocked_user_is_not_let_in_again(peer: Peer, connect: Connect) -> None:
    client = connect(on_token=None)
    async with joined(client, peer) as end:
        await end.close(4403)
        assert isinstance(await failure(client), AuthenticationFailed)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationFailed), (403, AuthenticationFailed), (400, ConnectionLost)],
)
async def test_a_final_refusal_of_the_handshake_is_raised_on_entering(
    peer: Peer, connect: Connect, status: int, error: type[ClientError]
) -> None:
    peer.refuse_handshake(status)
    with pytest.raises(error, match=str(status)):
        async with connect():
            pytest.fail("it was let in")


async def test_entering_has_a_deadline_and_says_what_was_wrong(connect: Connect) -> None:
    client = Client("http://127.0.0.1:1", "t0", connect_timeout_s=0.2, reconnect_base_s=0.01)
    with pytest.raises(ConnectionLost, match=r"not connected within 0\.2 s: cannot connect"):
        async with client:
            pytest.fail("nobody listens there")


async def test_what_is_no_address_is_not_tried_twice() -> None:
    with pytest.raises(ConnectionLost, match="not an address"):
        async with Client("nowhere", "t0"):
            pytest.fail("there is no such place")


async def test_a_peer_that_does_not_begin_with_welcome_is_no_server(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    entering = asyncio.create_task(client.__aenter__(), name="entering")
    await (await peer.accept()).tell(received(1))
    with pytest.raises(ConnectionLost, match="Welcome"):
        async with asyncio.timeout(DEADLINE_S):
            await entering


@pytest.mark.parametrize("frame", ["{", "[1]", "[" * 100_000, '"text"'])
async def test_an_unreadable_frame_ends_the_client(
    peer: Peer, connect: Connect, frame: str
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        await end.tell_raw(frame)
        assert "does not speak the protocol" in str(await failure(client))


async def test_text_on_the_binary_protocol_is_unreadable(peer: Peer, connect: Connect) -> None:
    client = connect(protocol="msgpack")
    async with joined(client, peer) as end:
        await end.tell_raw("{}")
        assert "TEXT frame" in str(await failure(client))


async def test_an_unforeseen_failure_is_told_and_not_silent(
    peer: Peer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        task = asyncio.create_task(client.request("GetUnreadCount"), name="request")
        await end.heard("GetUnreadCount")
        await end.tell({"no": "type"})
        with pytest.raises(ClientError, match="the client failed"):
            async with asyncio.timeout(DEADLINE_S):
                await task
        error = await failure(client)
        assert isinstance(error.__cause__, KeyError)
    assert "the client failed" in caplog.text


async def test_silence_ends_a_connection_and_any_sign_of_life_prolongs_it(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock)
    async with joined(client, peer, cursor=5) as end:
        await clock.advance(30.0)
        await end.heard("Ping")
        await end.ping()
        await clock.advance(30.0)
        await end.heard("Ping")
        await clock.advance(15.0)
        await clock.advance(30.0)
        await end.gone()
        resumed = await peer.welcome()
        assert resumed.query["since"] == "5"


async def test_answered_pings_move_the_cursor(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock)
    async with joined(client, peer, cursor=5) as end:
        await clock.advance(30.0)
        await end.reply(await end.heard("Ping"), cursor="50", server_time="")
        await end.tell({"type": "TypingStarted"})
        await next_event(client)
        assert client.cursor == 50


class Tokens:
    """Gives out t1, t2, …"""

    def __init__(self) -> None:
        self.given = 0

    async def __call__(self) -> str:
        self.given += 1
        return f"t{self.given}"


async def test_a_refused_token_is_renewed_once(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    tokens = Tokens()
    client = connect(clock=clock, on_token=tokens)
    peer.refuse_handshake(401)
    async with joined(client, peer) as end:
        assert peer.tokens == ["t0", "t1"]
        await end.close(4401)
        assert isinstance(await failure(client), AuthenticationFailed)
        assert tokens.given == 1


async def test_a_token_that_expires_later_is_renewed_again(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock, on_token=Tokens())
    async with joined(client, peer) as end:
        await end.close(4401)
        resumed = await peer.welcome("s2")
        await clock.advance(30.0)
        await resumed.close(4401)
        await peer.welcome("s3")
        assert peer.tokens == ["t0", "t1", "t2"]


async def test_without_a_source_of_tokens_a_refused_one_ends_the_client(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        await end.close(4401)
        assert isinstance(await failure(client), AuthenticationFailed)


async def test_a_source_of_tokens_that_fails_ends_the_client_with_its_reason(
    peer: Peer, connect: Connect
) -> None:
    async def broken() -> str:
        raise OSError("no network")

    client = connect(on_token=broken)
    async with joined(client, peer) as end:
        await end.close(4401)
        assert isinstance((await failure(client)).__cause__, OSError)


async def test_an_expiring_token_is_refreshed_on_the_open_connection(
    peer: Peer, connect: Connect
) -> None:
    client = connect(on_token=Tokens())
    async with joined(client, peer) as end:
        await end.tell({"type": "TokenExpiring"})
        command = await end.heard("RefreshToken")
        assert command["token"] == "t1"
        await end.reply(command, expires_at="")
        end.cut()
        await peer.welcome()
        assert peer.tokens == ["t0", "t1"]


async def test_a_refresh_that_is_refused_is_told_in_the_log_and_the_connection_stays(
    peer: Peer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(on_token=Tokens())
    async with joined(client, peer) as end:
        await end.tell({"type": "TokenExpiring"})
        await end.refuse(await end.heard("RefreshToken"), "unauthenticated", 401)
        await end.tell({"type": "TokenExpiring"})
        await end.reply(await end.heard("RefreshToken"), expires_at="")
    assert "the token was not refreshed: unauthenticated" in caplog.text


async def test_the_owner_may_refresh_the_token(peer: Peer, connect: Connect) -> None:
    client = connect()
    async with joined(client, peer) as end:
        with pytest.raises(AuthenticationFailed):
            await client.refresh_token()
        await end.tell({"type": "TokenExpiring"})
        assert (await next_event(client))["type"] == "TokenExpiring"
        task = asyncio.create_task(client.refresh_token("mine"), name="refresh")
        command = await end.heard("RefreshToken")
        assert command["token"] == "mine"
        await end.reply(command, expires_at="soon")
        async with asyncio.timeout(DEADLINE_S):
            assert await task == {"expires_at": "soon"}


async def test_errors_without_a_command_are_told_in_the_log(
    peer: Peer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    caplog.set_level(logging.WARNING)
    async with joined(client, peer) as end:
        await end.tell({"type": "Reply", "id": None, "error": {"code": "bad_request"}})
        await end.tell({"type": "Reply", "id": 99, "result": {}}, received(1))
        await next_event(client)
    assert "bad_request" in caplog.text
