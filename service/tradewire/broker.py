"""Kafka as a node has it: its topics, publishing, consuming, and whether it is there."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tradewire.adapters.kafka.consumer import KafkaConsumer
from tradewire.adapters.kafka.dead_letters import KafkaDeadLetters
from tradewire.adapters.kafka.options import Options
from tradewire.adapters.kafka.publisher import KafkaPublisher
from tradewire.adapters.kafka.topics import CONSUMED, make_topics
from tradewire.domain.errors import TradewireError
from tradewire.edge.consuming import Consuming
from tradewire.ports import BrokerError
from tradewire.protocol import cloudevents
from tradewire.telemetry.tasks import Tasks
from tradewire.usecases.publishing import Publishing
from tradewire.usecases.service import Service

LOOK_S = 5.0
START_S = 3.0
SAMPLE_S = 5.0

_log = structlog.get_logger(__name__)


class Broker:
    """Publishes what happens, and consumes what other services tell.

    Attributes:
        reason: what is wrong with Kafka, None while it is there.
    """

    def __init__(self, options: Options, cell: str, service: Service) -> None:
        self.reason: str | None = "Kafka was not asked yet."
        self._options = options
        self._ready = asyncio.Event()
        self._publisher = KafkaPublisher(options, cloudevents.source(cell))
        self._dead_letters = KafkaDeadLetters(options)
        self._publishing = Publishing(service.context, self._publisher, options.linger_ms / 1000)
        self._consuming = Consuming(
            KafkaConsumer(options, f"tradewire-{cell}", CONSUMED),
            self._dead_letters,
            service.handle_events,
            service.context.metrics,
        )

    async def start(self, duties: Tasks) -> None:
        """Take up the duties; while Kafka is away they wait for it.

        Raises:
            BrokerError: a topic is missing that cannot be made.
        """
        try:
            async with asyncio.timeout(START_S):
                await self._look()
        except TimeoutError:
            _log.warning("Kafka does not answer; serving without it")
        duties.start("kafka", self._watch(), forever=True)
        for name, duty in (
            ("publishing", self._publishing.run),
            ("consuming", self._consuming.run),
            ("outbox", self._sample),
        ):
            duties.start(name, self._when_ready(duty), forever=True)

    def wake(self) -> None:
        """Something was committed."""
        self._publishing.wake()

    async def close(self) -> None:
        """Disconnect, when the duties have ended."""
        await self._publisher.close()
        await self._dead_letters.close()

    async def _look(self) -> None:
        """See whether Kafka is there, and has the topics."""
        before = self.reason
        try:
            await make_topics(self._options)
        except TradewireError as error:
            self.reason = str(error)
        else:
            self.reason = None
            self._ready.set()
        if (before is None) != (self.reason is None):
            if self.reason is None:
                _log.info("Kafka is there")
            else:
                _log.warning("Kafka is away", reason=self.reason)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except BrokerError as error:
                self.reason = str(error)
                _log.warning("Kafka cannot be used", reason=self.reason)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            try:
                await self._publishing.sample()
            except TradewireError as error:
                _log.debug("what waits to be published was not counted", reason=str(error))

    async def _when_ready(self, duty: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self._ready.wait()
        await duty()
