"""Requests that go straight to a replica: who is asked, when, and what comes of each answer."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra.cluster import NoConnectionsAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import RESULT_KIND_ROWS, RESULT_KIND_SET_KEYSPACE, ResultMessage

from tradewire.adapters.scylla import requests
from tradewire.adapters.scylla.connection import OnLoop
from tradewire.adapters.scylla.requests import Requests
from tradewire.domain.errors import Unavailable

DEADLINE_S = 5.0
ROWS = [("a", 1)]
REQUEST: Any = SimpleNamespace(key=b"key", columns=None, message=lambda timestamp: timestamp)


class Node:
    """A node of the cluster, with the driver's pool of its connections: one connection."""

    def __init__(self) -> None:
        self.is_shutdown = False
        self.busy = False
        self.broken = False
        self.returned = 0
        self.asked: list[Any] = []
        self.lock = nullcontext()
        self.orphaned_request_ids: set[int] = set()
        self.orphaned_threshold = 10
        self._requests: dict[int, Any] = {}

    def borrow_connection(self, timeout: float, routing_key: bytes) -> tuple["Node", int]:
        assert (timeout, routing_key) == (0, b"key")
        if self.busy:
            raise NoConnectionsAvailable
        return self, len(self.asked)

    def return_connection(self, connection: "Node", stream_was_orphaned: bool = False) -> None:
        assert connection is self
        self.returned += not stream_was_orphaned

    def send_msg(self, message: Any, stream: int, callback: Any, **_: Any) -> None:
        if self.broken:
            raise ConnectionShutdown("gone")
        self._requests[stream] = callback
        self.asked.append(callback)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "SPECULATIVE_AFTER_S", 0.02)


@pytest.fixture
def nodes() -> list[Node]:
    return [Node(), Node()]


@pytest.fixture
async def asking(nodes: list[Node]) -> Requests:
    connected: Any = SimpleNamespace(pools=dict(enumerate(nodes)), timestamp=lambda: 1)
    placement: Any = SimpleNamespace(of=lambda key: (0, 1))
    return Requests(connected, placement, OnLoop())


def answer(kind: int = RESULT_KIND_ROWS, *, paging_state: bytes | None = None) -> ResultMessage:
    message = ResultMessage(kind)
    message.parsed_rows = ROWS
    message.paging_state = paging_state
    return message


async def begin(asking: Requests, *nodes: Node) -> "asyncio.Task[Any]":
    """Ask, and wait until just these nodes have been asked."""
    task = asyncio.create_task(asking.ask(REQUEST))
    async with asyncio.timeout(DEADLINE_S):
        while not all(node.asked for node in nodes):
            await asyncio.sleep(0.001)
    return task


async def test_a_replica_answers_and_no_other_is_asked(asking: Requests, nodes: list[Node]) -> None:
    task = await begin(asking, nodes[0])
    nodes[0].asked[0](answer())
    assert await task == ROWS
    assert nodes[0].returned == 1
    assert not nodes[1].asked


async def test_replicas_are_asked_in_turn(asking: Requests, nodes: list[Node]) -> None:
    for node in (nodes[0], nodes[1]):
        task = await begin(asking, node)
        node.asked[0](answer())
        assert await task == ROWS
    assert [len(node.asked) for node in nodes] == [1, 1]


async def test_when_one_is_silent_another_is_asked_and_the_first_to_answer_counts(
    asking: Requests, nodes: list[Node]
) -> None:
    task = await begin(asking, *nodes)
    nodes[1].asked[0](answer())
    assert await task == ROWS
    nodes[0].asked[0](answer())
    assert [node.returned for node in nodes] == [1, 1]


@pytest.mark.parametrize("fault", ["is_shutdown", "busy", "broken"])
async def test_a_node_that_takes_nothing_is_passed_over(
    asking: Requests, nodes: list[Node], fault: str
) -> None:
    setattr(nodes[0], fault, True)
    task = await begin(asking, nodes[1])
    nodes[1].asked[0](answer())
    assert await task == ROWS
    assert nodes[0].returned == (fault == "broken")


@pytest.mark.parametrize(
    "response",
    [
        ConnectionShutdown("cut"),
        answer(RESULT_KIND_SET_KEYSPACE),
        answer(paging_state=b"more"),
    ],
)
async def test_whatever_is_no_plain_answer_is_left_to_the_driver(
    asking: Requests, nodes: list[Node], response: Any
) -> None:
    task = await begin(asking, nodes[0])
    nodes[0].asked[0](response)
    assert await task is None


async def test_without_any_node_it_is_left_to_the_driver(
    asking: Requests, nodes: list[Node]
) -> None:
    for node in nodes:
        node.is_shutdown = True
    assert await asking.ask(REQUEST) is None


async def test_silence_ends_and_an_answer_after_it_is_nobodys(
    asking: Requests, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "DEADLINE_S", 0.05)
    with pytest.raises(Unavailable):
        await asking.ask(REQUEST)
    for node in nodes:
        assert node.orphaned_request_ids == {0}
        node.asked[0](answer())
        assert node.returned == 0


async def test_who_gives_up_waiting_leaves_nothing_behind(
    asking: Requests, nodes: list[Node]
) -> None:
    task = await begin(asking, nodes[0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    nodes[0].asked[0](answer())
    assert nodes[0].returned == 1
