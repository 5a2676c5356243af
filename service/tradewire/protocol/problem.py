"""Errors as problem details (RFC 9457, protocol §6)."""

from http import HTTPStatus

from msgspec import Struct

from tradewire.domain.errors import ErrorBody

MEDIA_TYPE = "application/problem+json"
INTERNAL = ErrorBody(
    "internal", HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on the server."
)
"""What is told where the server itself failed: nothing of the failure."""


class Problem(Struct, omit_defaults=True, kw_only=True):
    """Problem details; `code` tells programs what `detail` tells people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    retry_after_ms: int | None = None

    @classmethod
    def of(cls, error: ErrorBody) -> "Problem":
        """The same error in this form."""
        return cls(
            type=f"urn:tradewire:problem:{error.code}",
            title=HTTPStatus(error.status).phrase,
            status=error.status,
            detail=error.message,
            code=error.code,
            field=error.field,
            retry_after_ms=error.retry_after_ms,
        )
