"""Kafka: domain events out, events of other services in, dead letters."""
