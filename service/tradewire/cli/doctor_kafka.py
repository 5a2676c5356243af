"""The checks of `tradewire doctor` on Kafka."""

import asyncio

from tradewire.cli.findings import Finding
from tradewire.cli.settings import MISSING_CLIENT, has_client
from tradewire.config import Settings, kafka_options
from tradewire.domain.errors import Unavailable

COPIES_WANTED = 3


def kafka_findings(settings: Settings) -> list[Finding]:
    """What is to be said of Kafka; blocks for some seconds at most."""
    if not has_client():
        return [Finding("fail", "kafka", MISSING_CLIENT)]
    from tradewire.adapters.kafka.topics import survey  # noqa: PLC0415  # needs the client

    options = kafka_options(settings)
    try:
        found = asyncio.run(survey(options))
    except Unavailable as error:
        advice = "a server starts without it, and events wait"
        return [Finding("warn", "kafka", str(error), advice)]
    missing = [options.topic(topic.name) for topic in found.missing]
    return [
        Finding("ok", "kafka", f"{found.brokers} brokers"),
        _topics(missing, settings.kafka_replication_factor, found.brokers),
    ]


def _topics(missing: list[str], copies: int, brokers: int) -> Finding:
    if not missing:
        return Finding("ok", "topics", "all there")
    told = f"to be made at the first start, {copies} copies each: {', '.join(missing)}"
    if copies > brokers:
        advice = f"set KAFKA_REPLICATION_FACTOR to {brokers} at most, or add brokers"
        return Finding("fail", "topics", told, advice)
    if copies < COPIES_WANTED:
        advice = f"a broker that is lost is missed; {COPIES_WANTED} is for production"
        return Finding("warn", "topics", told, advice)
    return Finding("ok", "topics", told)
