"""What a read costs does not grow with the account: statements are asserted, medians printed.

Each read is made by a node that remembers nothing yet: no read costs more than these.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.engines import Keyspace
from tests.scale.seed import SELLER, conversation_id, seed_conversations, seed_messages
from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.reads import ConversationReads, MessageReads
from tradewire.adapters.scylla.rooms import Rooms
from tradewire.adapters.scylla.walks import FEW
from tradewire.domain.ids import MAX_ID
from tradewire.domain.limits import UNREAD_CONVERSATIONS, UNREAD_PER_CONVERSATION
from tradewire.ports import InboxPage, InboxQuery

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1_200)]

CONVERSATIONS = (100, 100_000)
MESSAGES = (1_000, 1_000_000)
START_MS = 1_767_225_600_000
CONVERSATIONS_APART_MS = 20_000
"""100,000 conversations were begun within 23 days."""
MESSAGES_APART_MS = 90_000
"""1,000,000 messages lie in 35 windows."""

PAGE = 20
MISSED = 50
"""Messages that a resume has to tell of."""
LOOKS = 11


class Account:
    """What a seller has, at the moment after the last message, seen by a node that has just begun.

    Attributes:
        ids: of all messages, ascending.
        cursor: of the second page of the inbox.
    """

    def __init__(self, engine: Engine, tenant: str, ids: Sequence[int], now: int) -> None:
        self._engine = engine
        self.tenant = tenant
        self.ids = ids
        self.now = now
        self.cursor: str | None = None
        self.begin()

    def begin(self) -> None:
        """Forget everything."""
        rooms = Rooms(self._engine)
        self.conversations = ConversationReads(self._engine, rooms, lambda: self.now)
        self.messages = MessageReads(self._engine, rooms, lambda: self.now)

    async def inbox(self, **fields: Any) -> InboxPage:
        """A page of it, which is full."""
        query = InboxQuery(limit=PAGE, now=self.now, **fields)
        page = await self.conversations.inbox(self.tenant, SELLER, query)
        assert len(page.conversations) == PAGE
        return page


Read = Callable[[Account], Awaitable[None]]
Seed = Callable[[Engine, str, int, int, int], Awaitable[list[int]]]


class Cost(NamedTuple):
    """How many statements a read runs, and how long it takes (the median)."""

    statements: int
    kinds: dict[str, int]
    ms: float


async def cost_of(engine: Engine, account: Account, read: Read) -> Cost:
    """What a read costs a node that has just begun."""
    spent: list[float] = []
    kinds: Counter[str] = Counter()
    for _ in range(LOOKS):
        account.begin()
        kinds.clear()
        engine.on_statement = lambda name: kinds.update((name,))
        begun = time.perf_counter()
        await read(account)
        spent.append(time.perf_counter() - begun)
        engine.on_statement = None
    return Cost(kinds.total(), dict(kinds), 1_000 * statistics.median(spent))


# --- the reads ------------------------------------------------------------------------------------


async def first_page(account: Account) -> None:
    page = await account.inbox()
    assert page.conversations[0].last_message is not None
    account.cursor = page.cursor


async def second_page(account: Account) -> None:
    await account.inbox(cursor=account.cursor)


async def oldest_first(account: Account) -> None:
    page = await account.inbox(descending=False)
    assert page.conversations[0].conversation_id == conversation_id(0)


async def by_creation(account: Account) -> None:
    await account.inbox(sort="created_at")


async def unread_conversations(account: Account) -> None:
    found = await account.conversations.unread(account.tenant, SELLER, account.now)
    assert len(found.by_conversation) == min(len(account.ids), UNREAD_CONVERSATIONS)
    assert found.capped == (len(account.ids) > UNREAD_CONVERSATIONS)


async def unread_messages(account: Account) -> None:
    found = await account.conversations.unread(account.tenant, SELLER, account.now)
    expected = min(len(account.ids), UNREAD_PER_CONVERSATION)
    assert found.by_conversation == {conversation_id(0): expected}


async def resume(account: Account) -> None:
    after = account.ids[-MISSED - 1]
    missed = await account.conversations.missed(account.tenant, SELLER, after, 5_000)
    assert [int(message.message_id) for message in missed.messages] == account.ids[-MISSED:]


async def inbox_of_one(account: Account) -> None:
    page = await account.conversations.inbox(
        account.tenant, SELLER, InboxQuery(limit=PAGE, now=account.now)
    )
    assert [each.conversation_id for each in page.conversations] == [conversation_id(0)]


async def newest_messages(account: Account) -> None:
    await before(account, len(account.ids), MAX_ID)


async def middle_messages(account: Account) -> None:
    place = len(account.ids) // 2
    await before(account, place, account.ids[place])


async def before(account: Account, place: int, bound: int) -> None:
    found = await account.messages.before(account.tenant, conversation_id(0), bound, PAGE)
    assert [int(message.message_id) for message in found] == account.ids[place - PAGE : place]


async def oldest_messages(account: Account) -> None:
    found = await account.messages.after(account.tenant, conversation_id(0), 0, PAGE)
    assert [int(message.message_id) for message in found] == account.ids[:PAGE]


OF_ACCOUNTS: dict[str, tuple[Read, int]] = {
    "inbox, first page": (first_page, 8 * PAGE),
    "inbox, second page": (second_page, 8 * PAGE),
    "inbox, oldest first": (oldest_first, 8 * PAGE + 2 * FEW),
    "inbox, by creation": (by_creation, 8 * PAGE),
    "unread": (unread_conversations, 5 * UNREAD_CONVERSATIONS),
    f"resume, {MISSED} moved": (resume, 6 * MISSED),
}
OF_CONVERSATIONS: dict[str, tuple[Read, int]] = {
    "inbox": (inbox_of_one, 12),
    "unread": (unread_messages, 12),
    f"resume, {MISSED} missed": (resume, 12),
    "history, newest": (newest_messages, 5),
    "history, middle": (middle_messages, 5),
    "history, oldest": (oldest_messages, 5),
}
"""Reads, and how many statements each may run, whatever the size: an account of up to FEW
conversations is looked at whole to find the oldest.
"""


# --- the tests ------------------------------------------------------------------------------------


@pytest.fixture
async def engine(keyspace: Keyspace) -> AsyncIterator[Engine]:
    engine = Engine(keyspace.options)
    await engine.open()
    yield engine
    await engine.close()


@pytest.mark.parametrize(
    ("of", "counts", "seed", "apart_ms", "reads"),
    [
        pytest.param(
            *("conversations", CONVERSATIONS, seed_conversations, CONVERSATIONS_APART_MS),
            OF_ACCOUNTS,
            id="conversations",
        ),
        pytest.param(
            *("messages", MESSAGES, seed_messages, MESSAGES_APART_MS),
            OF_CONVERSATIONS,
            id="messages",
        ),
    ],
)
async def test_much_is_read_as_little_is(
    engine: Engine,
    capsys: pytest.CaptureFixture[str],
    of: str,
    counts: tuple[int, int],
    seed: Seed,
    apart_ms: int,
    reads: dict[str, tuple[Read, int]],
) -> None:
    accounts = []
    for count in counts:
        tenant = f"t-{uuid4().hex[:12]}"
        ids = await seed(engine, tenant, count, START_MS, apart_ms)
        accounts.append(Account(engine, tenant, ids, START_MS + (count + 1) * apart_ms))
    titles = "".join(f"{len(account.ids):>16,} {of}" for account in accounts)
    lines, wrong = [f"{'':24}{titles}"], []
    for what, (read, most) in reads.items():
        costs = [await cost_of(engine, account, read) for account in accounts]
        cells = "".join(f"{each.statements:>7} statements {each.ms:>8.1f} ms" for each in costs)
        lines.append(f"{what:<24}{cells}")
        wrong += [f"{what}: {each.kinds}" for each in costs if each.statements > most]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *lines, ""]))
    assert not wrong, "\n".join(wrong)
