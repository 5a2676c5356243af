import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.unit.signing import (
    EC,
    ED,
    NOW,
    PRIVATE,
    RSA,
    SECRET,
    Clock,
    claims,
    forge_hs256,
    pem,
    refused,
    signed,
)
from tradewire.domain.errors import Unavailable
from tradewire.edge.auth import VERIFIED_S, Authenticator
from tradewire.edge.keys import FETCH_BYTES, FRESH_S, KEEP_S, RETRY_S, Jwks


def jwk(key: Any, key_id: str | None = "k1", **members: object) -> dict[str, Any]:
    kinds: list[tuple[type, Any]] = [
        (rsa.RSAPrivateKey, jwt.algorithms.RSAAlgorithm),
        (ec.EllipticCurvePrivateKey, jwt.algorithms.ECAlgorithm),
        (ed25519.Ed25519PrivateKey, jwt.algorithms.OKPAlgorithm),
    ]
    (algorithm,) = [algorithm for kind, algorithm in kinds if isinstance(key, kind)]
    named = {} if key_id is None else {"kid": key_id}
    return {**json.loads(algorithm.to_jwk(key.public_key())), **named, **members}


class KeyServer:
    """A key set on 127.0.0.1 that counts how often it is asked."""

    def __init__(self) -> None:
        self.body: str | bytes = b""
        self.status = 200
        self.asked = 0
        self.hold: asyncio.Event | None = None

    def serve(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": keys})

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        body = self.body.encode() if isinstance(self.body, str) else self.body
        return web.Response(body=body, status=self.status, headers=headers)


class Remote:
    """An authenticator with a key set, its server, and the clock of both."""

    def __init__(self, url: str, server: KeyServer) -> None:
        self.server = server
        self.clock = Clock(1000.0)
        self.wall = Clock(NOW)
        self.authenticator = Authenticator(jwks=Jwks(url, self.clock), now=self.wall)

    async def user(self, key_id: str | None = "k1", key: Any = EC, sub: str = "alice") -> str:
        caller = await self.authenticator.authenticate(signed("ES256", key, key_id, sub=sub))
        return caller.user_id


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    keys = KeyServer()
    app = web.Application()
    app.router.add_get("/jwks", keys.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        made = Remote(str(server.make_url("/jwks")), keys)
        yield made
        if keys.hold is not None:
            keys.hold.set()
        await made.authenticator.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_keys_are_taken_from_their_address_once(remote: Remote, algorithm: str) -> None:
    remote.server.serve(*(jwk(key, name) for name, key in PRIVATE.items()))
    for sub in ("alice", "bob"):
        token = signed(algorithm, PRIVATE[algorithm], algorithm, sub=sub)
        assert (await remote.authenticator.authenticate(token)).user_id == sub
    assert remote.server.asked == 1


async def test_many_who_ask_at_once_share_one_fetch(remote: Remote) -> None:
    remote.server.serve(jwk(EC))
    users = [f"u{n}" for n in range(20)]
    assert await asyncio.gather(*(remote.user(sub=user) for user in users)) == users
    assert remote.server.asked == 1


async def test_a_new_key_is_fetched_when_it_is_first_used(remote: Remote) -> None:
    remote.server.serve(jwk(EC))
    await remote.user()
    new = ec.generate_private_key(ec.SECP256R1())
    remote.server.serve(jwk(EC), jwk(new, "k2"))
    remote.clock.now += RETRY_S
    assert await remote.user("k2", new) == "alice"
    assert remote.server.asked == 2


async def test_unknown_keys_do_not_make_a_storm_of_fetches(remote: Remote) -> None:
    remote.server.serve(jwk(EC))
    await remote.user()
    for n in range(10):
        await refused(remote.authenticator, signed("ES256", EC, f"unknown-{n}"))
    assert remote.server.asked == 1
    remote.clock.now += RETRY_S
    await refused(remote.authenticator, signed("ES256", EC, "unknown"))
    assert remote.server.asked == 2


async def test_stale_keys_serve_while_new_ones_are_fetched(remote: Remote) -> None:
    remote.server.serve(jwk(EC))
    await remote.user()
    remote.server.hold = asyncio.Event()
    remote.clock.now += FRESH_S + 1
    assert await asyncio.wait_for(remote.user(sub="bob"), 10) == "bob"
    await until(lambda: remote.server.asked == 2)


async def test_a_key_that_was_taken_away_loses_its_power(remote: Remote) -> None:
    remote.server.serve(jwk(EC))
    token = signed("ES256", EC, "k1", exp=NOW + 3600)
    await remote.authenticator.authenticate(token)
    remote.server.serve(jwk(RSA, "other"))
    remote.clock.now += FRESH_S + RETRY_S
    await refused(remote.authenticator, signed("ES256", EC, "gone"))
    await remote.authenticator.authenticate(token)
    remote.wall.now += VERIFIED_S
    await refused(remote.authenticator, token)


@pytest.mark.parametrize("status", [500, 302, 404])
async def test_old_keys_serve_for_a_day_while_the_address_fails(
    remote: Remote, status: int
) -> None:
    remote.server.serve(jwk(EC))
    await remote.user()
    remote.server.status = status
    remote.clock.now += KEEP_S
    assert await remote.user(sub="bob") == "bob"
    await until(lambda: remote.server.asked == 2)
    remote.clock.now += RETRY_S
    with pytest.raises(Unavailable):
        await remote.user(sub="carol")


async def test_without_any_keys_the_service_is_unavailable_until_they_come(remote: Remote) -> None:
    remote.server.status = 503
    with pytest.raises(Unavailable):
        await remote.user()
    remote.server.status = 200
    remote.server.serve(jwk(EC))
    with pytest.raises(Unavailable):
        await remote.user()
    remote.clock.now += RETRY_S
    assert await remote.user() == "alice"


async def test_nobody_listens_at_the_address() -> None:
    url = f"http://127.0.0.1:{unused_port()}/jwks"
    authenticator = Authenticator(jwks=Jwks(url), now=Clock(NOW))
    with pytest.raises(Unavailable):
        await authenticator.authenticate(signed("ES256", EC, "k1"))
    await authenticator.close()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"keys": 1}',
        '{"keys": ["k"]}',
        b"\xff",
        '{"keys": [{"a":' + "[" * 10_000,
        " " * (FETCH_BYTES + 1),
    ],
    ids=lambda body: ascii(body[:20]),
)
async def test_what_is_no_key_set_is_no_help(remote: Remote, body: str | bytes) -> None:
    remote.server.body = body
    with pytest.raises(Unavailable):
        await remote.user()


