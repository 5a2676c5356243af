"""Tokens: who is calling (protocol §2)."""

import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import jwt
import msgspec

from tradewire.domain.caller import ROLES, Caller
from tradewire.domain.errors import TokenExpired, Unauthenticated
from tradewire.domain.types import SYSTEM, Name, TokenId
from tradewire.edge.keys import Jwks, Key, PublicKey, public_key

TOKEN_CHARACTERS = 8192
VERIFIED_TOKENS = 10_000
VERIFIED_S = 300.0
"""How long a verified token is believed before its signature is checked again, so that a key taken
out of a key set loses its power."""

SECRET_FILE = "jwt-secret"  # noqa: S105 - the name of the file
SECRET_BYTES = 32

_OPTIONS: jwt.types.Options = {
    # Checked below, by the clock that was given and with the field named.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}


class _Claims(msgspec.Struct):
    sub: Name
    # Not past the year 5138: such a figure is in milliseconds by mistake.
    exp: Annotated[float, msgspec.Meta(gt=0, lt=1e11)]
    nbf: float = 0
    tenant: Name = "default"
    roles: list[str] = []
    iat: Annotated[float, msgspec.Meta(ge=0, lt=1e11)] = 0
    jti: TokenId | None = None


class Authenticator:
    """Turns tokens into callers.

    `secret` verifies HS256; `public_pem` and the keys of `jwks` verify RS256, ES256 or EdDSA, as
    their kind of key says. Verified tokens are remembered by hash, the least used dropped first.
    `now`: seconds since 1970.
    """

    def __init__(
        self,
        *,
        secret: str | None = None,
        public_pem: str | None = None,
        jwks: Jwks | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        leeway_s: float = 5.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._key: Key | None = public_key(public_pem) if public_pem else None
        self._jwks = jwks
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._now = now
        self._verified: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    async def authenticate(self, token: str) -> Caller:
        """The caller that a token speaks for.

        Raises:
            Unauthenticated: it is no valid token here; the message says why.
            TokenExpired: it was one.
            Unavailable: the keys to verify it with cannot be fetched.
        """
        if len(token) > TOKEN_CHARACTERS or not token.isascii():
            raise Unauthenticated("the token is no JWT")
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and self._now() < known[1]:
            self._verified.move_to_end(digest)
            return known[0]
        caller = await self._verify(token)
        self._remember(digest, caller)
        return caller

    async def close(self) -> None:
        """Give up a fetch of keys that is under way."""
        if self._jwks is not None:
            await self._jwks.close()

    def _remember(self, digest: bytes, caller: Caller) -> None:
        until = min(caller.expires_at + self._leeway_s, self._now() + VERIFIED_S)
        self._verified[digest] = (caller, until)
        self._verified.move_to_end(digest)
        if len(self._verified) > VERIFIED_TOKENS:
            self._verified.popitem(last=False)

    async def _verify(self, token: str) -> Caller:
        try:
            header = jwt.get_unverified_header(token)
            algorithm = str(header.get("alg"))
            key = await self._key_for(algorithm, header.get("kid"))
            return self._caller(self._decode(token, algorithm, key))
        except (jwt.PyJWTError, msgspec.ValidationError, RecursionError) as error:
            raise Unauthenticated(f"the token is not accepted: {error}") from error

    async def _key_for(self, algorithm: str, key_id: str | None) -> str | PublicKey:
        if algorithm == "HS256" and self._secret is not None:
            return self._secret
        if self._key is not None and self._key.algorithm == algorithm:
            return self._key.public
        if self._jwks is not None and algorithm in ("RS256", "ES256", "EdDSA"):
            found = await self._jwks.find(algorithm, key_id)
            if found is not None:
                return found.public
        raise Unauthenticated("the token is signed with a key or an algorithm not accepted here")

    def _decode(self, token: str, algorithm: str, key: str | PublicKey) -> dict[str, Any]:
        options: jwt.types.Options = {**_OPTIONS, "verify_aud": self._audience is not None}
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=self._issuer,
            audience=self._audience,
            options=options,
        )

    def _caller(self, payload: dict[str, Any]) -> Caller:
        claims = msgspec.convert(payload, _Claims)
        now = self._now()
        if claims.sub == SYSTEM:
            raise Unauthenticated("no token may carry this name", field="sub")
        if now < claims.nbf - self._leeway_s:
            raise Unauthenticated("the token is not valid yet", field="nbf")
        if now >= claims.exp + self._leeway_s:
            raise TokenExpired
        roles = ROLES.intersection(claims.roles)
        return Caller(claims.tenant, claims.sub, roles, claims.jti, claims.exp, claims.iat)


def mint(
    secret: str,
    user: str,
    roles: Iterable[str] = (),
    ttl_s: float = 3600.0,
    tenant: str = "default",
    *,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """A token signed with HS256, for a user of this cell.

    Raises:
        ValueError: the user or the tenant is no name, or a role is not known.
    """
    now = time.time()
    payload = {
        "sub": user,
        "tenant": tenant,
        "roles": sorted(set(roles)),
        "iat": int(now),
        "exp": int(now + ttl_s),
        "jti": uuid4().hex,
        "iss": issuer,
        "aud": audience,
    }
    claims = msgspec.convert(payload, _Claims)
    if claims.sub == SYSTEM or not ROLES.issuperset(claims.roles):
        raise ValueError(f"user must not be {SYSTEM!r}, roles must be of {sorted(ROLES)}")
    stated = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(stated, secret, "HS256")


def load_or_create_secret(data_dir: Path) -> str:
    """The secret of a data folder, made on first use and readable by its owner alone.

    Of several that start at once, one makes it and all read the same. It is never seen half
    written: it is linked into place once it is on disk.

    Raises:
        OSError: the folder cannot be written or the secret not be read.
        ValueError: the file holds no secret.
    """
    path = data_dir / SECRET_FILE
    if not path.exists():
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(path, secrets.token_urlsafe(SECRET_BYTES))
    secret = path.read_text().strip()
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"{path} holds no secret; remove it to have a new one made")
    return secret


def _create(path: Path, secret: str) -> None:
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        _write_through(draft, secret)
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another was first, and its secret holds
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _write_through(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
