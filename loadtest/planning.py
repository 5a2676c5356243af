"""Deals a load and the rooms of a scenario out to generators."""

import os
import secrets
from collections.abc import Sequence

import msgspec

from loadtest.deployment import Deployment
from loadtest.plan import OpenLoop, Orders, Plan, Storm
from loadtest.rooms import Room, merged
from loadtest.scenario import AnyScenario, Load, ReconnectStorm, ScenarioError

CORES_FOR_A_GENERATOR = 2
"""One for it, one for what it loads."""
ORDERS_TOPIC = "commerce.orders.v1"


def plans_of(
    scenario: AnyScenario,
    rooms: Sequence[Room],
    load: Load,
    deployment: Deployment,
    *,
    at_most: int | None = None,
) -> list[Plan]:
    """A plan for each generator; as many as the scenario says, or as the cores allow.

    Raises `ScenarioError` when the rooms are too few for that.
    """
    count = at_most or scenario.processes or min(by_cores(), len(rooms))
    if count > max(len(rooms), 1):
        parts = "one part" if len(rooms) == 1 else f"{len(rooms)} parts"
        raise ScenarioError(f"`processes`: {scenario.name} has {parts}, too few for {count}")
    return [
        plan_of(scenario, merged(rooms[number::count]), part_of(load, count, number), deployment)
        for number in range(count)
    ]


def by_cores() -> int:
    """How many generators the cores of this machine allow."""
    return max(1, (os.cpu_count() or 1) // CORES_FOR_A_GENERATOR)


def part_of(load: Load, count: int, number: int) -> Load:
    """What one of several generators does of a load."""
    if not isinstance(load, OpenLoop):
        return load
    return msgspec.structs.replace(load, rate=load.rate / count, seed=load.seed * count + number)


def plan_of(scenario: AnyScenario, room: Room, load: Load, deployment: Deployment) -> Plan:
    """The plan of one generator."""
    return Plan(
        scenario.protocol,
        room.connections,
        room.conversations,
        load,
        scenario.warm_up,
        deployment.settle,
        storm=storm_of(scenario, room),
        orders=orders_of(room, load, deployment),
        **scenario.reading(),
    )


def storm_of(scenario: AnyScenario, room: Room) -> Storm | None:
    """Who is cut when, if anybody is."""
    if not isinstance(scenario, ReconnectStorm):
        return None
    return Storm(scenario.cut_at * scenario.seconds, room.cut)


def orders_of(room: Room, load: Load, deployment: Deployment) -> Orders | None:
    """Who orders what where, if anybody does."""
    if not isinstance(load, OpenLoop) or "order" not in load.shares:
        return None
    if deployment.events is None:
        raise ScenarioError("the servers must be on Kafka, at KAFKA_BROKERS")
    topic = deployment.events.prefix + ORDERS_TOPIC
    return Orders(deployment.events.brokers, topic, f"lt-{secrets.token_hex(4)}", room.buyers)