SYMMETRIC = {"kty": "oct", "kid": "k1", "k": urlsafe_b64encode(SECRET.encode()).decode()}


UNUSABLE = {
    "symmetric": SYMMETRIC,
    "symmetric with its algorithm": {**SYMMETRIC, "alg": "HS256"},
    "for encryption": jwk(EC, use="enc"),
    "of another algorithm": jwk(EC, alg="ES384"),
    "of a nameless algorithm": jwk(EC, alg=5),
    "id not a string": {**jwk(EC), "kid": 5},
    "point not base64": {**jwk(EC), "x": "!"},
    "point not on the curve": {**jwk(EC), "x": jwk(EC)["y"]},
    "unknown curve": {**jwk(EC), "crv": "P-999"},
    "no kind": {"kid": "k1"},
    "no point": {"kty": "EC", "kid": "k1"},
    "P-384": jwk(ec.generate_private_key(ec.SECP384R1())),
    "RSA of 1024 bits": jwk(rsa.generate_private_key(65537, 1024)),
}


@pytest.mark.parametrize("why", UNUSABLE)
async def test_unusable_keys_of_a_set_are_left_out(remote: Remote, why: str) -> None:
    remote.server.serve(UNUSABLE[why], jwk(ED, "good"))
    good = await remote.authenticator.authenticate(signed("EdDSA", ED, "good"))
    assert good.user_id == "alice"
    await refused(remote.authenticator, signed("ES256", EC, "k1"))
    await refused(remote.authenticator, signed("HS256", SECRET, "k1"))


async def test_a_token_that_names_no_key_needs_the_only_one_of_its_algorithm(
    remote: Remote,
) -> None:
    remote.server.serve(jwk(EC), jwk(RSA, "rsa"))
    assert await remote.user(key_id=None) == "alice"
    remote.server.serve(jwk(EC), jwk(ec.generate_private_key(ec.SECP256R1()), "k2"))
    remote.clock.now += RETRY_S
    await refused(remote.authenticator, signed("ES256", EC, "unknown"))
    await refused(remote.authenticator, signed("ES256", EC, sub="bob"))


async def test_a_key_verifies_only_its_own_algorithm(remote: Remote) -> None:
    remote.server.serve(jwk(EC))
    await refused(remote.authenticator, signed("RS256", RSA, "k1"))
    await refused(remote.authenticator, forge_hs256(pem(EC).encode(), claims()))


async def test_closing_gives_up_a_fetch_that_hangs(remote: Remote) -> None:
    remote.server.hold = asyncio.Event()
    asking = asyncio.ensure_future(remote.user())
    await until(lambda: remote.server.asked == 1)
    await asyncio.wait_for(remote.authenticator.close(), 10)
    with pytest.raises(asyncio.CancelledError):
        await asking
