"""Who may connect, and how much they may send: limits per user and per node."""

import time
from collections import OrderedDict

from tradewire.domain.caller import Caller
from tradewire.domain.errors import Draining, RateLimited
from tradewire.edge.hub import LocalHub
from tradewire.protocol.rate import TokenBucket
from tradewire.protocol.session import BURST_S, Limits

USERS_REMEMBERED = 100_000
RETRY_AFTER_MS = 5_000


class Admission:
    """Decides on new connections and keeps the message rate of each user, over all devices."""

    def __init__(self, hub: LocalHub, limits: Limits, *, per_device: int, per_user: int) -> None:
        self.limits = limits
        self.draining = False
        self._hub = hub
        self._per_device = per_device
        self._per_user = per_user
        self._messages: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()

    def check_connection(self, caller: Caller, device_id: str) -> None:
        """Raise unless the user may open a connection from this device now.

        Raises:
            Draining: the node is stopping.
            RateLimited: too many connections of this user; one that would replace another counts
                as that one.
        """
        if self.draining:
            raise Draining(retry_after_ms=1_000)
        open_now = self._hub.of_user((caller.tenant, caller.user_id))
        same = sum(connection.device_id == device_id for connection in open_now)
        replaced = max(same + 1 - self._per_device, 0)
        self._check_count(len(open_now) + 1 - replaced)

    def check_joined(self, caller: Caller) -> None:
        """Raise RateLimited if, with others that came at once, the user has too many now."""
        self._check_count(len(self._hub.of_user((caller.tenant, caller.user_id))))

    def _check_count(self, connections: int) -> None:
        if connections > self._per_user:
            message = f"A user has at most {self._per_user} connections."
            raise RateLimited(message, retry_after_ms=RETRY_AFTER_MS)

    def messages_of(self, caller: Caller) -> TokenBucket:
        """The bucket that all messages of a user draw from."""
        key = (caller.tenant, caller.user_id)
        bucket = self._messages.get(key)
        if bucket is None:
            rate = self.limits.messages_per_second
            bucket = self._messages[key] = TokenBucket(rate, rate * BURST_S)
            if len(self._messages) > USERS_REMEMBERED:
                self._messages.popitem(last=False)
        self._messages.move_to_end(key)
        return bucket

    def check_message(self, caller: Caller) -> None:
        """Raise RateLimited unless the user may send a message now."""
        wait = self.messages_of(caller).take(time.monotonic())
        if wait:
            raise RateLimited(retry_after_ms=int(wait * 1000) + 1)
