"""Keys that verify tokens, each good for one algorithm only.

The algorithm follows from the kind of key, never from the token: a token that names another one
finds no key (RFC 8725 §3.1).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import jwt
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tradewire.domain.errors import Unavailable

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

RSA_BITS = 2048
"""The least size of an RSA key (RFC 7518 §3.3)."""

FETCH_DEADLINE_S = 5.0
FETCH_BYTES = 256 * 1024
RETRY_S = 5.0
"""The least time between two looks at the address, however many unknown keys are asked for."""
FRESH_S = 300.0
"""How long fetched keys are used before the address is looked at again."""
KEEP_S = 24 * 3600.0
"""How long fetched keys are used while the address does not answer."""

_log = structlog.get_logger(__name__)


class Key(msgspec.Struct, frozen=True):
    """A public key, its one algorithm, and its id in a key set."""

    algorithm: str
    public: PublicKey
    key_id: str | None = None


def public_key(pem: str) -> Key:
    """The key in a PEM text.

    Raises:
        ValueError: it is no public key, or of a kind or size that is not taken.
    """
    try:
        loaded = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("holds no public key in PEM form") from error
    return _key(loaded)


def key_set(body: bytes) -> list[Key]:
    """The usable keys of a JSON Web Key Set (RFC 7517); what cannot be used is left out.

    Symmetric keys never are: whoever reads a key set could sign with them.

    Raises:
        ValueError: it is no key set.
    """
    keys = msgspec.json.decode(body, type=_KeySet).keys
    return [key for jwk in keys if (key := _usable(jwk)) is not None]


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _usable(jwk: dict[str, Any]) -> Key | None:
    key_id = jwk.get("kid")
    if jwk.get("use", "sig") != "sig" or not isinstance(key_id, str | None):
        return None
    try:
        key = _key(jwt.PyJWK(jwk).key, key_id)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if jwk.get("alg", key.algorithm) == key.algorithm else None


def _key(loaded: object, key_id: str | None = None) -> Key:
    match loaded:
        case RSAPublicKey() if loaded.key_size >= RSA_BITS:
            return Key("RS256", loaded, key_id)
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return Key("ES256", loaded, key_id)
        case Ed25519PublicKey():
            return Key("EdDSA", loaded, key_id)
    raise ValueError(f"is neither RSA of at least {RSA_BITS} bits, nor P-256, nor Ed25519")


class Jwks:
    """The keys behind an address, fetched when first needed and kept.

    They are fetched again when they are no longer fresh (behind the back of who asks) and when an
    unknown key is asked for (who asks waits). While the address is silent, the old ones serve.
    """

    def __init__(self, url: str, now: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._now = now
        self._keys: list[Key] = []
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, algorithm: str, key_id: str | None) -> Key | None:
        """The key with this id, or without an id the only one of its algorithm.

        Raises:
            Unavailable: there are no keys, and the address does not answer.
        """
        age = self._now() - self._fetched
        if age > KEEP_S:
            await self._refreshed()
        elif age > FRESH_S:
            self._refresh()
        if self._now() - self._fetched > KEEP_S:
            raise Unavailable("the keys that verify tokens cannot be fetched")
        found = self._pick(algorithm, key_id)
        if found is None:
            await self._refreshed()
            found = self._pick(algorithm, key_id)
        return found

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _pick(self, algorithm: str, key_id: str | None) -> Key | None:
        fitting = [
            key for key in self._keys if key.algorithm == algorithm and key_id in (None, key.key_id)
        ]
        return fitting[0] if len(fitting) == 1 else None

    async def _refreshed(self) -> None:
        fetching = self._refresh()
        if fetching is not None:
            await asyncio.shield(fetching)

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one unless the last try is too recent."""
        if self._fetching is None and self._now() - self._tried >= RETRY_S:
            self._tried = self._now()
            self._fetching = asyncio.create_task(self._fetch(), name="fetch keys")
            self._fetching.add_done_callback(self._over)
        return self._fetching

    def _over(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        try:
            self._keys = key_set(await _download(self._url))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            _log.warning("keys not fetched", url=self._url, error=repr(error))
            return
        self._fetched = self._now()


async def _download(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=FETCH_DEADLINE_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > FETCH_BYTES:
                raise ValueError(f"more than {FETCH_BYTES} bytes")
        return bytes(body)
