"""Which engines are started: pinned, so that a run next year meets the engines of today."""

CASSANDRA = "5.0.5"
KAFKA = "4.1.0"
SCYLLA_IMAGE = "scylladb/scylla:2026.1.8"
KAFKA_IMAGE = f"apache/kafka:{KAFKA}"

JAVA = 17
"""Cassandra 5.0 runs on 11 and 17, Kafka 4 on 17 and newer."""
DEPENDENCY_PLUGIN = "3.8.1"
SLF4J_SIMPLE = "1.7.36"
"""Kafka comes without a logger behind its logging interface; of that interface's version."""
