"""What a page costs does not grow with the number of conversations."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.sqlite_seed import conversation_id, seed
from tradewire.adapters.sqlite import SqliteStore
from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.inbox import read_page
from tradewire.domain.ids import id_at
from tradewire.domain.limits import UNREAD_CONVERSATIONS
from tradewire.ports import InboxQuery
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import Shop

MANY, FEW = 100_000, 100
NOW = ManualClock()()
READS = (
    *(
        "TRACK",
        "ACCESS",
        "NUMBER",
        "VIEWS",
        "MEMBERS",
        "MEMBERS_NAMED",
        "RECEIPTS",
        "UNREAD",
        "UNREAD_TOTAL",
    ),
    *("MESSAGES", "MESSAGES_BEFORE", "MESSAGES_AFTER", "EDITS", "EXPIRED", "FIND_KEY"),
    *("EVENTS", "NEWEST_ID", "SHOWING_PRODUCT", "PRODUCTS", "ORDERS", "BLOCKED_BY"),
    *("BLOCK_RELATIONS", "LAST_SEEN", "MISSED_OWN", "COUNT_MARKED", "UNHIDE", "TOUCH"),
)


class Work:
    """Counts the steps of SQLite's machine, by the hundred."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self) -> int:
        self.steps += 100
        return 0


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folders = {count: tmp_path_factory.mktemp("seeded") for count in (MANY, FEW)}
    for count, folder in folders.items():
        seed(folder, "seller", count, id_at(NOW))
    return folders


@pytest.fixture
async def shop(seeded: dict[int, Path]) -> AsyncIterator[Shop]:
    time = ManualClock()
    store = SqliteStore(seeded[MANY], now_ms=time)
    await store.open()
    shop = Shop(store, time)
    shop.ids.observe(await store.journal.newest_id())
    yield shop
    await store.close()


@pytest.fixture
def databases(seeded: dict[int, Path]) -> Iterator[dict[int, sqlite3.Connection]]:
    opened = {
        count: sqlite3.connect(folder / "tradewire.db", isolation_level=None)
        for count, folder in seeded.items()
    }
    yield opened
    for database in opened.values():
        database.close()


@pytest.mark.parametrize("sort", ["last_activity", "created_at"])
@pytest.mark.parametrize("descending", [True, False])
async def test_first_and_deep_pages_run_few_statements(
    shop: Shop, sort: str, descending: bool
) -> None:
    cursor = None
    expected = range(1, MANY + 1)
    pages = iter(expected[::-1] if descending else expected)
    for page in range(30):
        statements: list[str] = []
        shop.store.trace(statements.append)  # type: ignore[attr-defined]
        found = await shop.store.conversations.inbox(
            "t1",
            "seller",
            InboxQuery(limit=100, now=NOW, sort=sort, descending=descending, cursor=cursor),  # type: ignore[arg-type]
        )
        shop.store.trace(None)  # type: ignore[attr-defined]
        ids = [conversation.conversation_id for conversation in found.conversations]
        assert ids == [conversation_id(next(pages)) for _ in range(100)], page
        assert found.conversations[0].unread_count == 1
        assert len(statements) <= 6
        cursor = found.cursor


async def test_unread_counts_just_the_newest(shop: Shop) -> None:
    statements: list[str] = []
    shop.store.trace(statements.append)  # type: ignore[attr-defined]
    found = await shop.store.conversations.unread("t1", "seller", NOW)
    shop.store.trace(None)  # type: ignore[attr-defined]
    assert found.capped
    newest = range(MANY, MANY - UNREAD_CONVERSATIONS, -1)
    assert set(found.by_conversation) == {conversation_id(number) for number in newest}
    assert len(statements) <= 4


async def test_the_total_is_one_statement(shop: Shop) -> None:
    statements: list[str] = []
    shop.store.trace(statements.append)  # type: ignore[attr-defined]
    total = await shop.unread_total("seller")
    shop.store.trace(None)  # type: ignore[attr-defined]
    assert total == UNREAD_CONVERSATIONS
    assert len(statements) <= 3


async def test_resume_from_the_beginning_tells_the_oldest(shop: Shop) -> None:
    missed = await shop.missed("seller", 0, limit=5_000)
    assert missed.truncated
    told = [message.conversation_id for message in missed.messages]
    assert told == [conversation_id(number) for number in range(1, 5_001)]


@pytest.mark.parametrize(
    "query",
    [
        InboxQuery(limit=100, now=NOW),
        InboxQuery(limit=100, now=NOW, descending=False),
        InboxQuery(limit=100, now=NOW, archived=None),
        InboxQuery(limit=100, now=NOW, sort="created_at"),
        InboxQuery(limit=100, now=NOW, unread=True),
        InboxQuery(limit=100, now=NOW, listing_id="none"),
    ],
)
def test_a_page_is_as_much_work_for_many_as_for_few(
    databases: dict[int, sqlite3.Connection], query: InboxQuery
) -> None:
    steps = {}
    for count, database in databases.items():
        work = Work()
        database.set_progress_handler(work, 100)
        read_page(database, "t1", "seller", query)
        database.set_progress_handler(None, 0)
        steps[count] = work.steps
    assert steps[MANY] <= 2 * steps[FEW] + 1_000


def test_a_filter_that_few_pass_looks_at_a_bounded_number(
    databases: dict[int, sqlite3.Connection],
) -> None:
    page = read_page(
        databases[MANY], "t1", "seller", InboxQuery(limit=20, now=NOW, status="closed")
    )
    assert page.conversations == []
    assert page.cursor is not None


def test_no_read_scans_or_sorts(databases: dict[int, sqlite3.Connection]) -> None:
    walks = {
        f"{sort} {compare} {listing} {unread}": sql.inbox_walk(
            sort, compare, listing=listing, unread=unread
        )
        for sort in ("last_activity", "created_at")
        for compare in "<>="
        for listing in (False, True)
        for unread in (False, True)
    }
    named = {name: getattr(sql, name) for name in READS}
    for name, statement in {**walks, **named}.items():
        for plan in _plan(databases[MANY], statement):
            small = "VIRTUAL TABLE" in plan or "(subquery" in plan or "CONSTANT" in plan
            assert small or not plan.startswith("SCAN"), (name, plan)
            few = name in ("MESSAGES", "FIND_KEY")
            assert few or "TEMP B-TREE FOR ORDER BY" not in plan, (name, plan)


def _plan(database: sqlite3.Connection, statement: str) -> list[str]:
    names = [
        word.strip("(),;")[1:]
        for word in statement.replace(")", " ").replace("(", " ").split()
        if word.startswith(":")
    ]
    values: dict[str, object] | list[object]
    values = dict.fromkeys(names, 1) if names else [1] * statement.count("?")
    return [row[3] for row in database.execute("EXPLAIN QUERY PLAN " + statement, values)]
