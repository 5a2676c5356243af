"""Requests to a real node that have no plain answer, and are made again by the driver."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.engines import Keyspace
from tests.fault.proxy import Proxy
from tests.integration.test_scylla_connection import through, until_reachable
from tradewire.adapters.scylla import requests
from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.prepared import PAGE_ROWS
from tradewire.domain.errors import Unavailable

DEADLINE_S = 20.0


@pytest.fixture
async def engine(keyspace: Keyspace, in_the_open: Proxy) -> AsyncIterator[Engine]:
    engine = through(in_the_open, keyspace.options)
    await engine.open()
    yield engine
    await engine.close()


async def test_more_rows_than_a_page_holds_are_all_found(engine: Engine) -> None:
    run, count = uuid4().int >> 65, PAGE_ROWS + 1
    await engine.write([("ADD_BATCH", (run, run, n, b"", b"")) for n in range(1, count + 1)])
    found = await engine.rows("BATCHES", run, run, 0, 2 * count)
    assert [batch_id for batch_id, _ in found] == list(range(1, count + 1))


async def test_a_statement_that_the_server_has_forgotten_is_prepared_again(
    engine: Engine, keyspace: Keyspace
) -> None:
    run, session = uuid4().int >> 65, engine.connected.session
    await engine.rows("ADD_BATCH", run, run, 1, b"x", b"")
    for change in ("ADD probe int", "DROP probe"):
        # Whoever changes the columns of a table has the server forget what was prepared for it.
        text = f"ALTER TABLE {keyspace.options.keyspace}.outbox {change}"
        await asyncio.to_thread(session.execute, text, timeout=DEADLINE_S)
        await engine.rows("ADD_BATCH", run, run, 2, b"y", b"")
        found = await engine.rows("BATCHES", run, run, 0, 10)
        assert [(number, bytes(events)) for number, events in found] == [(1, b"x"), (2, b"y")]


async def test_an_answer_that_comes_too_late_is_taken_for_no_other(
    engine: Engine, in_the_open: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "SPECULATIVE_AFTER_S", 0.05)
    monkeypatch.setattr(requests, "DEADLINE_S", 0.1)
    runs = [uuid4().int >> 65 for _ in range(20)]
    for run in runs:
        await engine.write([("ADD_BATCH", (run, run, run, b"", b"")), ("ADD_SLICE", (run, run))])
    in_the_open.flowing.clear()
    late = await asyncio.gather(
        *(engine.rows("BATCHES", run, run, 0, 10) for run in runs), return_exceptions=True
    )
    assert {type(each) for each in late} == {Unavailable}
    in_the_open.flowing.set()
    async with asyncio.timeout(DEADLINE_S):
        await until_reachable(engine)
    monkeypatch.setattr(requests, "DEADLINE_S", DEADLINE_S)
    found = await asyncio.gather(*(engine.rows("SLICES", run) for run in runs))
    assert found == [[(run,)] for run in runs]
