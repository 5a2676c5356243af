"""The topics: what they are called, how they are made, and whether they are there."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from msgspec import Struct

from tradewire.adapters.kafka.connection import administration
from tradewire.adapters.kafka.options import Options
from tradewire.ports import BrokerError

DEADLINE_S = 10.0
LOOK_S = 0.05
MINUTE_MS = 60_000
DAY_MS = 86_400_000
QUORUM_COPIES = 3
"""From so many copies on, two must have what is acknowledged."""

_log = structlog.get_logger(__name__)


class Topic(Struct, frozen=True):
    """A topic by its name without the prefix; `partitions` None: as many as the settings say."""

    name: str
    retention_ms: int
    partitions: int | None = None


EVENTS = Topic("chat.events.v1", 7 * DAY_MS)
ORDERS = Topic("commerce.orders.v1", 7 * DAY_MS)
PRODUCTS = Topic("commerce.products.v1", 7 * DAY_MS)
USERS = Topic("commerce.users.v1", 7 * DAY_MS)
DEAD_LETTERS = Topic("chat.dead-letters.v1", 30 * DAY_MS)
DELIVERY = Topic("chat.delivery.v1", 10 * MINUTE_MS, partitions=64)

CONSUMED = (ORDERS, PRODUCTS, USERS)
TOPICS = (EVENTS, *CONSUMED, DEAD_LETTERS, DELIVERY)


class Survey(Struct, frozen=True):
    """What the cluster has: how many brokers, and which topics of ours are missing."""

    brokers: int
    missing: Sequence[Topic]


async def survey(options: Options) -> Survey:
    """Look at the cluster.

    Raises:
        Unavailable: it does not answer.
    """
    async with administration(options, DEADLINE_S) as client:
        cluster = await client.describe_cluster()
        return Survey(len(cluster["brokers"]), await _missing(client, options))


async def make_topics(options: Options) -> None:
    """Make the topics that are missing.

    Raises:
        BrokerError: some are missing and cannot be made; it names them, and what to run.
        Unavailable: the cluster does not answer.
    """
    async with administration(options, DEADLINE_S) as client:
        missing = await _missing(client, options)
        if not missing:
            return
        answer = await client.create_topics([_new(topic, options) for topic in missing])
        reasons = dict(_failures(answer.topic_errors))
        if reasons:
            failed = [topic for topic in missing if options.topic(topic.name) in reasons]
            raise BrokerError(_advice(failed, set(reasons.values()), options))
        made = [options.topic(topic.name) for topic in missing]
        while not await _led(client, made):  # noqa: ASYNC110  # there is nothing to be woken by
            await asyncio.sleep(LOOK_S)
    _log.info("topics made", topics=made)


async def _led(client: AIOKafkaAdminClient, topics: list[str]) -> bool:
    """Whether every partition of these topics has a leader that is known."""
    known = await client.describe_topics(topics)
    return all(
        topic["error_code"] == 0
        and all(partition["error_code"] == 0 for partition in topic["partitions"])
        for topic in known
    )


def _failures(errors: Iterable[tuple[str, int, str]]) -> Iterator[tuple[str, str]]:
    """The topics that were not made, and why."""
    for name, code, reason in errors:
        # Another node may have made it just now.
        if code not in {0, TopicAlreadyExistsError.errno}:
            yield name, reason or for_code(code).description


def _advice(topics: Iterable[Topic], reasons: Iterable[str], options: Options) -> str:
    why = (
        f"Kafka lacks topics and does not make them ({'; '.join(sorted(reasons))}). Let this user"
        " create topics, or set KAFKA_REPLICATION_FACTOR to what the brokers can hold, or run:"
    )
    return "\n".join([why, *(_command(topic, options) for topic in topics)])


def _command(topic: Topic, options: Options) -> str:
    """What an operator runs to make a topic."""
    configuration = "".join(
        f" --config {name}={value}" for name, value in _configuration(topic, options).items()
    )
    host, port = options.brokers[0]
    return (
        f"kafka-topics.sh --bootstrap-server {host}:{port} --create"
        f" --topic {options.topic(topic.name)}"
        f" --partitions {topic.partitions or options.partitions}"
        f" --replication-factor {options.replication_factor}{configuration}"
    )


async def _missing(client: AIOKafkaAdminClient, options: Options) -> list[Topic]:
    # All are listed: to ask for one by its name may make it, with the settings of the broker.
    known = await client.list_topics()
    return [topic for topic in TOPICS if options.topic(topic.name) not in known]


def _new(topic: Topic, options: Options) -> NewTopic:
    return NewTopic(
        options.topic(topic.name),
        topic.partitions or options.partitions,
        options.replication_factor,
        topic_configs=_configuration(topic, options),
    )


def _configuration(topic: Topic, options: Options) -> dict[str, str]:
    quorum = {"min.insync.replicas": "2"} if options.replication_factor >= QUORUM_COPIES else {}
    return {"cleanup.policy": "delete", "retention.ms": str(topic.retention_ms), **quorum}
