"""What the client raises."""

from collections.abc import Mapping
from typing import Any, Self


class ClientError(Exception):
    """The base of everything that the client raises on its own account.

    `key` is that of a send which its deadline ended: to send again with it is safe.
    """

    key: str | None = None


class CommandError(ClientError):
    """The server refused a command. Nothing of it was stored, save perhaps with `unavailable`.

    `code` and `status` are those of protocol §6; `field` names the faulty field; `retry_after_ms`
    says how long the server asks to be left alone.
    """

    def __init__(
        self,
        code: str,
        status: int,
        message: str = "",
        *,
        field: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.status = status
        self.message = message
        self.field = field
        self.retry_after_ms = retry_after_ms

    @classmethod
    def from_body(cls, body: Mapping[str, Any], *, status: int = 500) -> Self:
        """Read an error object of a reply, or a problem+json body; `status` stands in for none."""
        return cls(
            str(body.get("code", "unknown")),
            int(body.get("status", status)),
            str(body.get("message") or body.get("detail") or ""),
            field=body.get("field"),
            retry_after_ms=body.get("retry_after_ms"),
        )


class ConnectionLost(ClientError):
    """The connection ended, or no answer came in time: whether the command took effect is unknown.

    `close_code` is that of the WebSocket and `status` that of a refused handshake, where there was
    one.
    """

    def __init__(
        self, message: str, *, close_code: int | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.status = status


class AuthenticationFailed(ClientError):
    """The token was refused and no better one was to be had, or the user is blocked."""


class Closed(ClientError):
    """The client was closed by its owner."""
