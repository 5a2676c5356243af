"""Who is calling."""

from msgspec import Struct

ROLES = frozenset({"admin", "moderator", "service"})
"""The roles a token may carry (protocol §2)."""


class Caller(Struct, frozen=True):
    """A user whose token was verified.

    Attributes:
        expires_at: seconds since 1970.
        issued_at: seconds since 1970; 0 for a token that does not say.
    """

    tenant: str
    user_id: str
    roles: frozenset[str]
    token_id: str | None
    expires_at: float
    issued_at: float = 0.0
