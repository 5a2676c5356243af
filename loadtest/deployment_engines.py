"""Nodes that are started here on a Cassandra or ScyllaDB, and on a Kafka."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from loadtest.deployment import SETTLE_SECONDS, Deployment, Events, Own, Tell, made
from loadtest.engines import broker_parts, keyspace, nodes_on, topics
from loadtest.servers import Tradewire, running, tradewire_on_scylla
from tradewire.testing.engines import cassandra, kafka


@dataclass(frozen=True)
class Bus:
    """A Kafka for nodes: its name, its process, the settings of the nodes; or none."""

    name: str = ""
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    events: Events | None = None


@asynccontextmanager
async def on_engines(
    kind: Own, nodes: int, settings: Mapping[str, str], tell: Tell, *, on_kafka: bool
) -> AsyncIterator[Deployment]:
    """See `loadtest.deployment.own`; the engines come from the environment or are started."""
    async with AsyncExitStack() as stack:
        bus = Bus()
        if on_kafka or kind == "cluster":
            bus = await stack.enter_async_context(bus_on_kafka(tell))
        given = {**bus.settings, **settings}
        store = on_sqlite(bus, given) if kind == "sqlite" else on_scylla(bus, nodes, given, tell)
        yield await stack.enter_async_context(store)


@asynccontextmanager
async def bus_on_kafka(tell: Tell) -> AsyncIterator[Bus]:
    """A Kafka, with topics that are deleted at the end."""
    prefix = f"loadtest_{secrets.token_hex(6)}."
    with kafka(tell=tell) as broker:
        async with topics(broker, prefix) as settings:
            events = Events(broker.brokers, prefix)
            yield Bus(broker.name, broker_parts(broker), settings, events)


@asynccontextmanager
async def on_sqlite(bus: Bus, settings: Mapping[str, str]) -> AsyncIterator[Deployment]:
    """One node on the embedded store, and on the bus."""
    async with running(Tradewire(settings)) as server:
        yield made(
            f"one node on sqlite and {bus.name}",
            [server],
            parts=bus.parts,
            versions={"broker": bus.name},
            events=bus.events,
        )


@asynccontextmanager
async def on_scylla(
    bus: Bus, nodes: int, settings: Mapping[str, str], tell: Tell
) -> AsyncIterator[Deployment]:
    """Nodes on a keyspace of their own, and on the bus if there is one."""
    with cassandra(tell=tell) as engine:
        async with keyspace(engine) as place:
            target = tradewire_on_scylla(engine.hosts, place.keyspace, **settings)
            async with nodes_on(target, nodes) as servers:
                names = [engine.name, bus.name] if bus.events else [engine.name]
                yield made(
                    f"{nodes} node{'s' * (nodes > 1)} on {' and '.join(names)}",
                    servers,
                    parts={**place.parts, **bus.parts},
                    versions=dict(zip(("engine", "broker"), names, strict=False)),
                    settle=SETTLE_SECONDS if bus.events else 0.0,
                    events=bus.events,
                )
