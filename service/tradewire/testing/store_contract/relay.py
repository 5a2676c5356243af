"""What a store owes who publishes its log: who that is, and how far it came."""

from tradewire.ports import Store
from tradewire.testing.store_contract.shop import Shop


class RelayContract:
    """Contract of ports.Relay."""

    async def test_one_alone_leads_and_goes_on_leading(self, store: Store) -> None:
        assert [await store.relay.leads() for _ in range(3)] == [True] * 3

    async def test_the_cursor_is_where_it_was_moved(self, shop: Shop) -> None:
        relay = shop.store.relay
        assert await relay.cursor() == 0
        first, second = shop.ids.next_id(), shop.ids.next_id()
        for cursor in (first, second):
            await relay.move(cursor)
            assert await relay.cursor() == cursor

    async def test_the_cursor_never_moves_back(self, shop: Shop) -> None:
        relay = shop.store.relay
        first, second = shop.ids.next_id(), shop.ids.next_id()
        shop.time.advance(1_000)
        third = shop.ids.next_id()
        for cursor in (third, second, first):
            await relay.move(cursor)
            assert await relay.cursor() == third

    async def test_the_log_goes_on_above_the_cursor(self, shop: Shop) -> None:
        conversation = await shop.direct()
        sent = [await shop.send(conversation, text=str(number)) for number in range(3)]
        await shop.store.relay.move(sent[0].id)
        events = await shop.store.journal.events(await shop.store.relay.cursor(), 10)
        assert [event.id for event in events] == [message.id for message in sent[1:]]
