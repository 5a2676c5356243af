"""Domain events of other services: what they change, and who is told what in which order."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from math import inf
from typing import Any

import pytest
from msgspec import Struct

from tradewire.adapters.memory import MemoryStore
from tradewire.domain.contexts import direct_conversation
from tradewire.domain.errors import Close, InvalidField, TextTooLong, TradewireError
from tradewire.domain.events import (
    ConversationCreated,
    Event,
    MessageReceived,
    OrderLinked,
    OrderUpdated,
    ProductUpdated,
    UserBlocked,
)
from tradewire.domain.ids import Clock, direct_conversation_id, timestamp
from tradewire.domain.incoming import (
    IncomingData,
    IncomingEvent,
    OrderCreated,
    OrderStatusChanged,
    ProductDeleted,
    UserUnblocked,
)
from tradewire.domain.incoming import ProductUpdated as ProductEvent
from tradewire.domain.incoming import UserBlocked as BlockedEvent
from tradewire.domain.types import SYSTEM, Message, Money, OrderItem, Presence
from tradewire.domain.writes import CreateConversation, DeleteConversation, NewMessage
from tradewire.usecases.commerce import Commerce
from tradewire.usecases.context import Context
from tradewire.usecases.products import PAGE

TENANT = "shop"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
YEAR_10000 = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))
MAX_ID = (1 << 63) - 1


class Told(Struct):
    """One call of `Hub.publish`."""

    tenant: str
    users: set[str]
    event: Event
    event_id: int


class RecordingHub:
    """Takes down what it is asked to tell."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.disconnected: list[tuple[str, str, Close]] = []

    def publish(
        self,
        tenant: str,
        user_ids: Iterable[str],
        event: Event,
        *,
        event_id: int = 0,
        skip: str | None = None,
    ) -> None:
        assert skip is None
        self.told.append(Told(tenant, set(user_ids), event, event_id))

    def tell_watchers(
        self, tenant: str, user_id: str, event: Event, hidden: frozenset[str]
    ) -> None:
        raise AssertionError("no event of commerce is about presence")

    def doubt_keys(self, session_id: str) -> None: ...

    def connected(self, tenant: str, user_id: str) -> bool:
        raise AssertionError("commerce does not ask who is connected")

    def expect(self, tenant: str, user_ids: Iterable[str]) -> None: ...

    async def elsewhere(self, tenant: str, user_ids: Sequence[str]) -> frozenset[str]:
        raise AssertionError("commerce does not ask who is connected")

    def changed(self, cache: str, tenant: str, key: str) -> None: ...

    def appears(self, tenant: str, user_id: str, status: Presence | None) -> None: ...

    def disconnect(
        self, tenant: str, user_id: str, code: Close, *, issued_before: float = inf
    ) -> int:
        assert issued_before == inf
        self.disconnected.append((tenant, user_id, code))
        return 1

    def disconnect_token(self, tenant: str, token_id: str) -> int:
        raise AssertionError("commerce revokes nothing")

    @property
    def types(self) -> list[type[Event]]:
        return [type(told.event) for told in self.told]

    def only(self, kind: type[Event]) -> Any:
        (event,) = (told.event for told in self.told if type(told.event) is kind)
        return event


