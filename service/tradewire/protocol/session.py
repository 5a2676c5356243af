"""The state of one connection, without its socket: what it may send, and when it must end."""

from msgspec import Struct

from tradewire.domain.caller import Caller
from tradewire.domain.commands import Command, SendMessage
from tradewire.domain.errors import BadRequest, Close, RateLimited
from tradewire.protocol.frames import Codec, Malformed
from tradewire.protocol.rate import TokenBucket

UNDECODABLE_IN_A_ROW = 3
BINARY = 0x2
"""The opcode of binary frames (RFC 6455 §5.2)."""

BURST_S = 5
FLOOD_BURSTS = 10
HEARTBEAT_S = 30
SILENCE_S = 75


class Limits(Struct, frozen=True):
    """How much a connection may ask for; 0: no limit."""

    messages_per_second: float
    commands_per_second: float


class Session:
    """Takes frames in order and says which commands to carry out.

    Attributes:
        close: the code with which the connection must be closed now, once there is one.
        heard_at: when something last came, in seconds of the caller's clock.
    """

    __slots__ = (
        "_commands", "_flood", "_key_prefix", "_keys", "_messages", "_undecodable", "caller",
        "close", "codec", "heard_at", "session_id",
    )  # fmt: skip

    def __init__(
        self,
        session_id: str,
        caller: Caller,
        codec: Codec,
        limits: Limits,
        messages: TokenBucket,
        now: float,
    ) -> None:
        self.session_id = session_id
        self.caller = caller
        self.codec = codec
        self.close: Close | None = None
        self.heard_at = now
        self._messages = messages
        rate = limits.commands_per_second
        self._commands = TokenBucket(rate, rate * BURST_S)
        slowest = min(filter(None, (rate, limits.messages_per_second)), default=0)
        self._flood = TokenBucket(slowest, slowest * BURST_S * FLOOD_BURSTS)
        self._undecodable = 0
        self._key_prefix = f"{session_id}:"
        self._keys = -1

    def receive(self, frame: bytes, *, binary: bool, now: float) -> list[Command | Malformed]:
        """The commands of a frame, each as it came or, refused, as the error to answer.

        Afterwards `close` may be set: answer what came, then close.
        """
        self.heard_at = now
        items = self._decode(frame, binary=binary)
        self._count(items)
        return [self._limit(item, now) for item in items]

    def is_fresh(self, key: str | None) -> bool:
        """Whether a key is known to be new: of this session, and higher than any before."""
        if key is None or not key.startswith(self._key_prefix):
            return False
        number = key[len(self._key_prefix) :]
        if not (number.isascii() and number.isdigit()) or len(number) > 18:
            return False
        if int(number) <= self._keys:
            return False
        self._keys = int(number)
        return True

    def _decode(self, frame: bytes, *, binary: bool) -> list[Command | Malformed]:
        if binary == (self.codec.opcode == BINARY):
            return self.codec.decode(frame)
        error = BadRequest(f"Frames of {self.codec.name} are of the other kind.")
        return [Malformed(None, error, undecodable=True)]

    def _count(self, items: list[Command | Malformed]) -> None:
        """Close after the third frame in a row of which nothing could be decoded."""
        for item in items:
            if not isinstance(item, Malformed) or not item.undecodable:
                self._undecodable = 0
                return
        self._undecodable = self._undecodable + 1 if items else 0
        if self._undecodable >= UNDECODABLE_IN_A_ROW:
            self.close = Close.NOT_THE_PROTOCOL

    def _limit(self, item: Command | Malformed, now: float) -> Command | Malformed:
        """The item, or its refusal when too many came; what is malformed counts like any other."""
        wait = self._commands.take(now)
        if not wait and isinstance(item, SendMessage):
            wait = self._messages.take(now)
        if not wait:
            return item
        if self._flood.take(now):
            self.close = Close.FLOOD
        return Malformed(item.id, RateLimited(retry_after_ms=int(wait * 1000) + 1))
