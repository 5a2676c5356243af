"""Why a connection ended, and what the client does about it (protocol §3, close codes)."""

from enum import Enum, auto

from tradewire.client.errors import AuthenticationFailed, ClientError, ConnectionLost


class Verdict(Enum):
    """What to do after a connection ended."""

    RECONNECT = auto()
    BACK_OFF = auto()
    """Reconnect, and wait longer each time: the server found this client too busy."""
    RENEW_TOKEN = auto()
    FORBIDDEN = auto()
    GIVE_UP = auto()


_BY_CLOSE_CODE = {
    1009: Verdict.GIVE_UP,
    4400: Verdict.GIVE_UP,
    4401: Verdict.RENEW_TOKEN,
    4403: Verdict.FORBIDDEN,
    4409: Verdict.GIVE_UP,
    4429: Verdict.BACK_OFF,
}
_BY_STATUS = {401: Verdict.RENEW_TOKEN, 403: Verdict.FORBIDDEN, 429: Verdict.BACK_OFF}


class Disconnected(Exception):
    """A connection ended, or a handshake did not succeed.

    `delay_s` is the exact time to wait where it is known; otherwise the client draws one and adds
    `retry_after_s`.
    """

    def __init__(
        self,
        reason: str,
        *,
        close_code: int | None = None,
        status: int | None = None,
        retry_after_s: float = 0.0,
        delay_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.status = status
        self.retry_after_s = retry_after_s
        self.delay_s = delay_s

    @property
    def verdict(self) -> Verdict:
        """What to do now. A refused handshake is final with any other 4xx."""
        if self.status is None:
            return _BY_CLOSE_CODE.get(self.close_code or 0, Verdict.RECONNECT)
        other = Verdict.GIVE_UP if 400 <= self.status < 500 else Verdict.RECONNECT
        return _BY_STATUS.get(self.status, other)

    def error(self) -> ClientError:
        """The same, for a caller who has to be told."""
        if self.verdict in {Verdict.RENEW_TOKEN, Verdict.FORBIDDEN}:
            return AuthenticationFailed(str(self))
        return ConnectionLost(str(self), close_code=self.close_code, status=self.status)
