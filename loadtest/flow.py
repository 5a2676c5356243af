"""The check of correctness: what one connection sent against what each receiver got."""

from collections import Counter
from collections.abc import Collection, Mapping

import msgspec

from loadtest.messages import MESSAGE_TEXT
from tradewire.domain.ids import node_of


class Order:
    """The order in which a receiver gets the messages of a conversation: rising ids, of each node
    that they were sent through.
    """

    __slots__ = ("_greatest",)

    def __init__(self) -> None:
        self._greatest: dict[int, int] = {}

    def came(self, message_id: int) -> bool:
        """A message came; whether it is younger than all before it of its node."""
        node = node_of(message_id)
        younger = message_id > self._greatest.get(node, 0)
        if younger:
            self._greatest[node] = message_id
        return younger


class View:
    """What one receiver has seen of a flow: all numbers up to ``last``, but not those skipped."""

    __slots__ = ("last", "order", "skipped")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.last = 0
        self.skipped: set[int] = set()

    def misses(self, n: int) -> bool:
        """Whether it has not got this one yet."""
        return n > self.last or n in self.skipped


class UnderWay(msgspec.Struct, gc=False):
    """A message until its reply and all its deliveries have come: so many are ``awaited``."""

    due: float
    awaited: int
    message_id: str = ""
    acknowledged: bool = False


class Flow:
    """The messages of one connection to others, their numbers rising, each followed to its end.

    Every message must be acknowledged once and delivered once to each receiver, under the same
    message id. As each receiver sees them the numbers must rise, and so must the message ids of a
    conversation, of all that were sent through one node. What breaks this is counted in
    ``faults``, by name.

    Attributes:
        kind: the name of the latency from the due time to a delivery.
        text: what each message must say.
        ordered: False where nothing is promised about the order.
    """

    def __init__(
        self,
        conversation_id: str,
        faults: Counter[str],
        receivers: Mapping[int, Order],
        *,
        kind: str = "delivered",
        text: str = MESSAGE_TEXT,
        ordered: bool = True,
    ) -> None:
        self.conversation_id = conversation_id
        self.kind = kind
        self.text = text
        self._ordered = ordered
        self._faults = faults
        self._views = {number: View(order) for number, order in receivers.items()}
        self._parts = len(self._views) + 1
        self._under_way: dict[int, UnderWay] = {}

    @property
    def settled(self) -> bool:
        """Nothing is under way."""
        return not self._under_way

    def sent(self, n: int, due: float) -> None:
        """Message ``n``, scheduled for the time ``due``, was written."""
        self._under_way[n] = UnderWay(due, self._parts)

    def acknowledged(self, n: int, message_id: str, duplicate: bool) -> float | None:
        """The sender got the reply to ``n``; returns when it was due, None for a second reply.

        The message id is "" where the reply names none.
        """
        message = self._under_way.get(n)
        if message is None or message.acknowledged:
            self._faults["acknowledged twice"] += 1
            return None
        if duplicate:
            self._faults["called a duplicate"] += 1
        message.acknowledged = True
        self._came(n, message, message_id)
        return message.due

    def refused(self, n: int) -> float | None:
        """The sender got an error for ``n``, which must not be delivered; when it was due."""
        for view in self._views.values():
            view.skipped.discard(n)
        message = self._under_way.pop(n, None)
        return None if message is None else message.due

    def delivered(
        self, receiver: int, n: int, message_id: str, *, resuming: bool = False
    ) -> float | None:
        """A receiver got a message; returns when it was due, None for one not expected.

        While it is ``resuming`` it may get once more what it has, and in any order.
        """
        view = self._views.get(receiver)
        if view is None:
            self._faults["not for this connection"] += 1
            return None
        message = self._under_way.get(n)
        last = view.last
        if message is None or (n <= last and not view.misses(n)):
            if not (resuming and n <= last):
                self._faults["delivered twice or never sent"] += 1
            return None
        in_order = view.order.came(int(message_id))
        if n == last + 1:
            view.last = n
        else:
            in_order = self._note(view, n) and in_order
        if not in_order and self._ordered and not resuming:
            self._faults["out of order"] += 1
        self._came(n, message, message_id)
        return message.due

    def finish(self, gone: Collection[int] = (), *, sender_gone: bool = False) -> None:
        """Count what never arrived; no more may come.

        Nothing is held against the server for those connections that are ``gone``.
        """
        replies = sum(not message.acknowledged for message in self._under_way.values())
        lost = sum(
            view.misses(n)
            for receiver, view in self._views.items()
            if receiver not in gone
            for n, message in self._under_way.items()
            if message.acknowledged or not sender_gone
        )
        self._count("never acknowledged", 0 if sender_gone else replies)
        self._count("never delivered", lost)

    def _note(self, view: View, n: int) -> bool:
        """Write down what a receiver got otherwise than the next; whether it may come then."""
        if n <= view.last:
            view.skipped.discard(n)
            return False
        missing = range(view.last + 1, n)
        view.skipped.update(m for m in missing if m in self._under_way)
        view.last = n
        return True

    def _came(self, n: int, message: UnderWay, message_id: str) -> None:
        """The reply and the events, whichever comes first, must name the same id."""
        if not message.message_id:
            message.message_id = message_id
        elif message_id and message_id != message.message_id:
            self._faults["acknowledged under another id"] += 1
        message.awaited -= 1
        if not message.awaited:
            del self._under_way[n]

    def _count(self, fault: str, times: int) -> None:
        if times:
            self._faults[fault] += times
