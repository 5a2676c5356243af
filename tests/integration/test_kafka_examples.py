"""The programs in docs/howto/events-on-kafka.md do what the page says."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.devices import connected, direct, say
from tests.e2e.harness import Server, serving
from tests.e2e.places import embedded
from tests.kafka import Bus

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "events-on-kafka.md"
READER, WRITER = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
DEADLINE_S = 30.0


@pytest.fixture
async def server(tmp_path: Path, bus: Bus) -> AsyncIterator[Server]:
    async with serving(embedded(tmp_path), **bus.environ) as running:
        yield running


@asynccontextmanager
async def program(text: str, bus: Bus) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs while the block does, or ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", text),
        env={**os.environ, **bus.environ},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_reader_prints_each_message(bus: Bus, server: Server) -> None:
    async with program(READER, bus) as reader, connected(server, "alice") as alice:
        (message,) = await say(alice, await direct(alice, "bob"), "hello")
        assert reader.stdout is not None
        line = await asyncio.wait_for(reader.stdout.readline(), DEADLINE_S)
    assert line.decode() == f"{message} alice hello\n"


async def test_what_the_writer_tells_is_shown(bus: Bus, server: Server) -> None:
    async with connected(server, "alice") as alice:
        await alice.ask("CreateConversation", product_id="p-1", seller_id="bob")
        async with program(WRITER, bus) as writer:
            assert await asyncio.wait_for(writer.wait(), DEADLINE_S) == 0
        told = await alice.hear("ProductUpdated")
    assert (told["product"]["title"], told["product"]["version"]) == ("A lamp", 7)
