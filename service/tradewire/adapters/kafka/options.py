"""How to reach Kafka; its client need not be there to say so."""

from typing import Literal

from msgspec import Struct

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


BATCH_BYTES = 256 << 10
"""Of one partition; the client's default of 16 KiB waits for an answer every few dozen records."""


class Options(Struct, frozen=True, kw_only=True):
    """How to reach Kafka, how the topics are that are made, how domain events are published.

    Attributes:
        brokers: (host, port) of some brokers.
        topic_prefix: what the names of all topics begin with.
        replication_factor: of topics that are made.
        partitions: of topics that are made.
        linger_ms: how long domain events gather before they are published.
        batch_bytes: events of one partition in one request at most.
        sasl_mechanism: None where nobody logs in.
        ca_file: certificates to trust, for connections in TLS; "" for those of the system.
    """

    brokers: tuple[tuple[str, int], ...]
    topic_prefix: str = ""
    replication_factor: int = 3
    partitions: int = 12
    linger_ms: int = 50
    batch_bytes: int = BATCH_BYTES
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    username: str | None = None
    password: str | None = None
    ca_file: str = ""

    def topic(self, name: str) -> str:
        """A topic by its name without the prefix."""
        return self.topic_prefix + name
