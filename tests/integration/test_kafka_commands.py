"""The command `tradewire` with a Kafka that is there: dead letters, doctor, missing topics."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.devices import Device, connected
from tests.e2e.harness import Server, serving
from tests.e2e.marketplace import cloud_event, order_created, order_status
from tests.e2e.places import embedded
from tests.integration.commands import tradewire
from tests.kafka import Bus, eventually

ORDERS = "commerce.orders.v1"

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def server(tmp_path: Path, bus: Bus) -> AsyncIterator[Server]:
    async with serving(embedded(tmp_path / "data"), **bus.environ) as running:
        yield running


@pytest.fixture
async def buyer(server: Server) -> AsyncIterator[Device]:
    async with connected(server, "buyer") as device:
        yield device


@pytest.fixture
def run(bus: Bus, tmp_path: Path) -> Run:
    async def ran(*arguments: str, **environ: str) -> tuple[int, str, str]:
        return await tradewire(
            {**bus.environ, "DATA_DIR": str(tmp_path / "other"), **environ}, *arguments
        )

    return ran


async def listed(run: Run, number: int) -> list[list[str]]:
    """The lines of the list, once there are so many."""
    lines: list[list[str]] = []

    async def complete() -> bool:
        code, out, _ = await run("dead-letters", "list")
        lines[:] = [line.split(maxsplit=4) for line in out.splitlines()]
        return code == 0 and len(lines) == number

    await eventually(complete, f"{number} dead letters are listed")
    return lines


async def test_a_dead_letter_is_shown_and_takes_effect_once_its_cause_is_mended(
    bus: Bus, buyer: Device, run: Run
) -> None:
    status = order_status("o-1", "paid", minute=1)
    early = cloud_event("OrderStatusChanged", **status) | {"tenant": bus.tenant}
    await bus.tell(ORDERS, "o-1", early)
    await bus.put(ORDERS, "o-2", b"\xff\x00 no event", ("ce_type", b"Nothing"))
    letters = {line[2]: line for line in await listed(run, 2)}
    place, topic, _, _, error = letters["OrderStatusChanged"]
    assert topic == bus.prefix + ORDERS
    assert error == "invalid_field: There is no such order. (order_id)"
    code, out, _ = await run("dead-letters", "show", place)
    assert code == 0
    assert out.endswith(json.dumps(early) + "\n")
    assert f"dlq_topic: {topic.encode()!r}" in out

    order = order_created("o-1", items=["p-1"])
    await bus.tell(ORDERS, "o-1", cloud_event("OrderCreated", **order))
    await buyer.hear("OrderLinked")
    assert await run("dead-letters", "replay", place) == (0, f"{place} replayed\n", "")
    assert (await buyer.hear("OrderUpdated"))["order"]["status"] == "paid"
    [original, again] = [
        record for record in await bus.records(ORDERS) if record.value == json.dumps(early).encode()
    ]
    assert (again.key, again.headers) == (original.key, original.headers)
    assert again.partition == original.partition
    [left] = await listed(run, 1)
    assert left[2] == "Nothing"
    assert await run("dead-letters", "drop", "--all") == (0, f"{left[0]} dropped\n", "")
    assert await run("dead-letters", "list") == (0, "", "")


async def test_what_cannot_be_done_is_told(server: Server, run: Run) -> None:
    code, out, err = await run("dead-letters", "show", "0:99")
    assert (code, out, err) == (1, "", "Error: There is no dead letter 0:99.\n")
    code, _, err = await run("dead-letters", "replay")
    assert (code, "--all" in err) == (2, True)
    code, _, err = await run("dead-letters", "list", EVENTS="embedded")
    assert (code, err) == (2, "Dead letters are kept on Kafka: set KAFKA_BROKERS.\n")
    code, _, err = await run("dead-letters", "list", KAFKA_BROKERS="127.0.0.1:1")
    assert code == 1
    assert "Error: Kafka does not answer: " in err
    assert "Traceback" not in err


async def test_doctor_looks_at_kafka(bus: Bus, run: Run) -> None:
    code, out, _ = await run("doctor")
    assert code == 0
    assert "ok   kafka: 1 brokers" in out
    assert f"warn topics: to be made at the first start, 1 copies each: {bus.prefix}" in out
    code, out, _ = await run("doctor", KAFKA_REPLICATION_FACTOR="3")
    assert code == 1
    assert "set KAFKA_REPLICATION_FACTOR to 1 at most" in out
    code, out, _ = await run("doctor", KAFKA_BROKERS="127.0.0.1:1")
    assert code == 0
    assert "warn kafka: Kafka does not answer" in out


async def test_topics_that_cannot_be_made_are_named_with_what_to_run(bus: Bus, run: Run) -> None:
    async with asyncio.timeout(60):
        code, out, err = await run("serve", "--port", "0", KAFKA_REPLICATION_FACTOR="3")
    assert (code, out) == (2, "")
    for topic in ("chat.events.v1", ORDERS, "chat.dead-letters.v1"):
        assert f"--create --topic {bus.prefix}{topic} --partitions 3 --replication-factor 3" in err
    assert "Traceback" not in err
