from collections.abc import Mapping
from dataclasses import dataclass, field

import jwt
import pytest

from loadtest.plan import Endpoint
from loadtest.servers import Floor, Server, ServerError, Tradewire, running, tradewire_on_scylla


@dataclass(frozen=True)
class Broken(Floor):
    """A program in place of the server."""

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


async def test_the_floor_starts_and_stops() -> None:
    async with running(Floor()) as server:
        assert server.host == "127.0.0.1"
        assert server.port > 0
        [pair] = await server.pairs(1)
        assert pair.endpoints == (
            Endpoint(server.host, server.port, "/ws/chat?user_id=a0"),
            Endpoint(server.host, server.port, "/ws/chat?user_id=b0"),
        )
        assert pair.conversation_id


async def test_the_second_of_each_pair_may_be_on_another_server() -> None:
    one, other = (Server(Floor(), (1,), f"http://127.0.0.1:{port}") for port in (1001, 1002))
    pairs = await one.pairs(2, first=7, peers_on=other)
    assert [pair.endpoints for pair in pairs] == [
        (
            Endpoint("127.0.0.1", 1001, f"/ws/chat?user_id=a{number}"),
            Endpoint("127.0.0.1", 1002, f"/ws/chat?user_id=b{number}"),
        )
        for number in (7, 8)
    ]


async def test_a_server_that_ends_at_once_is_told_with_its_own_words() -> None:
    program = "import sys; sys.exit('the folder is in use')"
    with pytest.raises(ServerError, match="the folder is in use"):
        async with running(Broken(command=("-c", program))):
            pytest.fail("it never was ready")


async def test_a_server_that_does_not_exit_cleanly_fails_the_run() -> None:
    program = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3));"
        "print('ready http://127.0.0.1:1', flush=True); signal.pause()"
    )
    with pytest.raises(ServerError, match="exit code 3"):
        async with running(Broken(command=("-c", program))):
            pass


def test_tokens_are_signed_with_the_secret_the_server_is_given() -> None:
    target = Tradewire()
    secret = target.environment["JWT_SECRET"]
    claims = jwt.decode(target.token("a1"), secret, algorithms=["HS256"])
    assert claims["sub"] == "a1"
    assert "exp" in claims
    assert target.path("a1").startswith("/ws/chat?user_id=a1&token=")


def test_each_bench_has_a_secret_of_its_own() -> None:
    assert Tradewire().environment["JWT_SECRET"] != Tradewire().environment["JWT_SECRET"]


def test_a_store_is_named_whatever_the_environment_says() -> None:
    assert Tradewire().environment["STORE"] == "sqlite"
    target = tradewire_on_scylla(("127.0.0.1:9042", "127.0.0.2:9042"), "bench_1")
    assert target.environment["STORE"] == "scylla"
    assert target.environment["SCYLLA_HOSTS"] == "127.0.0.1:9042,127.0.0.2:9042"
    assert target.environment["SCYLLA_KEYSPACE"] == "bench_1"
    assert target.environment["SCYLLA_REPLICATION_FACTOR"] == "1"
    assert target.environment["MESSAGES_PER_SECOND"] == "0"


def test_settings_are_added_to_those_of_the_store() -> None:
    target = tradewire_on_scylla(("127.0.0.1:9042",), "bench_1", EVENTS="kafka")
    assert target.environment["STORE"] == "scylla"
    assert target.environment["EVENTS"] == "kafka"
