"""What the engine does by itself: failing and recovering, sweeping, checkpoints, deadlines."""

import asyncio
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tradewire.adapters.sqlite import SqliteStore
from tradewire.adapters.sqlite.folder import BUSY_S
from tradewire.adapters.sqlite.keys import ROUND, SLICE
from tradewire.domain.errors import NotFound, Overloaded, TradewireError, Unavailable
from tradewire.domain.writes import NewMessage, Revoke
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import Shop

DAY_MS = 86_400_000
TABLES = ("messages", "message_edits", "changes", "user_changes", "handled", "outbox")


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, time: ManualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path, now_ms=time)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def shop(store: SqliteStore, time: ManualClock) -> Shop:
    return Shop(store, time)


def count(folder: Path, *tables: str) -> dict[str, int]:
    database = sqlite3.connect(folder / "tradewire.db")
    try:
        return {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in tables
        }
    finally:
        database.close()


async def pragma(store: SqliteStore, statement: str) -> int:
    turn = store.journal.take_turn(lambda database: database.execute(statement).fetchone()[0])
    return int(await asyncio.wrap_future(turn))


async def traced(store: SqliteStore) -> list[str]:
    """From now on, every statement of the writer."""
    statements: list[str] = []
    trace = store.journal.take_turn(lambda database: database.set_trace_callback(statements.append))
    await asyncio.wrap_future(trace)
    return statements


async def test_a_full_disk_fails_whole_groups_and_passes(store: SqliteStore, shop: Shop) -> None:
    conversation = await shop.direct()
    await shop.send(conversation, text="before", key="k")
    unlimited = await pragma(store, "PRAGMA max_page_count")
    used = await pragma(store, "PRAGMA page_count")
    await pragma(store, f"PRAGMA max_page_count = {used}")
    waiting = [shop.append(shop.message(conversation, text="x" * 9_000)) for _ in range(20)]
    outcomes = await asyncio.gather(*waiting)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    with pytest.raises(Unavailable):
        await shop.group("alice", *(f"user{n}" for n in range(900)))
    await pragma(store, f"PRAGMA max_page_count = {unlimited}")
    await shop.send(conversation, text="after")
    assert await shop.texts(conversation) == ["before", "after"]
    assert (await shop.write(shop.message(conversation, text="before", key="k")))[0].duplicate
    assert await shop.unread("bob") == {conversation: 2}
    assert len(await store.journal.events(0, 100)) == 3


async def test_a_unit_that_cannot_be_written_fails_alone(shop: Shop) -> None:
    conversation = await shop.direct()

    def broken() -> NewMessage:
        return shop.message(conversation, text="\ud800", content_hash=b"")

    outcomes = await asyncio.gather(
        shop.append(shop.message(conversation, text="before")),
        shop.append(broken()),
        shop.append(shop.message(conversation, text="lost"), broken()),
        shop.append(shop.message(conversation, text="after")),
    )
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, True, True, False]
    assert await shop.texts(conversation) == ["before", "after"]


async def test_what_outlived_its_time_is_swept(
    store: SqliteStore, shop: Shop, time: ManualClock, tmp_path: Path
) -> None:
    conversation = await shop.direct()
    message = await shop.send(conversation)
    await shop.write(shop.message(conversation), handles=("t1", "ce"))
    await shop.edit(message, text="edited")
    await shop.settings(conversation, "alice", pinned=True)
    await store.maintain()
    before = count(tmp_path, *TABLES)
    assert before == {
        "messages": 2,
        "message_edits": 1,
        "changes": 2,
        "user_changes": 1,
        "handled": 1,
        "outbox": 5,
    }
    time.advance(8 * DAY_MS)
    newest = await store.journal.newest_id()
    await store.maintain()
    later = {**before, "handled": 0, "outbox": 1}
    assert count(tmp_path, *TABLES) == later
    assert await store.journal.newest_id() == newest
    time.advance(30 * DAY_MS)
    await store.maintain()
    assert count(tmp_path, *TABLES) == {**later, "changes": 0, "user_changes": 0}
    assert await shop.texts(conversation) == ["edited", "hello"]


