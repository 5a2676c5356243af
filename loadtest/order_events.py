"""Orders, as the shop publishes them on Kafka, followed to their buyers' sockets."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from loadtest.flow import Flow, Order
from loadtest.plan import Buyer, Kind, Orders
from loadtest.session import MOST_IN_FLIGHT, Shared

PRICE = {"amount": "19.90", "currency": "EUR"}


class Publisher:
    """Publishes an ``OrderCreated`` for each scheduled time, the buyers taking turns.

    Every order must reach its buyer once, as a message; nothing is promised about their order.
    """

    def __init__(self, shared: Shared, orders: Orders) -> None:
        self._tally = shared.tally
        self._orders = orders
        self._numbers = itertools.count(1)
        self._turns = itertools.cycle(enumerate(orders.buyers))
        self.flows = [order_flow(buyer, shared.tally.faults) for buyer in orders.buyers]
        for number, flow in enumerate(self.flows):
            shared.flows[f"order:{self._name(number)}"] = flow
        self._sending: set[asyncio.Task[None]] = set()
        self._producer = AIOKafkaProducer(bootstrap_servers=orders.brokers, acks="all")

    async def open(self) -> None:
        """Connect; raises `KafkaError`."""
        await self._producer.start()

    def perform(self, kind: Kind, dues: Sequence[float]) -> None:
        """See `loadtest.session.Actor`."""
        del kind
        self._tally.due(len(dues))
        if self._tally.in_flight >= MOST_IN_FLIGHT:
            self._tally.error("not sent: too many in flight", len(dues))
            return
        for due in dues:
            number, buyer = next(self._turns)
            n = next(self._numbers)
            self.flows[number].sent(n, due)
            self._tally.in_flight += 1
            task = asyncio.create_task(self._publish(number, buyer, n, due))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Flush and disconnect."""
        await self._producer.stop()

    def _name(self, number: int) -> str:
        return f"{self._orders.name}-{number}"

    async def _publish(self, number: int, buyer: Buyer, n: int, due: float) -> None:
        order_id = f"{self._name(number)}:{n}"
        try:
            await self._producer.send_and_wait(
                self._orders.topic, order_created(order_id, buyer), key=order_id.encode(),
                headers=[("content-type", b"application/cloudevents+json")],
            )  # fmt: skip
        except KafkaError as error:
            self.flows[number].refused(n)
            self._tally.failed(f"kafka: {type(error).__name__}")
            return
        self.flows[number].acknowledged(n, "", duplicate=False)
        self._tally.took("publish", due, perf_counter())


def order_flow(buyer: Buyer, faults: Counter[str]) -> Flow:
    """The way of orders to a buyer."""
    receivers = {buyer.connection: Order()}
    return Flow(buyer.conversation_id, faults, receivers, kind="order", text="", ordered=False)


def order_created(order_id: str, buyer: Buyer) -> bytes:
    """The event, in structured form. Without items it is about the two users alone."""
    order = {
        "order_id": order_id,
        "buyer_id": buyer.buyer_id,
        "seller_id": buyer.seller_id,
        "items": [],
        "total": PRICE,
        "status": "placed",
        "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    event = {
        "specversion": "1.0",
        "id": order_id,
        "source": "/loadtest",
        "type": "OrderCreated",
        "data": order,
    }
    return json.dumps(event).encode()
