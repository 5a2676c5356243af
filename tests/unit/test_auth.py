import stat
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.signing import (
    EC,
    NOW,
    PRIVATE,
    RSA,
    SECRET,
    Clock,
    claims,
    compact,
    forge_hs256,
    pem,
    refused,
    signed,
)
from tradewire.domain.caller import Caller
from tradewire.domain.errors import TokenExpired
from tradewire.edge.auth import VERIFIED_TOKENS, Authenticator, load_or_create_secret, mint


def with_secret(clock: Clock | None = None, **options: Any) -> Authenticator:
    return Authenticator(secret=SECRET, now=clock or Clock(NOW), **options)


async def test_a_token_tells_who_is_calling() -> None:
    token = signed(tenant="shop-2", roles=["admin", "service"], jti="t-1", iat=NOW - 1.5)
    assert await with_secret().authenticate(token) == Caller(
        "shop-2", "alice", frozenset({"admin", "service"}), "t-1", NOW + 60, NOW - 1.5
    )


async def test_tenant_and_roles_have_defaults_and_unknown_roles_are_ignored() -> None:
    caller = await with_secret().authenticate(signed(roles=["moderator", "root", "Admin"]))
    assert (caller.tenant, caller.token_id, caller.issued_at) == ("default", None, 0)
    assert caller.roles == {"moderator"}
    assert (await with_secret().authenticate(signed())).roles == frozenset()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_verifies_the_algorithm_of_its_kind(algorithm: str) -> None:
    key = PRIVATE[algorithm]
    authenticator = Authenticator(public_pem=pem(key), now=Clock(NOW))
    assert (await authenticator.authenticate(signed(algorithm, key))).user_id == "alice"


async def test_a_secret_and_a_public_key_serve_side_by_side() -> None:
    authenticator = with_secret(public_pem=pem(EC))
    assert (await authenticator.authenticate(signed("ES256", EC, sub="bob"))).user_id == "bob"
    assert (await authenticator.authenticate(signed())).user_id == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": NOW * 1000},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": -1},
        {"sub": None},
        {"sub": ""},
        {"sub": "a" * 129},
        {"sub": "alice\n"},
        {"sub": "al/ice"},
        {"sub": "system"},
        {"sub": 7},
        {"tenant": ""},
        {"tenant": "a b"},
        {"tenant": 1},
        {"roles": "admin"},
        {"roles": [1]},
        {"jti": 5},
        {"jti": ""},
        {"jti": "j" * 257},
        {"jti": "\ud800"},
        {"iat": "now"},
        {"iat": -1},
        {"iat": NOW * 1000},
        {"iat": float("nan")},
        {"nbf": NOW + 6},
    ],
    ids=str,
)
async def test_bad_claims_are_refused(changes: dict[str, Any]) -> None:
    token = forge_hs256(SECRET.encode(), claims(**changes))
    assert not isinstance(await refused(with_secret(), token), TokenExpired)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "word",
        "a.b",
        "a.b.c",
        "é.é.é",
        "\ud800",
        "a" * 8193,
        compact({"alg": "none"}, claims()),
        compact({"alg": "None", "typ": "JWT"}, claims()),
        compact({"alg": "HS256"}, claims()),
        compact({"alg": "HS256", "kid": 5}, claims()),
        compact({"alg": "HS256", "crit": ["x"]}, claims(), b"x"),
        compact({"alg": ["HS256"]}, claims()),
        compact({}, claims()),
        compact([], []),
        urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".e30.e30",
    ],
    ids=lambda token: ascii(token[:40]),
)
async def test_what_is_no_signed_token_is_refused(token: str) -> None:
    await refused(with_secret(public_pem=pem(RSA)), token)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_other_algorithms_of_the_secret_are_refused(algorithm: str) -> None:
    await refused(with_secret(), signed(algorithm, SECRET * 2))
    await refused(with_secret(), jwt.encode(claims(), SECRET * 2, algorithm))


