"""Dead letters: records kept byte for byte, with why they are there."""

import time

from tradewire.adapters.kafka.options import Options
from tradewire.adapters.kafka.producer import Outgoing, Producer
from tradewire.adapters.kafka.topics import DEAD_LETTERS
from tradewire.domain.ids import timestamp
from tradewire.ports import Record

PREFIX = "dlq_"
ERROR_CHARACTERS = 1_000


class KafkaDeadLetters:
    """See ports.DeadLetters."""

    def __init__(self, options: Options) -> None:
        self._topic = options.topic(DEAD_LETTERS.name)
        self._producer = Producer(options)

    async def put(self, record: Record, error: str, attempts: int) -> None:
        topic, partition = record.partition
        reasons = {
            "topic": topic,
            "partition": str(partition),
            "offset": str(record.offset),
            "error": error[:ERROR_CHARACTERS],
            "attempts": str(attempts),
            "time": timestamp(time.time_ns() // 1_000_000),
        }
        told = [(PREFIX + name, text.encode()) for name, text in reasons.items()]
        headers = [*record.headers, *told]
        await self._producer.send([Outgoing(self._topic, record.key, record.value, headers)])

    async def close(self) -> None:
        """Disconnect."""
        await self._producer.close()
