"""A data folder with everything in it that a store can hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from tradewire.adapters.sqlite import SqliteStore
from tradewire.adapters.sqlite.keys import ROUND
from tradewire.domain import writes
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.domain.types import Message, StatusChange
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import Shop

CELL = "moved"
MINUTE_MS = 60_000
DAY_MS = 86_400_000
CROWD = [f"user{number}" for number in range(RECEIPT_MEMBERS)]


class Folder(Struct):
    """What is in it.

    Attributes:
        conversations: by name.
        keyed: the last message that was sent with a key.
        filed: one whose key is in the table of keys.
        edited: one with former texts.
    """

    path: Path
    conversations: dict[str, str]
    keyed: Message
    filed: Message
    edited: Message


@asynccontextmanager
async def opened(path: Path, time: ManualClock) -> AsyncIterator[Shop]:
    """The shop of a folder."""
    store = SqliteStore(path, now_ms=time)
    await store.open()
    try:
        shop = Shop(store, time)
        shop.ids.observe(await store.journal.newest_id())
        yield shop
    finally:
        await store.close()


async def fill(path: Path, time: ManualClock, *, crowds: bool = True) -> Folder:
    """Make such a folder; on a cluster, crowds are much to look through."""
    async with opened(path, time) as shop:
        conversations: dict[str, str] = {}
        edited = await _talk(shop, conversations)
        await _gather(shop, conversations)
        if crowds:
            await _crowds(shop, conversations)
        await _trade(shop, conversations)
        await _people(shop)
        filed, keyed = await _keys(shop, conversations)
        await _of_another_tenant(shop.of("t2"))
    return Folder(path, conversations, keyed, filed, edited)


async def _talk(shop: Shop, conversations: dict[str, str]) -> Message:
    """Direct conversations, over two windows of time and with all that becomes of messages."""
    long = conversations["long"] = await shop.direct("alice", "bob", listing_id="l1")
    first = await shop.send(long, "alice", "first", key="old")
    for text in ("once", "twice"):
        first = await shop.edit(first, text=text, metadata={"edited": text})
    for number in range(40):
        sender = "bob" if number % 3 else "alice"
        message = await shop.send(long, sender, f"{number}")
        shop.time.advance(4 * DAY_MS if number % 8 == 0 else MINUTE_MS)
        if number % 10 == 5:
            await shop.read(long, "alice")
        if number % 10 == 7:
            await shop.receive(long, "bob")
    await shop.edit(message, text="edited and gone")
    await shop.delete(message)
    await shop.send(long, "bob", "short-lived", expires_in_ms=MINUTE_MS)
    await shop.send(long, "bob", "expires", expires_in_ms=300 * DAY_MS)
    for name in ("archived", "pinned", "muted", "hidden", "silent", "unhidden", "closed"):
        conversations[name] = await shop.direct("alice", name, listing_id="l2")
        if name not in ("silent", "closed"):
            await shop.send(conversations[name], name, f"hello from {name}")
    conversations["unread"] = await shop.direct("alice", "carol")
    await shop.write(*(shop.message(conversations["unread"], "carol") for _ in range(103)))
    await _settle(shop, conversations)
    return first


async def _settle(shop: Shop, conversations: dict[str, str]) -> None:
    """Own settings, and what became of some conversations."""
    await shop.settings(conversations["archived"], "alice", archived=True)
    await shop.settings(conversations["pinned"], "alice", pinned=True)
    await shop.settings(conversations["muted"], "alice", muted_until=shop.time() + 900 * DAY_MS)
    for name in ("hidden", "unhidden", "silent"):
        await shop.settings(conversations[name], "alice", hidden=True)
    shop.time.advance(MINUTE_MS)
    await shop.send(conversations["unhidden"], "unhidden", "back again")
    await shop.write(
        writes.ReviseConversation(
            tenant=shop.tenant,
            conversation_id=conversations["closed"],
            change_id=shop.ids.next_id(),
            status="closed",
            title="Closed",
            metadata={"why": ["sold", 1, None]},
        )
    )
    gone = await shop.direct("alice", "gone")
    await shop.send(gone, "gone", "never to be read again", key="gone")
    await shop.delete_conversation(gone)
    shop.time.advance(MINUTE_MS)
    conversations["again"] = await shop.direct("alice", "again")
    await shop.send(conversations["again"], "again", "in the former one")
    await shop.delete_conversation(conversations["again"])
    shop.time.advance(MINUTE_MS)
    await shop.direct("alice", "again")
    await shop.send(conversations["again"], "again", "in the one after")


async def _gather(shop: Shop, conversations: dict[str, str]) -> None:
    """A group: roles, who came and went, receipts told and not."""
    group = conversations["group"] = await shop.group("alice", "bob", "carol", "dave")
    for number in range(6):
        await shop.send(group, "carol", f"to all {number}")
        shop.time.advance(MINUTE_MS)
    await shop.remove(group, "dave")
    await shop.add(group, "erin")
    await shop.write(
        writes.SetRole(
            tenant=shop.tenant,
            conversation_id=group,
            change_id=shop.ids.next_id(),
            user_id="bob",
            role="moderator",
        )
    )
    await shop.read(group, "bob", public=False)
    message = await shop.send(group, "alice", "the last")
    await shop.receive(group, "carol", message.id)
    await shop.receive(group, "erin", public=False)
    shop.time.advance(MINUTE_MS)


async def _crowds(shop: Shop, conversations: dict[str, str]) -> None:
    """A channel that was crowded from its beginning, and one that became so."""
    crowd = conversations["crowd"] = await shop.group("alice", *CROWD, kind="channel")
    grown = conversations["grown"] = await shop.group("alice", *CROWD[:-1], kind="channel")
    await shop.send(grown, "alice", "small yet")
    shop.time.advance(MINUTE_MS)
    await shop.add(grown, CROWD[-1])
    for channel in (crowd, grown):
        for number in range(3):
            message = await shop.send(channel, "alice", f"{number}", broadcast=True)
            shop.time.advance(DAY_MS)
        await shop.edit(message, text="corrected")
        await shop.read(channel, CROWD[3], public=False)


async def _trade(shop: Shop, conversations: dict[str, str]) -> None:
    """Products and orders."""
    shop_of = conversations["shop"] = await shop.direct("alice", "bob", product_id="p1")
    for product in (shop.product(1), shop.product(2), shop.product(7, "p2")):
        await shop.write(writes.PutProduct(tenant=shop.tenant, product=product))
    for product_id in ("p2", "unknown"):
        retired = writes.RetireProduct(tenant=shop.tenant, product_id=product_id, version=9)
        await shop.write(retired)
    card = {"product_id": "p2"}
    await shop.send(shop_of, "bob", None, content_type="product", metadata=card)
    for order_id in ("o2", "o1"):
        await shop.write(
            writes.LinkOrder(
                tenant=shop.tenant,
                conversation_id=shop_of,
                change_id=shop.ids.next_id(),
                order=shop.order(order_id),
            ),
            handles=(shop.tenant, f"event {order_id}"),
        )
        shop.time.advance(MINUTE_MS)
    await shop.write(
        writes.SetOrderStatus(
            tenant=shop.tenant,
            change_id=shop.ids.next_id(),
            order_id="o1",
            change=StatusChange("shipped", "2026-02-01T00:00:00.000Z"),
        )
    )


async def _people(shop: Shop) -> None:
    """Blocks, suspensions, revocations, who was there."""
    await shop.block("alice", "mallory")
    await shop.block("bob", "alice")
    await shop.block("bob", "carol")
    await shop.block("bob", "carol", blocked=False)
    for user_id, until in (("mallory", None), ("trudy", shop.time() + DAY_MS)):
        await shop.write(
            writes.SetSuspension(
                tenant=shop.tenant,
                change_id=shop.ids.next_id(),
                user_id=user_id,
                suspended=True,
                until=until,
                reason="spam",
            )
        )
    for which in ({"user_id": "trudy"}, {"token_id": "trudy"}):
        revoke = writes.Revoke(tenant=shop.tenant, change_id=shop.ids.next_id(), **which)
        await shop.write(revoke)
    for online in (True, False):
        await shop.write(
            writes.SetLastSeen(
                tenant=shop.tenant,
                event_id=shop.ids.next_id(),
                user_id="alice",
                online=online,
                last_seen=shop.time(),
            )
        )


async def _keys(shop: Shop, conversations: dict[str, str]) -> tuple[Message, Message]:
    """So many keys that some are filed in their table, and some are not yet."""
    busy = conversations["busy"] = await shop.direct("alice", "busy")
    # More events than fit into one request.
    text = "much to say " * 50
    many = [shop.message(busy, "busy", text, key=f"k{number}") for number in range(ROUND + 100)]
    stored = await shop.write(*many)
    first: Message = min((each.message for each in stored), key=lambda each: str(each.key))
    for number in range(40):
        last = await shop.send(busy, "alice", f"{number}", key=f"late {number}")
    return first, last


async def _of_another_tenant(shop: Shop) -> None:
    conversation = await shop.direct("alice", "bob")
    await shop.send(conversation, "bob", "of another tenant", key="old")
    await shop.block("alice", "bob")