async def test_another_secret_or_key_is_refused() -> None:
    await refused(with_secret(), signed(key=SECRET + "!"))
    other = ec.generate_private_key(ec.SECP256R1())
    await refused(Authenticator(public_pem=pem(EC), now=Clock(NOW)), signed("ES256", other))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_is_no_secret(algorithm: str) -> None:
    public = pem(PRIVATE[algorithm])
    forged = forge_hs256(public.encode(), claims())
    await refused(Authenticator(public_pem=public, now=Clock(NOW)), forged)
    await refused(with_secret(public_pem=public), forged)


async def test_the_forgery_of_these_tests_would_pass_with_the_right_secret() -> None:
    forged = forge_hs256(SECRET.encode(), claims())
    assert (await with_secret().authenticate(forged)).user_id == "alice"


async def test_issuer_and_audience_are_checked_when_configured() -> None:
    strict = with_secret(issuer="https://id.example", audience="chat")
    good = signed(iss="https://id.example", aud=["shop", "chat"])
    assert (await strict.authenticate(good)).user_id == "alice"
    await refused(strict, signed(iss="https://id.example"))
    await refused(strict, signed(iss="https://id.example", aud="shop"))
    await refused(strict, signed(iss="https://other.example", aud="chat"))
    await refused(strict, signed(aud="chat"))
    assert (await with_secret().authenticate(good)).user_id == "alice"


async def test_a_token_expires_after_the_leeway() -> None:
    clock = Clock(NOW)
    authenticator = with_secret(clock)
    token = signed(exp=NOW + 10)
    clock.now = NOW + 14.9
    assert (await authenticator.authenticate(token)).expires_at == NOW + 10
    clock.now = NOW + 15
    with pytest.raises(TokenExpired):
        await authenticator.authenticate(token)
    with pytest.raises(TokenExpired):
        await with_secret(clock).authenticate(token)


async def test_an_expired_token_of_another_key_is_not_told_to_be_expired() -> None:
    error = await refused(with_secret(), signed(key=SECRET + "!", exp=NOW - 60))
    assert error.code == "unauthenticated"


async def test_more_tokens_than_are_remembered_are_all_right() -> None:
    authenticator = with_secret()
    callers = [
        (
            await authenticator.authenticate(forge_hs256(SECRET.encode(), claims(sub=f"u{n}")))
        ).user_id
        for n in (*range(VERIFIED_TOKENS + 2), 0)
    ]
    assert callers[-2:] == [f"u{VERIFIED_TOKENS + 1}", "u0"]


async def test_a_header_that_must_be_understood_and_is_not_is_refused() -> None:
    token = jwt.encode(claims(), SECRET, "HS256", headers={"crit": ["shop"], "shop": 1})
    await refused(with_secret(), token)


async def test_a_minted_token_is_accepted() -> None:
    token = mint(SECRET, "alice", ["admin"], 60, "shop-2", issuer="tradewire", audience="chat")
    authenticator = Authenticator(secret=SECRET, issuer="tradewire", audience="chat")
    caller = await authenticator.authenticate(token)
    assert (caller.tenant, caller.user_id, caller.roles) == (
        "shop-2",
        "alice",
        frozenset({"admin"}),
    )
    assert caller.token_id


@pytest.mark.parametrize(
    "wrong",
    [{"user": "system"}, {"user": "a b"}, {"roles": ["root"]}, {"tenant": ""}, {"ttl_s": 1e12}],
    ids=str,
)
def test_a_token_that_would_be_refused_is_not_minted(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        mint(**{"secret": SECRET, "user": "alice", **wrong})


def test_the_secret_of_a_folder_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secret = load_or_create_secret(folder)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert load_or_create_secret(folder) == secret
    assert len(secret) >= 32


def test_all_who_start_at_once_have_the_same_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(load_or_create_secret, [tmp_path] * 64))
    assert len(secrets) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path) -> None:
    load_or_create_secret(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text("short")
    with pytest.raises(ValueError, match="holds no secret"):
        load_or_create_secret(tmp_path)
