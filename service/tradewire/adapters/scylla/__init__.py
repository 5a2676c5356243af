"""The ports on ScyllaDB or Apache Cassandra, in one keyspace."""
