"""Whether two stores tell the same, whatever they are asked."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

from tests.integration.folder import CROWD
from tradewire.testing.store_contract import Shop

AT_ONCE = 50
USERS = (
    *("alice", "bob", "carol", "dave", "erin", "mallory", "gone", "again", "hidden", "silent"),
    *("busy", CROWD[0], CROWD[3], CROWD[-1]),
)

Ask = Callable[[Shop], Awaitable[object]]


async def same(here: Shop, there: Shop, asks: Iterable[tuple[Ask, object]]) -> None:
    """Ask both stores; what is asked stands beside, to be told."""
    named = list(asks)
    for at in range(0, len(named), AT_ONCE):
        part = named[at : at + AT_ONCE]
        expected = await asyncio.gather(*(ask(here) for ask, _ in part))
        found = await asyncio.gather(*(ask(there) for ask, _ in part))
        for (_, what), one, other in zip(part, expected, found, strict=True):
            assert other == one, what


def views(conversations: Iterable[str]) -> Iterator[tuple[Ask, object]]:
    for each, user in product(conversations, USERS):
        place = (each, user)
        yield partial(_view, *place), ("view", place)
        yield partial(_member, *place), ("member", place)
    for each in conversations:
        yield partial(_access, each), ("access", each)
        yield partial(_members, each), ("members", each)
        yield partial(_receipts, each), ("receipts", each)
        yield partial(_history, each), ("history", each)
        yield partial(_former_texts, each), ("former texts", each)


async def _view(conversation: str, user: str, shop: Shop) -> object:
    reads = shop.store.conversations
    return await reads.view(shop.tenant, user, conversation, shop.time())


async def _member(conversation: str, user: str, shop: Shop) -> object:
    return await shop.member(conversation, user)


async def _access(conversation: str, shop: Shop) -> object:
    return await shop.store.conversations.access(shop.tenant, conversation)


async def _members(conversation: str, shop: Shop) -> object:
    return await shop.store.conversations.members(shop.tenant, conversation, "", 300)


async def _receipts(conversation: str, shop: Shop) -> object:
    receipts = await shop.store.messages.receipts(shop.tenant, conversation)
    return sorted(receipts, key=lambda receipt: receipt.user_id)


async def _history(conversation: str, shop: Shop) -> object:
    messages = shop.store.messages
    whole = await messages.after(shop.tenant, conversation, 0, 3_000)
    middle = whole[len(whole) // 2].id if whole else 1
    before = await messages.before(shop.tenant, conversation, middle, 30)
    ids = [(conversation, message.id) for message in whole[:20]]
    return whole, before, await messages.by_id(shop.tenant, ids)


async def _former_texts(conversation: str, shop: Shop) -> object:
    messages = shop.store.messages
    found = await messages.after(shop.tenant, conversation, 0, 60)
    asked = [messages.edits(shop.tenant, conversation, message.id) for message in found]
    return await asyncio.gather(*asked)


def inboxes() -> Iterator[tuple[Ask, object]]:
    filters: list[dict[str, Any]] = [
        *({"archived": archived, "limit": 4} for archived in (None, True, False)),
        *({"listing_id": "l2", "limit": 3}, {"unread": True, "limit": 3}),
        *({"muted": True, "limit": 3}, {"status": "closed", "limit": 3}),
    ]
    ways = product(("last_activity", "created_at"), (True, False), filters)
    for (sort, descending, filter_), user in product(ways, ("alice", "bob", CROWD[0], CROWD[-1])):
        query = {**filter_, "sort": sort, "descending": descending}
        yield partial(_inbox, user, query), (user, query)
    for user in USERS:
        yield partial(_unread, user), ("unread", user)
        yield partial(_unread_total, user), ("unread_total", user)


async def _inbox(user: str, query: dict[str, Any], shop: Shop) -> object:
    return await shop.whole_inbox(user, **query)


async def _unread(user: str, shop: Shop) -> object:
    return await shop.store.conversations.unread(shop.tenant, user, shop.time())


async def _unread_total(user: str, shop: Shop) -> object:
    return await shop.unread_total(user)


def resumes(ids: Sequence[int]) -> Iterator[tuple[Ask, object]]:
    for user, after in product(USERS, (0, ids[len(ids) // 2], ids[-200], ids[-20], ids[-1])):
        yield partial(_missed, user, after), ("missed", user, after)


async def _missed(user: str, after: int, shop: Shop) -> object:
    return await shop.missed(user, after, 5_000)


def people_and_things() -> Iterator[tuple[Ask, object]]:
    for user in (*USERS, "trudy"):
        yield partial(_person, user), user
    yield partial(_goods), "goods"


async def _person(user: str, shop: Shop) -> object:
    people, tenant = shop.store.people, shop.tenant
    return (
        await people.blocked_by(tenant, user),
        await people.block_relations(tenant, user),
        await people.suspension(tenant, user),
        await people.revoked_at(tenant, user),
        await people.token_revoked(tenant, user),
        await people.last_seen(tenant, [user]),
    )


async def _goods(shop: Shop) -> object:
    catalogue, tenant = shop.store.catalogue, shop.tenant
    products, orders = ("p1", "p2", "unknown"), ("o1", "o2", "o3")
    showing = shop.store.conversations.showing_product
    return (
        await catalogue.products(tenant, products),
        await catalogue.orders(tenant, orders),
        [await catalogue.order_conversation(tenant, each) for each in orders],
        [await showing(tenant, each, "", 10) for each in products],
    )


def log(ids: Sequence[int]) -> Iterator[tuple[Ask, object]]:
    yield partial(_events, 0, 10_000), "events"
    yield partial(_events, ids[len(ids) // 2], 50), "events from the middle"
    yield _newest, "newest id"
    yield _expired, "expired"


async def _events(after: int, limit: int, shop: Shop) -> object:
    return await shop.store.journal.events(after, limit)


async def _newest(shop: Shop) -> object:
    return await shop.store.journal.newest_id()


async def _expired(shop: Shop) -> object:
    return await shop.store.messages.expired(shop.time(), 10)
