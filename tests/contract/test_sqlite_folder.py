"""The data folder: who may open it, and what is said when it cannot be."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tradewire.adapters.sqlite import SqliteStore
from tradewire.adapters.sqlite.schema import MIGRATIONS
from tradewire.ports import StoreError
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import Shop

WRITER = """
import asyncio, sys
from pathlib import Path
from tradewire.adapters.sqlite import SqliteStore
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import Shop

async def main():
    time = ManualClock()
    store = SqliteStore(Path(sys.argv[1]), now_ms=time)
    await store.open()
    shop = Shop(store, time)
    conversation = await shop.direct()
    print(conversation, flush=True)
    number = 0
    while True:
        waiting = [
            shop.append(shop.message(conversation, text=str(number + n), key=str(number + n)))
            for n in range(20)
        ]
        number += 20
        for outcome in waiting:
            print((await outcome)[0].message.text, flush=True)

asyncio.run(main())
"""


def opened(folder: Path) -> SqliteStore:
    return SqliteStore(folder, now_ms=ManualClock())


async def refusal(folder: Path) -> str:
    with pytest.raises(StoreError) as refused:
        await opened(folder).open()
    return str(refused.value)


async def test_a_folder_is_made_when_it_is_missing(tmp_path: Path) -> None:
    store = opened(tmp_path / "a" / "b")
    await store.open()
    await store.close()
    assert (tmp_path / "a" / "b" / "tradewire.db").exists()


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path)
    await first.open()
    assert f"in use by the process {os.getpid()}" in await refusal(tmp_path)
    await first.close()
    second = opened(tmp_path)
    await second.open()
    await second.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.open()
    await store.close()
    newer = len(MIGRATIONS) + 1
    database = sqlite3.connect(tmp_path / "tradewire.db")
    database.execute(f"PRAGMA user_version = {newer}")
    database.close()
    message = await refusal(tmp_path)
    assert f"schema {newer}" in message
    assert f"schema {len(MIGRATIONS)}" in message


async def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tradewire.db").write_bytes(b"no database at all" * 100)
    assert "not a database" in await refusal(tmp_path)


async def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "cannot be used" in await refusal(tmp_path / "data")


async def test_a_refused_folder_is_not_kept_locked(tmp_path: Path) -> None:
    (tmp_path / "tradewire.db").write_bytes(b"no database at all" * 100)
    await refusal(tmp_path)
    (tmp_path / "tradewire.db").unlink()
    store = opened(tmp_path)
    await store.open()
    await store.close()


def run_and_kill(folder: Path, after: int) -> list[str]:
    """What a writer had been told was durable when it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline().strip() for _ in range(after)]
        writer.send_signal(signal.SIGKILL)
        lines += [line.strip() for line in writer.stdout if line.endswith("\n")]
    return lines


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    conversation, *acknowledged = run_and_kill(tmp_path, after=150)
    time = ManualClock()
    store = SqliteStore(tmp_path, now_ms=time)
    await store.open()
    shop = Shop(store, time)
    shop.ids.observe(await store.journal.newest_id())
    try:
        found = await store.messages.after("t1", conversation, 0, 100_000)
        texts = [message.text for message in found]
        assert len(acknowledged) >= 149
        assert texts[: len(acknowledged)] == acknowledged
        assert texts == [str(number) for number in range(len(texts))]
        events = await store.journal.events(0, 1_000_000)
        assert [event.id for event in events[1:]] == [message.id for message in found]
        again = await shop.write(shop.message(conversation, text="0", key="0"))
        assert again[0].duplicate
    finally:
        await store.close()
