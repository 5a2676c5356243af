"""The command in a process of its own, and statements past the store."""

import asyncio
import os
import sys
from collections.abc import Mapping

from tests.engines import Keyspace
from tests.integration.folder import CELL
from tradewire.adapters.scylla.cluster import connect

DEADLINE_S = 100.0


async def execute(keyspace: Keyspace, statement: str, *values: object) -> None:
    """Run a statement past the store."""
    connected = await asyncio.to_thread(connect, keyspace.options)
    try:
        await asyncio.to_thread(connected.session.execute, statement, values)
    finally:
        connected.close()


async def tradewire(environ: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run the command: exit code, what it printed, what it told."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradewire", *arguments),
        env={**os.environ, **environ, "CELL_ID": CELL},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
