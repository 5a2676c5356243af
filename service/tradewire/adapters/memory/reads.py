"""The reads of the memory store, each a plain look at the state."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from msgspec import structs

from tradewire.adapters.memory.state import Room, Seat, Tenant
from tradewire.domain import limits, rules
from tradewire.domain.errors import InvalidField
from tradewire.domain.ids import timestamp
from tradewire.domain.receipts import Receipt, add_status
from tradewire.domain.types import Conversation, Edit, Member, Message, OrderCard, ProductCard
from tradewire.ports import (
    Access,
    Block,
    InboxPage,
    InboxQuery,
    Missed,
    MissedChange,
    Suspension,
    Unread,
)

Find = Callable[[str], Tenant]


class ConversationReads:
    """See ports.Conversations."""

    def __init__(self, find: Find, now_ms: Callable[[], int]) -> None:
        self._find = find
        self._now_ms = now_ms

    async def access(self, tenant: str, conversation_id: str) -> Access | None:
        room = self._find(tenant).rooms.get(conversation_id)
        if room is None:
            return None
        roles = {user: seat.member.role for user, seat in room.seats.items()}
        return Access(structs.replace(room.conversation), roles)

    async def view(
        self, tenant: str, user_id: str, conversation_id: str, now: int
    ) -> Conversation | None:
        room = self._find(tenant).rooms.get(conversation_id)
        return _view(room, user_id, now) if room else None

    async def inbox(self, tenant: str, user_id: str, query: InboxQuery) -> InboxPage:
        rooms = sorted(
            (
                (room.created if query.sort == "created_at" else room.newest or room.created, room)
                for room, seat in _rooms_of(self._find(tenant), user_id)
                if _matches(room, seat, user_id, query)
            ),
            key=lambda pair: pair[0],
            reverse=query.descending,
        )
        if query.cursor is not None:
            after = _parse_cursor(query)
            rooms = [
                pair for pair in rooms if (pair[0] < after if query.descending else pair[0] > after)
            ]
        page = rooms[: query.limit]
        cursor = _cursor(page[-1][0], query) if len(rooms) > query.limit else None
        return InboxPage([_view(room, user_id, query.now) for _, room in page], cursor)

    async def unread(self, tenant: str, user_id: str, now: int) -> Unread:
        counted = [
            (room.conversation.conversation_id, count)
            for room, _, count in _unread_rooms(self._find(tenant), user_id, now)
        ]
        kept = dict(counted[: limits.UNREAD_CONVERSATIONS])
        capped = len(kept) < len(counted) or limits.UNREAD_PER_CONVERSATION in kept.values()
        return Unread(kept, capped)

    async def unread_total(self, tenant: str, user_id: str, now: int) -> int:
        counts = (
            count
            for _, seat, count in _unread_rooms(self._find(tenant), user_id, now)
            if not seat.archived and (seat.muted_until or 0) <= now
        )
        return sum(islice(counts, limits.UNREAD_CONVERSATIONS))

    async def members(
        self, tenant: str, conversation_id: str, after: str, limit: int
    ) -> list[Member]:
        room = self._find(tenant).rooms.get(conversation_id)
        seats = room.seats if room else {}
        users = sorted(user for user in seats if user > after)[:limit]
        return [structs.replace(seats[user].member) for user in users]

    async def members_named(
        self, tenant: str, conversation_id: str, user_ids: Sequence[str]
    ) -> list[Member]:
        room = self._find(tenant).rooms.get(conversation_id)
        seats = room.seats if room else {}
        return [structs.replace(seats[user].member) for user in user_ids if user in seats]

    async def showing_product(
        self, tenant: str, product_id: str, after: str, limit: int
    ) -> list[str]:
        shown = self._find(tenant).shown_products.get(product_id, set())
        return sorted(room for room in shown if room > after)[:limit]

    async def missed(self, tenant: str, user_id: str, after: int, limit: int) -> Missed:
        state = self._find(tenant)
        messages: dict[int, Message] = {}
        changes: dict[tuple[str, str, str], MissedChange] = {}
        own = list(state.user_changes.get(user_id, ()))
        for room, _ in _rooms_of(state, user_id):
            own += room.changes
            own += _receipts(room, user_id)
            for message in room.messages.values():
                messages[message.id] = rules.as_of(message, self._now_ms())
        for change in sorted(own, key=lambda change: change.change_id):
            changes[change.conversation_id, change.kind, change.subject] = change
        ids = sorted(
            [number for number in messages if number > after]
            + [change.change_id for change in changes.values() if change.change_id > after]
        )
        last = ids[limit - 1] if len(ids) > limit else ids[-1] if ids else 0
        return Missed(
            [
                structs.replace(messages[number])
                for number in sorted(messages)
                if after < number <= last
            ],
            sorted(
                (change for change in changes.values() if after < change.change_id <= last),
                key=lambda change: change.change_id,
            ),
            len(ids) > limit,
        )


class MessageReads:
    """See ports.Messages."""

    def __init__(
        self, find: Find, tenants: Callable[[], dict[str, Tenant]], now_ms: Callable[[], int]
    ) -> None:
        self._find = find
        self._tenants = tenants
        self._now_ms = now_ms

    async def by_id(self, tenant: str, ids: Sequence[tuple[str, int]]) -> list[Message]:
        found = (
            self._messages(tenant, conversation_id).get(message_id)
            for conversation_id, message_id in ids
        )
        return self._as_read(message for message in found if message is not None)

    async def before(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        messages = self._messages(tenant, conversation_id)
        older = [message for number, message in messages.items() if number < message_id]
        return await self._page(tenant, conversation_id, older[-limit:] if limit else [])

    async def after(
        self, tenant: str, conversation_id: str, message_id: int, limit: int
    ) -> list[Message]:
        messages = self._messages(tenant, conversation_id)
        newer = [message for number, message in messages.items() if number > message_id]
        return await self._page(tenant, conversation_id, newer[:limit])

    async def edits(self, tenant: str, conversation_id: str, message_id: int) -> list[Edit]:
        room = self._find(tenant).rooms.get(conversation_id)
        message = room.messages.get(message_id) if room else None
        if room is None or message is None or rules.as_of(message, self._now_ms()).deleted:
            return []
        return list(room.edits.get(message_id, ()))

    async def receipts(self, tenant: str, conversation_id: str) -> list[Receipt]:
        room = self._find(tenant).rooms.get(conversation_id)
        if room is None or len(room.seats) > limits.RECEIPT_MEMBERS:
            return []
        return [Receipt.of(seat.member) for seat in room.seats.values()]

    async def expired(self, now: int, limit: int) -> list[tuple[str, str, int]]:
        return list(islice(self._expired(now), limit))

    def _expired(self, now: int) -> Iterator[tuple[str, str, int]]:
        for tenant, state in self._tenants().items():
            for conversation_id, room in state.rooms.items():
                for message in room.messages.values():
                    if not message.deleted and rules.as_of(message, now).deleted:
                        yield tenant, conversation_id, message.id

    def _messages(self, tenant: str, conversation_id: str) -> dict[int, Message]:
        room = self._find(tenant).rooms.get(conversation_id)
        return room.messages if room else {}

    async def _page(
        self, tenant: str, conversation_id: str, messages: Iterable[Message]
    ) -> list[Message]:
        page = self._as_read(messages)
        add_status(page, await self.receipts(tenant, conversation_id))
        return page

    def _as_read(self, messages: Iterable[Message]) -> list[Message]:
        now = self._now_ms()
        return [structs.replace(rules.as_of(message, now)) for message in messages]


class PeopleReads:
    """See ports.People."""

    def __init__(self, find: Find) -> None:
        self._find = find

    async def blocked_by(self, tenant: str, user_id: str) -> list[Block]:
        blocked = self._find(tenant).blocks.get(user_id, {})
        return [Block(user, since) for user, since in sorted(blocked.items())]

    async def block_relations(self, tenant: str, user_id: str) -> frozenset[str]:
        blocks = self._find(tenant).blocks
        by_others = (user for user, blocked in blocks.items() if user_id in blocked)
        return frozenset((*blocks.get(user_id, ()), *by_others))

    async def suspension(self, tenant: str, user_id: str) -> Suspension | None:
        return self._find(tenant).suspensions.get(user_id)

    async def revoked_at(self, tenant: str, user_id: str) -> int | None:
        return self._find(tenant).user_revocations.get(user_id)

    async def token_revoked(self, tenant: str, token_id: str) -> bool:
        return token_id in self._find(tenant).token_revocations

    async def last_seen(self, tenant: str, user_ids: Sequence[str]) -> dict[str, int]:
        seen = self._find(tenant).last_seen
        return {user: seen[user] for user in user_ids if user in seen}


class CatalogueReads:
    """See ports.Catalogue."""

    def __init__(self, find: Find) -> None:
        self._find = find

    async def products(self, tenant: str, product_ids: Sequence[str]) -> dict[str, ProductCard]:
        products = self._find(tenant).products
        return {product: products[product] for product in product_ids if product in products}

    async def orders(self, tenant: str, order_ids: Sequence[str]) -> dict[str, OrderCard]:
        orders = self._find(tenant).orders
        return {order: orders[order][0] for order in order_ids if order in orders}

    async def order_conversation(self, tenant: str, order_id: str) -> str | None:
        known = self._find(tenant).orders.get(order_id)
        return known[1] if known else None


def _rooms_of(state: Tenant, user_id: str) -> Iterator[tuple[Room, Seat]]:
    for room in state.rooms.values():
        seat = room.seats.get(user_id)
        if seat is not None:
            yield room, seat


def _unread_rooms(state: Tenant, user_id: str, now: int) -> Iterator[tuple[Room, Seat, int]]:
    """Those with unread messages, and how many, the newest first."""
    rooms = sorted(_rooms_of(state, user_id), key=lambda pair: pair[0].newest, reverse=True)
    for room, seat in rooms:
        count = 0 if seat.hidden else _unread(room, user_id, now)
        if count:
            yield room, seat, count


def _view(room: Room, user_id: str, now: int) -> Conversation:
    seat = room.seats.get(user_id)
    newest = room.messages.get(room.newest)
    shown = structs.replace(
        room.conversation,
        members=[
            structs.replace(seat.member)
            for seat in islice(room.seats.values(), limits.MEMBERS_SHOWN)
        ],
        last_message=structs.replace(rules.as_of(newest, now)) if newest else None,
    )
    if seat is not None:
        shown.unread_count = _unread(room, user_id, now)
        shown.archived, shown.pinned = seat.archived, seat.pinned
        if (seat.muted_until or 0) > now:
            shown.muted_until = timestamp(seat.muted_until or 0)
    return shown


def _unread(room: Room, user_id: str, now: int) -> int:
    read = int(room.seats[user_id].member.last_read_id)
    unread = (
        message
        for message in room.messages.values()
        if message.id > read
        and message.sender_id != user_id
        and not rules.as_of(message, now).deleted
    )
    return sum(1 for _ in islice(unread, limits.UNREAD_PER_CONVERSATION))


def _matches(room: Room, seat: Seat, user_id: str, query: InboxQuery) -> bool:
    muted = (seat.muted_until or 0) > query.now
    wanted = (
        (query.archived, seat.archived),
        (query.muted, muted),
        (query.status, room.conversation.status),
        (query.listing_id, room.conversation.listing_id),
        (query.unread, _unread(room, user_id, query.now) > 0),
    )
    return not seat.hidden and all(want is None or want == has for want, has in wanted)


def _cursor(place: int, query: InboxQuery) -> str:
    """The last place of a page, and which question it answered."""
    asked = structs.replace(query, limit=0, now=0, cursor=None)
    return f"{place}:{asked}"


def _parse_cursor(query: InboxQuery) -> int:
    place = (query.cursor or "").partition(":")[0]
    if not place.isdecimal() or _cursor(int(place), query) != query.cursor:
        raise InvalidField("This is no cursor of such a query.", field="cursor")
    return int(place)


def _receipts(room: Room, user_id: str) -> Iterator[MissedChange]:
    """The receipts as changes: of all where there are few, of the user's own always."""
    conversation_id = room.conversation.conversation_id
    few = len(room.seats) <= limits.RECEIPT_MEMBERS
    for user, seat in room.seats.items():
        if user != user_id and not (few and seat.public):
            continue
        for kind, change_id, up_to in (
            ("MessageRead", seat.read_change, seat.member.last_read_id),
            ("MessageDelivered", seat.delivered_change, seat.member.last_delivered_id),
        ):
            if change_id:
                yield MissedChange(change_id, conversation_id, kind, user, up_to)
