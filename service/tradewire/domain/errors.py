"""Every error a client can meet, in one table (protocol §6), and the close codes of a socket (§3).

A class is a code: its docstring is the default message, `status` the HTTP status, `retry` whether
the same command may succeed later without being changed.
"""

from enum import IntEnum
from typing import ClassVar

import msgspec


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """An error as a client sees it, in a `Reply` and in a problem body alike."""

    code: str
    status: int
    message: str
    field: str | None = None
    retry_after_ms: int | None = None


class TradewireError(Exception):
    """Something went wrong."""

    code: ClassVar[str]
    status: ClassVar[int]
    retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message or (type(self).__doc__ or self.code).strip())
        self.field = field
        self.retry_after_ms = retry_after_ms

    def body(self) -> ErrorBody:
        """The error as it goes to the client; never holds a cause or a trace."""
        return ErrorBody(self.code, self.status, str(self), self.field, self.retry_after_ms)


class BadRequest(TradewireError):
    """The request cannot be understood."""

    code = "bad_request"
    status = 400


class InvalidField(TradewireError):
    """A field has the wrong type or is out of range."""

    code = "invalid_field"
    status = 400


class TextTooLong(TradewireError):
    """The text has more than 10,000 characters."""

    code = "text_too_long"
    status = 400


class UnsupportedMediaType(TradewireError):
    """The body is not of a media type that is accepted here."""

    code = "unsupported_media_type"
    status = 415


class Unauthenticated(TradewireError):
    """A valid token is required."""

    code = "unauthenticated"
    status = 401


class TokenExpired(TradewireError):
    """The token has expired."""

    code = "token_expired"
    status = 401


class Forbidden(TradewireError):
    """The caller's role does not allow this."""

    code = "forbidden"
    status = 403


class Blocked(TradewireError):
    """A block stops this."""

    code = "blocked"
    status = 403


class ConversationClosed(TradewireError):
    """The conversation is closed."""

    code = "conversation_closed"
    status = 403


class ReadOnly(TradewireError):
    """Members of a channel read; its owner, admins and moderators write."""

    code = "read_only"
    status = 403


class NotFound(TradewireError):
    """There is no such thing, or the caller may not see it."""

    code = "not_found"
    status = 404


class ListingNotFound(TradewireError):
    """The catalogue does not know this listing or product."""

    code = "listing_not_found"
    status = 404


class MethodNotAllowed(TradewireError):
    """This address does not take this method."""

    code = "bad_request"
    status = 405


class KeyReused(TradewireError):
    """This key was used for another message of the same sender in this conversation."""

    code = "key_reused"
    status = 409


class Conflict(TradewireError):
    """Another change came first."""

    code = "conflict"
    status = 409


class TooLarge(TradewireError):
    """The request is larger than the limit."""

    code = "too_large"
    status = 413


class RateLimited(TradewireError):
    """Too many requests; try again after `retry_after_ms`."""

    code = "rate_limited"
    status = 429
    retry = True


class Internal(TradewireError):
    """Something went wrong in the server; it was logged."""

    code = "internal"
    status = 500


class Unavailable(TradewireError):
    """The store cannot be reached; a retry with the same key is safe."""

    code = "unavailable"
    status = 503
    retry = True


class Overloaded(TradewireError):
    """The server has more work than it can take on; try again."""

    code = "overloaded"
    status = 503
    retry = True


class Draining(TradewireError):
    """The server is shutting down; reconnect."""

    code = "draining"
    status = 503
    retry = True


class Close(IntEnum):
    """Why a socket was closed by the server (protocol §3)."""

    GOING_AWAY = 1001
    FRAME_TOO_BIG = 1009
    RESTART = 1012
    NOT_THE_PROTOCOL = 4400
    UNAUTHENTICATED = 4401
    BLOCKED = 4403
    SILENT = 4408
    REPLACED = 4409
    FLOOD = 4429
    TOO_SLOW = 4503
