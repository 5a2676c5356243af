"""Tokens as an issuer would sign them, and as nobody should."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tradewire.domain.errors import Unauthenticated
from tradewire.edge.auth import Authenticator

SECRET = "a secret that is long enough for HS256"
NOW = 1_800_000_000.0

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def pem(key: Any) -> str:
    public: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode()


def claims(**changes: object) -> dict[str, Any]:
    made = {"sub": "alice", "exp": NOW + 60, **changes}
    return {name: value for name, value in made.items() if value is not None}


def signed(
    algorithm: str = "HS256", key: Any = SECRET, key_id: str | None = None, **changes: object
) -> str:
    headers = {"kid": key_id} if key_id else None
    return jwt.encode(claims(**changes), key, algorithm, headers=headers)


def compact(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def forge_hs256(key: bytes, payload: object) -> str:
    """A token signed with any bytes: the library itself refuses to sign with a public key."""
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    unsigned = compact({"alg": "HS256"}, payload).rsplit(".", 1)[0]
    signature = urlsafe_b64encode(signer.sign(unsigned.encode(), key)).rstrip(b"=").decode()
    return f"{unsigned}.{signature}"


async def refused(authenticator: Authenticator, token: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await authenticator.authenticate(token)
    return caught.value