class Shop:
    """A store, a recording hub, and the use cases between them."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.hub = RecordingHub()
        self.clock = Clock(lambda: NOON_MS)
        self.context = Context(store, self.hub, self.clock)
        self.commerce = Commerce(self.context)
        self._ids = count(1)

    def event(
        self, data: IncomingData, ce_id: str | None = None, tenant: str = TENANT
    ) -> IncomingEvent:
        name = f"ce-{next(self._ids)}" if ce_id is None else ce_id
        return IncomingEvent(name, tenant, type(data).__name__, None, data)

    async def handle(self, data: IncomingData, ce_id: str | None = None) -> bool:
        return await self.commerce.handle(self.event(data, ce_id))

    async def messages(self, conversation_id: str) -> list[Message]:
        return await self.store.messages.after(TENANT, conversation_id, 0, 200)

    async def show_product(self, product_id: str, buyer: str, seller: str) -> str:
        """A conversation about a product."""
        change_id = self.clock.next_id()
        conversation, members = direct_conversation(
            TENANT, change_id, buyer, seller, created_by=buyer, product_id=product_id
        )
        await self.context.commit(
            CreateConversation(
                tenant=TENANT,
                conversation_id=conversation.conversation_id,
                change_id=change_id,
                conversation=conversation,
                members=members,
                shown_to=buyer,
            )
        )
        return conversation.conversation_id


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    store = MemoryStore(lambda: NOON_MS)
    await store.open()
    yield Shop(store)
    await store.close()


def order(order_id: str = "o-1", **fields: Any) -> OrderCreated:
    given: dict[str, Any] = {
        "buyer_id": "alice",
        "seller_id": "bob",
        "items": [item("p-1")],
        "total": Money(40, "EUR"),
        "status": "paid",
        "created_at": NOON,
    }
    return OrderCreated(order_id=order_id, **{**given, **fields})


def item(product_id: str) -> OrderItem:
    return OrderItem(
        product_id=product_id, title="Lamp", quantity=2, unit_price=Money("20.00", "EUR")
    )


def shipped(order_id: str = "o-1", minutes: int = 5, status: str = "shipped") -> OrderStatusChanged:
    moment = NOON + timedelta(minutes=minutes)
    return OrderStatusChanged(order_id=order_id, status=status, changed_at=moment)


def product(version: int, product_id: str = "p-1", title: str = "Lamp") -> ProductEvent:
    return ProductEvent(
        product_id=product_id,
        seller_id="bob",
        title=title,
        price=Money(20, "EUR"),
        status="available",
        version=version,
    )


def conversation_of(context: str, tenant: str = TENANT) -> str:
    return direct_conversation_id(tenant, context, "alice", "bob")


class TestOrderCreated:
    async def test_it_makes_the_conversation_links_the_order_and_posts_its_card(
        self, shop: Shop
    ) -> None:
        assert await shop.handle(order(listing_id="l-1"))

        assert shop.hub.types == [ConversationCreated, OrderLinked, MessageReceived]
        assert all(told.users == {"alice", "bob"} for told in shop.hub.told)
        assert all(told.tenant == TENANT for told in shop.hub.told)
        ids = [told.event_id for told in shop.hub.told]
        assert ids == sorted(set(ids))
        created = shop.hub.only(ConversationCreated)
        assert created.change_id == str(ids[0])
        assert created.conversation.conversation_id == conversation_of("listing:l-1")
        assert created.conversation.listing_id == "l-1"
        assert [(m.user_id, m.role) for m in created.conversation.members] == [
            ("alice", "member"),
            ("bob", "member"),
        ]
        linked = shop.hub.only(OrderLinked)
        assert linked.change_id == str(ids[1])
        assert linked.order.history[0].changed_at == "2026-11-20T12:00:00.000Z"
        message = shop.hub.only(MessageReceived).message
        assert message.id == ids[2]
        assert (message.sender_id, message.content_type) == (SYSTEM, "order")
        assert message.metadata == {"order_id": "o-1"}
        assert message.card == linked.order

    async def test_the_store_has_what_was_told(self, shop: Shop) -> None:
        await shop.handle(order(listing_id="l-1"))
        conversation_id = conversation_of("listing:l-1")

        assert await shop.store.catalogue.order_conversation(TENANT, "o-1") == conversation_id
        (card,) = (await shop.store.catalogue.orders(TENANT, ["o-1"])).values()
        assert (card.buyer_id, card.status, card.items[0].title) == ("alice", "paid", "Lamp")
        (stored,) = await shop.messages(conversation_id)
        assert (stored.content_type, stored.metadata) == ("order", {"order_id": "o-1"})

    @pytest.mark.parametrize(
        ("fields", "context"),
        [
            ({"listing_id": "l-1"}, "listing:l-1"),
            ({}, "product:p-1"),
            ({"items": [item("p-1"), item("p-1")]}, "product:p-1"),
            ({"items": [item("p-1"), item("p-2")]}, "user"),
            ({"items": []}, "user"),
        ],
    )
    async def test_the_conversation_is_that_of_listing_product_or_users(
        self, shop: Shop, fields: dict[str, Any], context: str
    ) -> None:
        await shop.handle(order(**fields))
        found = await shop.store.catalogue.order_conversation(TENANT, "o-1")
        assert found == conversation_of(context)

    async def test_a_second_order_joins_the_conversation_that_is_there(self, shop: Shop) -> None:
        await shop.handle(order("o-1"))
        shop.hub.told.clear()
        await shop.handle(order("o-2"))

        assert shop.hub.types == [OrderLinked, MessageReceived]
        assert len(await shop.messages(conversation_of("product:p-1"))) == 2

    async def test_the_same_event_again_is_a_duplicate_without_effect(self, shop: Shop) -> None:
        assert await shop.handle(order(), ce_id="same")
        shop.hub.told.clear()

        assert not await shop.handle(order(), ce_id="same")
        assert shop.hub.told == []
        assert len(await shop.messages(conversation_of("product:p-1"))) == 1

    async def test_a_known_order_under_another_event_has_no_second_effect(self, shop: Shop) -> None:
        await shop.handle(order())
        shop.hub.told.clear()

        assert await shop.handle(order(status="other", listing_id="l-9"), ce_id="again")
        assert not await shop.handle(order(), ce_id="again")
        assert shop.hub.told == []
        assert len(await shop.messages(conversation_of("product:p-1"))) == 1
        (card,) = (await shop.store.catalogue.orders(TENANT, ["o-1"])).values()
        assert card.status == "paid"
        assert await shop.store.conversations.access(TENANT, conversation_of("listing:l-9")) is None

    @pytest.mark.parametrize("ce_ids", [("same", "same"), ("one", "other")])
    async def test_two_that_come_at_once_have_the_effect_of_one(
        self, shop: Shop, ce_ids: tuple[str, str]
    ) -> None:
        handled = await asyncio.gather(*(shop.handle(order(), ce_id) for ce_id in ce_ids))

        assert sum(handled) == len(set(ce_ids))
        assert shop.hub.types == [ConversationCreated, OrderLinked, MessageReceived]
        assert len(await shop.messages(conversation_of("product:p-1"))) == 1

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"seller_id": "alice"}, "seller_id"),
            ({"buyer_id": SYSTEM}, "buyer_id"),
            ({"seller_id": SYSTEM}, "seller_id"),
            ({"created_at": YEAR_10000}, "created_at"),
            ({"created_at": datetime(1969, 12, 31, tzinfo=UTC)}, "created_at"),
            ({"status": "a\0b"}, "status"),
        ],
    )
    async def test_what_cannot_be_linked_is_refused_and_leaves_nothing(
        self, shop: Shop, fields: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidField) as caught:
            await shop.handle(order(**fields))
        assert caught.value.field == field
        assert shop.hub.told == []
        assert await shop.store.catalogue.orders(TENANT, ["o-1"]) == {}


class TestOrderStatusChanged:
    async def test_it_updates_the_card_and_posts_one_system_message(self, shop: Shop) -> None:
        await shop.handle(order())
        shop.hub.told.clear()
        assert await shop.handle(shipped())

        assert shop.hub.types == [OrderUpdated, MessageReceived]
        assert all(told.users == {"alice", "bob"} for told in shop.hub.told)
        updated = shop.hub.only(OrderUpdated)
        assert updated.order.status == "shipped"
        assert [change.status for change in updated.order.history] == ["paid", "shipped"]
        message = shop.hub.only(MessageReceived).message
        assert (message.sender_id, message.content_type) == (SYSTEM, "system")
        assert message.text == "Order o-1: shipped"
        assert message.metadata == {"order_id": "o-1", "status": "shipped"}
        assert shop.hub.told[0].event_id < shop.hub.told[1].event_id

    async def test_the_newest_status_stays_when_an_older_one_comes_late(self, shop: Shop) -> None:
        await shop.handle(order())
        await shop.handle(shipped(minutes=9, status="delivered"))
        await shop.handle(shipped(minutes=5, status="shipped"))

        (card,) = (await shop.store.catalogue.orders(TENANT, ["o-1"])).values()
        assert card.status == "delivered"
        texts = [message.text for message in await shop.messages(conversation_of("product:p-1"))]
        assert texts == [None, "Order o-1: delivered", "Order o-1: shipped"]

    async def test_the_same_status_is_told_once_by_however_many_events(self, shop: Shop) -> None:
        await shop.handle(order())
        assert await shop.handle(shipped(), ce_id="first")
        shop.hub.told.clear()

        assert not await shop.handle(shipped(), ce_id="first")
        assert await shop.handle(shipped(), ce_id="second")
        assert not await shop.handle(shipped(), ce_id="second")
        assert shop.hub.told == []
        assert len(await shop.messages(conversation_of("product:p-1"))) == 2

    async def test_an_order_whose_conversation_is_gone_takes_its_status_in_silence(
        self, shop: Shop
    ) -> None:
        await shop.handle(order())
        conversation_id = conversation_of("product:p-1")
        await shop.context.commit(
            DeleteConversation(
                tenant=TENANT, conversation_id=conversation_id, change_id=shop.clock.next_id()
            )
        )
        shop.hub.told.clear()

        assert await shop.handle(shipped())
        assert shop.hub.told == []
        assert (await shop.store.catalogue.orders(TENANT, ["o-1"]))["o-1"].status == "shipped"

    async def test_an_unknown_order_is_refused_with_the_field_named(self, shop: Shop) -> None:
        with pytest.raises(InvalidField) as caught:
            await shop.handle(shipped("o-404"))
        assert caught.value.field == "order_id"

    async def test_an_order_of_another_tenant_is_unknown(self, shop: Shop) -> None:
        await shop.handle(order())
        with pytest.raises(InvalidField):
            await shop.commerce.handle(shop.event(shipped(), tenant="other"))

    async def test_a_status_too_long_to_post_is_refused(self, shop: Shop) -> None:
        await shop.handle(order())
        with pytest.raises(TextTooLong) as caught:
            await shop.handle(shipped(status="x" * 10_001))
        assert caught.value.field == "status"


class TestProducts:
    async def test_a_new_version_is_told_to_everyone_who_sees_the_card(self, shop: Shop) -> None:
        first = await shop.show_product("p-1", "alice", "bob")
        second = await shop.show_product("p-1", "carol", "bob")
        await shop.show_product("p-2", "dave", "bob")
        assert await shop.handle(product(1, title="Lamp, red"))

        assert shop.hub.types == [ProductUpdated, ProductUpdated]
        told = {each.event.conversation_id: each.users for each in shop.hub.told}  # type: ignore[attr-defined]
        assert told == {first: {"alice", "bob"}, second: {"carol", "bob"}}
        assert {each.event.product.title for each in shop.hub.told} == {"Lamp, red"}  # type: ignore[attr-defined]
        for each in shop.hub.told:
            assert each.event.change_id == str(each.event_id)  # type: ignore[attr-defined]

    async def test_a_resuming_client_hears_of_it(self, shop: Shop) -> None:
        conversation_id = await shop.show_product("p-1", "alice", "bob")
        before = shop.clock.next_id()
        await shop.handle(product(1))

        missed = await shop.store.conversations.missed(TENANT, "alice", before, 100)
        assert [(c.kind, c.conversation_id, c.subject) for c in missed.changes] == [
            ("ProductUpdated", conversation_id, "p-1")
        ]

    async def test_an_older_version_changes_nothing_and_counts_as_handled(self, shop: Shop) -> None:
        await shop.show_product("p-1", "alice", "bob")
        await shop.handle(product(5, title="new"))
        shop.hub.told.clear()

        assert await shop.handle(product(4, title="old"), ce_id="late")
        assert not await shop.handle(product(4, title="old"), ce_id="late")
        assert shop.hub.told == []
        (card,) = (await shop.store.catalogue.products(TENANT, ["p-1"])).values()
        assert card.title == "new"

    async def test_a_product_that_nobody_sees_is_stored_and_handled_once(self, shop: Shop) -> None:
        assert await shop.handle(product(1), ce_id="same")
        assert not await shop.handle(product(1), ce_id="same")
        assert (await shop.store.catalogue.products(TENANT, ["p-1"]))["p-1"].version == 1

    async def test_the_same_event_again_tells_nobody(self, shop: Shop) -> None:
        await shop.show_product("p-1", "alice", "bob")
        assert await shop.handle(product(1), ce_id="same")
        shop.hub.told.clear()

        assert not await shop.handle(product(1), ce_id="same")
        assert shop.hub.told == []

    async def test_an_event_cut_short_is_told_to_all_when_it_is_handled_again(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = {
            await shop.show_product("p-1", f"buyer-{number}", "bob") for number in range(PAGE + 50)
        }
        reads = count(1)
        page = shop.store.conversations.showing_product

        async def second_page_fails(*where: Any) -> list[str]:
            if next(reads) == 2:
                raise ConnectionError("the process dies here")
            return await page(*where)

        with monkeypatch.context() as patched:
            patched.setattr(shop.store.conversations, "showing_product", second_page_fails)
            with pytest.raises(ConnectionError):
                await shop.handle(product(1), ce_id="same")
        assert len(shop.hub.told) == PAGE

        assert await shop.handle(product(1), ce_id="same")
        assert {told.event.conversation_id for told in shop.hub.told} == shown  # type: ignore[attr-defined]

    async def test_a_deleted_product_keeps_its_card_with_that_status(self, shop: Shop) -> None:
        await shop.show_product("p-1", "alice", "bob")
        await shop.handle(product(1))
        shop.hub.told.clear()

        gone = ProductDeleted(product_id="p-1", version=2)
        assert await shop.handle(gone, ce_id="gone")
        assert not await shop.handle(gone, ce_id="gone")
        told = shop.hub.only(ProductUpdated)
        assert (told.product.status, told.product.title) == ("deleted", "Lamp")

    async def test_an_older_version_does_not_bring_a_deleted_product_back(self, shop: Shop) -> None:
        await shop.show_product("p-1", "alice", "bob")
        assert await shop.handle(ProductDeleted(product_id="p-1", version=7))
        assert await shop.handle(product(6))

        known = await shop.store.catalogue.products(TENANT, ["p-1"])
        assert all(card.status == "deleted" for card in known.values())
        assert all(told.event.product.status == "deleted" for told in shop.hub.told)  # type: ignore[attr-defined]


class TestUsers:
    async def test_a_block_between_two_stops_both_and_tells_the_blocker(self, shop: Shop) -> None:
        assert await shop.context.blocks.get((TENANT, "alice")) == frozenset()
        assert await shop.handle(BlockedEvent(user_id="alice", blocked_by="bob"))

        assert await shop.context.blocks.get((TENANT, "alice")) == {"bob"}
        assert await shop.context.blocks.get((TENANT, "bob")) == {"alice"}
        (told,) = shop.hub.told
        assert told.users == {"bob"}
        assert told.event == UserBlocked(
            change_id=str(told.event_id), user_id="alice", blocked=True
        )
        assert shop.hub.disconnected == []

    async def test_the_block_is_taken_back_the_same_way(self, shop: Shop) -> None:
        await shop.handle(BlockedEvent(user_id="alice", blocked_by="bob"))
        shop.hub.told.clear()
        assert await shop.handle(UserUnblocked(user_id="alice", blocked_by="bob"))

        assert await shop.context.blocks.get((TENANT, "bob")) == frozenset()
        assert shop.hub.only(UserBlocked).blocked is False

    async def test_a_block_that_stands_already_is_not_told_again(self, shop: Shop) -> None:
        await shop.handle(BlockedEvent(user_id="alice", blocked_by="bob"), ce_id="first")
        shop.hub.told.clear()

        assert not await shop.handle(BlockedEvent(user_id="alice", blocked_by="bob"), ce_id="first")
        assert await shop.handle(BlockedEvent(user_id="alice", blocked_by="bob"))
        assert shop.hub.told == []

    async def test_a_block_on_the_platform_suspends_and_disconnects(self, shop: Shop) -> None:
        assert await shop.context.suspensions.get((TENANT, "alice")) is None
        until = NOON + timedelta(days=1)
        assert await shop.handle(BlockedEvent(user_id="alice", reason="spam", until=until))

        suspension = await shop.context.suspensions.get((TENANT, "alice"))
        assert suspension is not None
        assert suspension.until is not None
        assert (timestamp(suspension.until), suspension.reason) == (
            "2026-11-21T12:00:00.000Z",
            "spam",
        )
        assert shop.hub.disconnected == [(TENANT, "alice", Close.BLOCKED)]
        assert shop.hub.told == []

    async def test_a_suspension_without_end_lasts(self, shop: Shop) -> None:
        await shop.handle(BlockedEvent(user_id="alice"))
        suspension = await shop.context.suspensions.get((TENANT, "alice"))
        assert suspension is not None
        assert suspension.until is None
        assert shop.hub.disconnected == [(TENANT, "alice", Close.BLOCKED)]

    async def test_a_suspension_that_is_over_disconnects_nobody(self, shop: Shop) -> None:
        assert await shop.handle(BlockedEvent(user_id="alice", until=NOON - timedelta(seconds=1)))
        assert shop.hub.disconnected == []

    async def test_the_suspension_is_lifted(self, shop: Shop) -> None:
        await shop.handle(BlockedEvent(user_id="alice"))
        assert await shop.context.suspensions.get((TENANT, "alice")) is not None
        assert await shop.handle(UserUnblocked(user_id="alice"))
        assert await shop.context.suspensions.get((TENANT, "alice")) is None

    @pytest.mark.parametrize(
        ("data", "field"),
        [
            (BlockedEvent(user_id="alice", blocked_by="alice"), "blocked_by"),
            (UserUnblocked(user_id="alice", blocked_by="alice"), "blocked_by"),
            (BlockedEvent(user_id="alice", until=datetime(1950, 1, 1, tzinfo=UTC)), "until"),
        ],
    )
    async def test_what_makes_no_sense_is_refused(
        self, shop: Shop, data: IncomingData, field: str
    ) -> None:
        with pytest.raises(InvalidField) as caught:
            await shop.handle(data)
        assert caught.value.field == field


class TestSeveralAtOnce:
    async def test_they_are_handled_in_order_and_counted(self, shop: Shop) -> None:
        events = [
            shop.event(order(), "a"),
            shop.event(shipped(), "b"),
            shop.event(order(), "a"),
            shop.event(product(1), "c"),
        ]
        assert await shop.commerce.handle_all(events) == (3, 1)
        assert await shop.commerce.handle_all(events) == (0, 4)
        texts = [message.text for message in await shop.messages(conversation_of("product:p-1"))]
        assert texts == [None, "Order o-1: shipped"]

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (shipped("o-404"), InvalidField),
            (order("o-2", seller_id="alice"), InvalidField),
            (BlockedEvent(user_id="x", blocked_by="x"), InvalidField),
        ],
    )
    async def test_one_that_is_invalid_leaves_all_without_effect(
        self, shop: Shop, data: IncomingData, error: type[TradewireError]
    ) -> None:
        with pytest.raises(error):
            await shop.commerce.handle_all([shop.event(order()), shop.event(data)])
        assert shop.hub.told == []
        assert await shop.store.catalogue.orders(TENANT, ["o-1"]) == {}

    async def test_an_order_of_the_same_request_is_known_only_after_it(self, shop: Shop) -> None:
        with pytest.raises(InvalidField):
            await shop.commerce.handle_all([shop.event(shipped()), shop.event(order())])
        assert shop.hub.told == []

    async def test_no_events_are_nothing(self, shop: Shop) -> None:
        assert await shop.commerce.handle_all([]) == (0, 0)


async def test_a_message_sent_before_stays_before_the_order(shop: Shop) -> None:
    conversation_id = await shop.show_product("p-1", "alice", "bob")
    message_id = shop.clock.next_id()
    text = Message(
        message_id=str(message_id),
        conversation_id=conversation_id,
        sender_id="alice",
        content_type="text",
        created_at=timestamp(NOON_MS),
        status="sent",
        text="I will take it.",
    )
    await shop.context.commit(
        NewMessage(
            tenant=TENANT,
            conversation_id=conversation_id,
            message_id=text.id,
            message=text,
        )
    )
    await shop.handle(order())

    newest = await shop.store.messages.before(TENANT, conversation_id, MAX_ID, 10)
    assert [message.content_type for message in newest] == ["text", "order"]
