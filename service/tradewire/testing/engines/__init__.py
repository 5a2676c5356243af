"""Real engines for tests and development, from wherever they can be had.

From the environment (`TRADEWIRE_SCYLLA`, `TRADEWIRE_KAFKA`), else as containers, else as plain
Java processes, else not at all, and then loudly.
"""

from tradewire.testing.engines.errors import EngineError, EngineMissing
from tradewire.testing.engines.handles import KINDS, Cassandra, Kafka, Kind, Tell
from tradewire.testing.engines.launching import cassandra, kafka

__all__ = [
    "KINDS",
    "Cassandra",
    "EngineError",
    "EngineMissing",
    "Kafka",
    "Kind",
    "Tell",
    "cassandra",
    "kafka",
]
