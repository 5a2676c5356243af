"""Who is calling."""

from msgspec import Struct

ROLES = frozenset({"admin", "moderator", "service"})
"""The roles a token may carry (protocol §2)."""


class Caller(Struct, frozen=True):
    """A user whose token was verified; `expires_at` in seconds since 1970."""

    tenant: str
    user_id: str
    roles: frozenset[str]
    token_id: str | None
    expires_at: float
