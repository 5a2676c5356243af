"""Products, orders, blocks, suspensions, last seen."""

import pytest

from tradewire.domain import writes
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import id_ms
from tradewire.domain.types import StatusChange
from tradewire.ports import Block, Suspension
from tradewire.testing.store_contract.shop import Shop


class CommerceContract:
    """Contract of ports.Catalogue and ports.People."""

    async def test_the_newest_version_of_a_product_wins(self, shop: Shop) -> None:
        assert await self._put(shop, 2)
        assert not await self._put(shop, 1)
        assert not await self._put(shop, 2)
        assert await self._put(shop, 3)
        found = await shop.store.catalogue.products(shop.tenant, ["p1", "unknown"])
        assert found == {"p1": shop.product(3)}
        assert await shop.store.catalogue.products(shop.elsewhere, ["p1"]) == {}

    async def test_a_deleted_product_keeps_its_card(self, shop: Shop) -> None:
        await self._put(shop, 2)
        assert not await self._retire(shop, 1)
        assert await self._retire(shop, 3)
        found = await shop.store.catalogue.products(shop.tenant, ["p1"])
        assert (found["p1"].status, found["p1"].version) == ("deleted", 3)
        assert not await self._put(shop, 3)
        assert await self._put(shop, 4)

    async def test_a_product_deleted_before_it_was_known_stays_away(self, shop: Shop) -> None:
        assert await self._retire(shop, 5)
        assert not await self._put(shop, 4)
        assert await shop.store.catalogue.products(shop.tenant, ["p1"]) == {}
        assert await self._put(shop, 6)

    async def test_which_conversations_show_a_product(self, shop: Shop) -> None:
        about = await shop.direct("alice", "bob", product_id="p1")
        told = await shop.direct("alice", "carol")
        other = await shop.direct("alice", "dave")
        for _ in range(2):
            await shop.send(
                told, "alice", None, content_type="product", metadata={"product_id": "p1"}
            )
        await shop.send(other, "alice", "p1", metadata={"product_id": "p1"})
        showing = shop.store.conversations.showing_product
        both = sorted((about, told))
        assert await showing(shop.tenant, "p1", "", 10) == both
        assert await showing(shop.tenant, "p1", "", 1) == both[:1]
        assert await showing(shop.tenant, "p1", both[0], 10) == both[1:]
        assert await showing(shop.elsewhere, "p1", "", 10) == []

    async def test_a_touched_product_is_told_on_resume(self, shop: Shop) -> None:
        conversation = await shop.direct(product_id="p1")
        since = await shop.store.journal.newest_id()
        await shop.write(
            writes.TouchProduct(
                tenant=shop.tenant,
                conversation_id=conversation,
                change_id=shop.ids.next_id(),
                product_id="p1",
            )
        )
        [change] = (await shop.missed("bob", since)).changes
        assert (change.kind, change.subject) == ("ProductUpdated", "p1")

    async def test_an_order_is_linked_once(self, shop: Shop) -> None:
        conversation = await shop.direct()
        assert await self._link(shop, conversation)
        assert not await self._link(shop, conversation)
        catalogue = shop.store.catalogue
        assert await catalogue.orders(shop.tenant, ["o1", "o2"]) == {"o1": shop.order()}
        assert await catalogue.order_conversation(shop.tenant, "o1") == conversation
        assert await catalogue.order_conversation(shop.tenant, "o2") is None
        assert await catalogue.orders(shop.elsewhere, ["o1"]) == {}
        assert await catalogue.order_conversation(shop.elsewhere, "o1") is None
        assert (await shop.view("alice", conversation)).order_ids == ["o1"]
        [_, change] = (await shop.missed("alice", 0)).changes
        assert (change.kind, change.subject) == ("OrderLinked", "o1")

    async def test_an_order_needs_its_conversation(self, shop: Shop) -> None:
        with pytest.raises(NotFound):
            await self._link(shop, "no-such")
        assert await shop.store.catalogue.orders(shop.tenant, ["o1"]) == {}

    async def test_the_newest_status_wins_in_any_order_of_arrival(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await self._link(shop, conversation)
        shipped = await self._status(shop, "shipped", "2026-01-03T00:00:00.000Z")
        paid = await self._status(shop, "paid", "2026-01-02T00:00:00.000Z")
        again = await self._status(shop, "paid", "2026-01-02T00:00:00.000Z")
        assert shipped is not None
        assert shipped.conversation_id == conversation
        assert paid is not None
        assert paid.order.status == "shipped"
        assert again is None
        order = (await shop.store.catalogue.orders(shop.tenant, ["o1"]))["o1"]
        assert [change.status for change in order.history] == ["placed", "paid", "shipped"]
        [*_, last] = (await shop.missed("bob", 0)).changes
        assert (last.kind, last.subject) == ("OrderUpdated", "o1")

    async def test_an_order_outlives_its_conversation(self, shop: Shop) -> None:
        conversation = await shop.direct()
        await self._link(shop, conversation)
        await shop.delete_conversation(conversation)
        assert await self._status(shop, "paid", "2026-01-02T00:00:00.000Z") is not None
        with pytest.raises(NotFound):
            await self._status(shop, "paid", "2026-01-02T00:00:00.000Z", order_id="o2")

    async def test_blocks(self, shop: Shop) -> None:
        people = shop.store.people
        assert await shop.block("alice", "bob")
        since = shop.time()
        assert not await shop.block("alice", "bob")
        shop.time.advance(1_000)
        await shop.block("alice", "anna")
        await shop.block("carol", "alice")
        assert await people.blocked_by(shop.tenant, "alice") == [
            Block("anna", since + 1_000),
            Block("bob", since),
        ]
        assert await people.block_relations(shop.tenant, "alice") == {"anna", "bob", "carol"}
        assert await people.block_relations(shop.tenant, "bob") == {"alice"}
        assert await shop.block("alice", "bob", blocked=False)
        assert not await shop.block("alice", "bob", blocked=False)
        assert await people.block_relations(shop.tenant, "bob") == frozenset()
        assert await people.blocked_by(shop.elsewhere, "alice") == []
        assert await people.block_relations(shop.elsewhere, "alice") == frozenset()

    async def test_suspensions(self, shop: Shop) -> None:
        people = shop.store.people

        async def suspend(suspended: bool, **given: object) -> None:
            await shop.write(
                writes.SetSuspension(
                    tenant=shop.tenant,
                    change_id=shop.ids.next_id(),
                    user_id="alice",
                    suspended=suspended,
                    **given,  # type: ignore[arg-type]
                )
            )

        assert await people.suspension(shop.tenant, "alice") is None
        await suspend(True, until=5, reason="spam")
        assert await people.suspension(shop.tenant, "alice") == Suspension(5, "spam")
        await suspend(True)
        assert await people.suspension(shop.tenant, "alice") == Suspension(None, None)
        assert await people.suspension(shop.elsewhere, "alice") is None
        await suspend(False)
        assert await people.suspension(shop.tenant, "alice") is None

    async def test_the_tokens_of_a_user_are_revoked_as_of_the_last_time(self, shop: Shop) -> None:
        people, first = shop.store.people, shop.ids.next_id()
        assert await people.revoked_at(shop.tenant, "alice") is None
        shop.time.advance(1_500)
        last = await self._revoke(shop, user_id="alice")
        assert await people.revoked_at(shop.tenant, "alice") == id_ms(last)
        again = writes.Revoke(tenant=shop.tenant, change_id=first, user_id="alice")
        await shop.write(again)
        assert await people.revoked_at(shop.tenant, "alice") == id_ms(last)
        shop.time.advance(1_500)
        last = await self._revoke(shop, user_id="alice")
        assert await people.revoked_at(shop.tenant, "alice") == id_ms(last)
        assert await people.revoked_at(shop.tenant, "bob") is None
        assert await people.revoked_at(shop.elsewhere, "alice") is None

    async def test_a_token_is_revoked_by_its_id(self, shop: Shop) -> None:
        people = shop.store.people
        assert not await people.token_revoked(shop.tenant, "t-1")
        for _ in range(2):
            await self._revoke(shop, token_id="t-1")  # noqa: S106 - it names one
            assert await people.token_revoked(shop.tenant, "t-1")
        assert not await people.token_revoked(shop.tenant, "t-2")
        assert not await people.token_revoked(shop.elsewhere, "t-1")
        assert await people.revoked_at(shop.tenant, "t-1") is None

    async def test_last_seen(self, shop: Shop) -> None:
        for user, at in (("alice", 5_000), ("bob", 7_000), ("alice", 9_000)):
            write = writes.SetLastSeen(
                tenant=shop.tenant,
                event_id=shop.ids.next_id(),
                user_id=user,
                online=False,
                last_seen=at,
            )
            await shop.write(write)
        people = shop.store.people
        asked = ["bob", "alice", "carol"]
        assert await people.last_seen(shop.tenant, asked) == {"alice": 9_000, "bob": 7_000}
        assert await people.last_seen(shop.elsewhere, asked) == {}

    async def _revoke(
        self, shop: Shop, *, user_id: str | None = None, token_id: str | None = None
    ) -> int:
        change_id = shop.ids.next_id()
        await shop.write(
            writes.Revoke(
                tenant=shop.tenant, change_id=change_id, user_id=user_id, token_id=token_id
            )
        )
        return change_id

    async def _put(self, shop: Shop, version: int) -> bool:
        write = writes.PutProduct(tenant=shop.tenant, product=shop.product(version))
        return bool((await shop.write(write))[0])

    async def _retire(self, shop: Shop, version: int) -> bool:
        write = writes.RetireProduct(tenant=shop.tenant, product_id="p1", version=version)
        return bool((await shop.write(write))[0])

    async def _link(self, shop: Shop, conversation: str) -> bool:
        write = writes.LinkOrder(
            tenant=shop.tenant,
            conversation_id=conversation,
            change_id=shop.ids.next_id(),
            order=shop.order(),
        )
        return bool((await shop.write(write))[0])

    async def _status(
        self, shop: Shop, status: str, changed_at: str, order_id: str = "o1"
    ) -> writes.OrderChanged | None:
        write = writes.SetOrderStatus(
            tenant=shop.tenant,
            change_id=shop.ids.next_id(),
            order_id=order_id,
            change=StatusChange(status, changed_at),
        )
        changed: writes.OrderChanged | None = (await shop.write(write))[0]
        return changed