async def test_a_revoked_token_is_forgotten_after_400_days_a_user_never(
    store: SqliteStore, shop: Shop, time: ManualClock
) -> None:
    for which in ({"token_id": "t-1"}, {"user_id": "alice"}):
        change_id = shop.ids.next_id()
        await shop.write(Revoke(tenant=shop.tenant, change_id=change_id, **which))
    time.advance(400 * DAY_MS)
    await store.maintain()
    assert await store.people.token_revoked(shop.tenant, "t-1")
    time.advance(1)
    await store.maintain()
    assert not await store.people.token_revoked(shop.tenant, "t-1")
    assert await store.people.revoked_at(shop.tenant, "alice") is not None


async def test_what_is_to_be_published_outlives_its_time(tmp_path: Path, time: ManualClock) -> None:
    store = SqliteStore(tmp_path, now_ms=time, relayed=True)
    await store.open()
    shop = Shop(store, time)
    conversation = await shop.direct()
    sent = [await shop.send(conversation, text=str(number)) for number in range(4)]
    time.advance(8 * DAY_MS)
    await store.maintain()
    assert count(tmp_path, "outbox") == {"outbox": 5}
    await store.relay.move(sent[1].id)
    await store.maintain()
    events = await store.journal.events(sent[1].id, 10)
    assert [event.id for event in events] == [sent[2].id, sent[3].id]
    await store.relay.move(sent[3].id)
    await store.maintain()
    assert count(tmp_path, "outbox") == {"outbox": 1}
    await store.close()


async def test_it_sweeps_by_itself_while_it_is_written(
    tmp_path: Path, time: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewire.adapters.sqlite.maintenance.SWEEP_S", 0.3)
    store = SqliteStore(tmp_path / "swept", now_ms=time)
    await store.open()
    try:
        shop = Shop(store, time)
        conversation = await shop.direct()
        await shop.write(shop.message(conversation), handles=("t1", "ce"))
        time.advance(8 * DAY_MS)
        async with asyncio.timeout(20):
            while count(tmp_path / "swept", "handled") != {"handled": 0}:
                await shop.send(conversation)
    finally:
        await store.close()


async def test_keys_are_filed_and_swept(
    store: SqliteStore, shop: Shop, time: ManualClock, tmp_path: Path
) -> None:
    conversation = await shop.direct()
    many = ROUND + 10
    await shop.write(*(shop.message(conversation, key=str(n)) for n in range(many)))
    await shop.send(conversation, key="unfiled")
    assert count(tmp_path, "message_keys") == {"message_keys": many}
    for key in ("0", str(many - 1), "unfiled"):
        assert (await shop.write(shop.message(conversation, key=key)))[0].duplicate
    time.advance(4 * DAY_MS)
    await store.maintain()
    assert count(tmp_path, "message_keys") == {"message_keys": 0}
    assert not (await shop.write(shop.message(conversation, key="0")))[0].duplicate


async def test_keys_are_known_while_a_round_of_them_is_filed(
    store: SqliteStore, shop: Shop, time: ManualClock, tmp_path: Path
) -> None:
    conversation = await shop.direct()
    await shop.write(*(shop.message(conversation, key=str(n)) for n in range(ROUND - 1)))
    await shop.send(conversation, key="last")
    assert count(tmp_path, "message_keys") == {"message_keys": SLICE}
    keys = ("0", str(ROUND // 2), str(ROUND - 2), "last")
    for key in keys:
        assert (await shop.write(shop.message(conversation, key=key)))[0].duplicate
    await store.close()
    again = SqliteStore(tmp_path, now_ms=time)
    await again.open()
    try:
        time.advance(1_000)
        shop = Shop(again, time)
        for key in keys:
            assert (await shop.write(shop.message(conversation, key=key)))[0].duplicate
        for n in range(ROUND // SLICE):
            await shop.send(conversation, key=f"more {n}")
        assert count(tmp_path, "message_keys")["message_keys"] >= ROUND
        for key in (*keys, "more 0"):
            assert (await shop.write(shop.message(conversation, key=key)))[0].duplicate
    finally:
        await again.close()


async def test_keys_of_an_undone_unit_are_unknown(shop: Shop) -> None:
    conversation = await shop.direct()
    with pytest.raises(NotFound):
        await shop.write(shop.message(conversation, key="k"), shop.message("no-such"))
    assert not (await shop.write(shop.message(conversation, key="k")))[0].duplicate


async def test_the_rows_of_a_deleted_conversation_are_purged(
    store: SqliteStore, shop: Shop, tmp_path: Path
) -> None:
    kept, gone = await shop.direct("alice", "carol"), await shop.direct()
    await shop.send(kept)
    message = await shop.send(gone)
    await shop.edit(message, text="edited")
    await shop.write(*(shop.message(gone, text=str(n)) for n in range(1_200)))
    await shop.delete_conversation(gone)
    assert await shop.direct() == gone
    await shop.send(gone, text="new")
    await store.maintain()
    assert count(tmp_path, "messages", "message_edits", "changes", "purges") == {
        "messages": 2,
        "message_edits": 0,
        "changes": 2,
        "purges": 0,
    }
    assert await shop.texts(gone) == ["new"]
    assert await shop.texts(kept) == ["hello"]


async def test_the_log_is_copied_into_the_database(
    store: SqliteStore, shop: Shop, tmp_path: Path
) -> None:
    conversation = await shop.direct()
    for _ in range(3):
        await shop.write(*(shop.message(conversation, text="x" * 9_000) for _ in range(900)))
        await store.maintain()
    size = (tmp_path / "tradewire.db").stat().st_size
    assert size > 2_700 * 9_000
    assert (tmp_path / "tradewire.db-wal").stat().st_size < 2 * size


async def test_too_many_reads_are_refused(shop: Shop) -> None:
    conversations = shop.store.conversations
    reads = [asyncio.ensure_future(conversations.unread("t1", "alice", 0)) for _ in range(1_200)]
    answers = await asyncio.gather(*reads, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(refused) == 200
    nothing = await conversations.unread("t1", "alice", 0)
    assert all(answer == nothing for answer in answers if answer not in refused)


async def test_a_closed_store_takes_nothing(tmp_path: Path, time: ManualClock) -> None:
    store = SqliteStore(tmp_path / "other", now_ms=time)
    await store.open()
    await store.close()
    with pytest.raises(TradewireError):
        Shop(store, time).append()


async def test_commit_groups_are_told(tmp_path: Path, time: ManualClock) -> None:
    groups: list[tuple[int, float]] = []
    store = SqliteStore(
        tmp_path / "other", now_ms=time, on_group=lambda units, s: groups.append((units, s))
    )
    await store.open()
    shop = Shop(store, time)
    conversation = await shop.direct()
    await asyncio.gather(*(shop.append(shop.message(conversation)) for _ in range(99)))
    await store.close()
    assert sum(units for units, _ in groups) == 100
    assert all(seconds > 0 for _, seconds in groups)


async def test_commit_groups_hold_no_more_than_they_may(tmp_path: Path, time: ManualClock) -> None:
    groups: list[int] = []
    store = SqliteStore(
        tmp_path / "other",
        now_ms=time,
        group_units=8,
        on_group=lambda units, _: groups.append(units),
    )
    await store.open()
    shop = Shop(store, time)
    conversation = await shop.direct()
    await asyncio.gather(*(shop.append(shop.message(conversation)) for _ in range(99)))
    await store.close()
    assert sum(groups) == 100
    assert max(groups) == 8


async def test_a_busy_conversation_is_settled(store: SqliteStore, shop: Shop) -> None:
    """Within a slot of time, a message changes nothing at the members but the sender's marker."""
    conversation = await shop.direct()
    for sender in ("alice", "bob", "alice", "bob"):
        await shop.send(conversation, sender)
    statements = await traced(store)
    await shop.send(conversation, "bob")
    statements.clear()
    unit = (shop.message(conversation, "alice", key="s:1", fresh=True),)
    await asyncio.gather(shop.append(*unit))
    written = [statement.split()[:3] for statement in statements]
    assert written == [
        ["BEGIN", "IMMEDIATE"],
        ["INSERT", "INTO", "messages"],
        ["UPDATE", "members", "SET"],
        ["INSERT", "INTO", "outbox"],
        ["COMMIT"],
    ]


async def test_a_read_that_takes_too_long_is_given_up(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    monkeypatch.setattr("tradewire.adapters.sqlite.readers.DEADLINE_S", 0.1)
    with pytest.raises(Unavailable):
        await store._readers.read(lambda database: database.execute(endless).fetchone())
    monkeypatch.undo()
    await store.check()


async def test_a_group_that_takes_too_long_on_the_loop_is_written_by_the_thread(
    store: SqliteStore, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await shop.direct()
    statements = await traced(store)
    monkeypatch.setattr("tradewire.adapters.sqlite.journal.APPLY_S", -1.0)
    texts = [f"{n}" for n in range(500)]
    await asyncio.gather(*(shop.append(shop.message(conversation, text=text)) for text in texts))
    assert statements.count("BEGIN IMMEDIATE") == 2
    assert statements.count("COMMIT") == 1
    assert await shop.texts(conversation) == texts
    assert len(await store.journal.events(0, 1_000)) == 501


async def test_a_lock_of_another_program_holds_up_sends_alone(
    store: SqliteStore, shop: Shop, tmp_path: Path
) -> None:
    conversation = await shop.direct()
    other = sqlite3.connect(tmp_path / "tradewire.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    send = asyncio.create_task(shop.send(conversation, text="hello"))
    async with asyncio.timeout(BUSY_S / 2):
        assert await shop.texts(conversation) == []
        await asyncio.sleep(0)
    assert not send.done()
    other.execute("ROLLBACK")
    other.close()
    await send
    assert await shop.texts(conversation) == ["hello"]


async def test_a_commit_that_fails_is_not_acknowledged(
    store: SqliteStore, shop: Shop, tmp_path: Path
) -> None:
    conversation = await shop.direct()
    await shop.send(conversation, text="before", key="k")
    log = (tmp_path / "tradewire.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    messages = [shop.message(conversation, text="x" * 9_000, key=f"k{n}") for n in range(5)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (log + 8_192, hard))
    try:
        outcomes = await asyncio.gather(*map(shop.append, messages))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert await shop.texts(conversation) == ["before"]
    for message in messages:
        assert not (await shop.write(message))[0].duplicate
    assert len(await shop.texts(conversation)) == len(await store.journal.events(0, 100)) - 1 == 6


async def test_a_turn_that_nobody_waits_for_any_more_ends_no_writer(
    store: SqliteStore, shop: Shop
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def busy(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(10)

    turn = asyncio.wrap_future(store.journal.take_turn(busy))
    await asyncio.to_thread(begun.wait, 10)
    moved = asyncio.create_task(store.relay.move(1))
    await asyncio.sleep(0)
    moved.cancel()
    go_on.set()
    await turn
    conversation = await shop.direct()
    await shop.send(conversation, text="hello")
    assert await shop.texts(conversation) == ["hello"]


async def test_a_turn_waits_for_a_lock(store: SqliteStore, shop: Shop, tmp_path: Path) -> None:
    await shop.direct()
    other = sqlite3.connect(
        tmp_path / "tradewire.db", isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    statements = await traced(store)
    moved = asyncio.create_task(store.relay.move(1))
    while not statements:
        await asyncio.sleep(0.001)
    other.execute("ROLLBACK")
    other.close()
    await moved
    assert await store.relay.cursor() == 1


async def test_keys_are_filed_though_groups_are_cut_off(
    store: SqliteStore, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await shop.direct()
    monkeypatch.setattr("tradewire.adapters.sqlite.journal.APPLY_S", -1.0)
    monkeypatch.setattr("tradewire.adapters.sqlite.journal.APART_S", 0.0)
    statements = await traced(store)
    for group in range(30):
        keys = [f"{group}:{n}" for n in range(300)]
        await asyncio.gather(*(shop.append(shop.message(conversation, key=key)) for key in keys))
    assert statements.count("ROLLBACK") > 10
    assert count(tmp_path, "message_keys")["message_keys"] > 9_000 - 3 * ROUND
    again = await shop.write(shop.message(conversation, key="0:0"))
    assert again[0].duplicate


async def test_a_closed_store_reads_nothing(tmp_path: Path, time: ManualClock) -> None:
    store = SqliteStore(tmp_path / "other", now_ms=time)
    await store.open()
    await store.close()
    for read in (store.people.blocked_by("t1", "alice"), store.journal.newest_id()):
        with pytest.raises(Unavailable):
            await read
    with pytest.raises(Unavailable):
        store.journal.take_turn(lambda database: None)
