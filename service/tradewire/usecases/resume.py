"""What a client missed, told from the present state (protocol §3 "Resume")."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from tradewire.domain import events, limits
from tradewire.domain.caller import Caller
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import TIME_SHIFT
from tradewire.domain.types import Member, Message
from tradewire.ports import MissedChange
from tradewire.usecases.context import Context
from tradewire.usecases.views import Views

REWRITES = frozenset({"MessageEdited", "MessageDeleted", "MessageReceived"})
"""Changes of which the message is told as it is now."""

MEMBERSHIPS = frozenset({"MemberAdded", "MemberRemoved", "MemberRoleChanged"})
"""Changes that are told by whether the user is a member now, and as which."""

_OVERLAP = limits.RESUME_OVERLAP_MS << TIME_SHIFT


class Backlog(Struct, frozen=True):
    """Events in the order of their ids; `truncated` says that more was missed."""

    events: list[events.Event]
    truncated: bool


class Resume:
    """Reads what a user missed and turns it into events."""

    def __init__(self, context: Context, views: Views) -> None:
        self._context = context
        self._views = views

    async def missed(self, caller: Caller, since: int) -> Backlog:
        """All that the caller missed after the id `since`, and 10 s before it once more."""
        after = max(since - _OVERLAP, 0)
        missed = await self._context.store.conversations.missed(
            caller.tenant, caller.user_id, after, limits.RESUME_EVENTS
        )
        await self._views.add_cards(caller.tenant, missed.messages)
        told: list[tuple[int, events.Event]] = [
            (message.id, events.MessageReceived(message=message)) for message in missed.messages
        ]
        told += await self._changed(caller, missed.changes)
        told.sort(key=lambda pair: pair[0])
        if told:
            # What the caller says next comes after it, also where it came from a clock ahead.
            self._context.clock.observe(told[-1][0])
        return Backlog([event for _, event in told], missed.truncated)

    async def _changed(
        self, caller: Caller, changes: Sequence[MissedChange]
    ) -> list[tuple[int, events.Event]]:
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        rewritten = await self._rewritten(caller, changes)
        members = await self._members(caller, changes)
        told: list[tuple[int, events.Event]] = []
        for change in changes:
            event = await self._event(caller, change, blocked, rewritten, members)
            if event is not None:
                told.append((change.change_id, event))
        return told

    async def _rewritten(
        self, caller: Caller, changes: Sequence[MissedChange]
    ) -> dict[tuple[str, int], Message]:
        """The messages that were edited or deleted, or became visible late, as they are now."""
        ids = [
            (change.conversation_id, int(change.subject))
            for change in changes
            if change.kind in REWRITES
        ]
        found = await self._context.store.messages.by_id(caller.tenant, ids) if ids else []
        await self._views.add_cards(caller.tenant, found)
        return {(message.conversation_id, message.id): message for message in found}

    async def _members(
        self, caller: Caller, changes: Sequence[MissedChange]
    ) -> dict[tuple[str, str], Member]:
        """The users of such changes who are members now."""
        named: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for change in changes:
            if change.kind in MEMBERSHIPS:
                named[change.conversation_id][change.subject] = None
        found: dict[tuple[str, str], Member] = {}
        for conversation_id, users in named.items():
            # Who hears of it here may not have been told by the node where it happened.
            self._context.access.forget((caller.tenant, conversation_id))
            members = await self._context.store.conversations.members_named(
                caller.tenant, conversation_id, list(users)
            )
            found |= {(conversation_id, member.user_id): member for member in members}
        return found

    async def _event(
        self,
        caller: Caller,
        change: MissedChange,
        blocked: frozenset[str],
        rewritten: dict[tuple[str, int], Message],
        members: dict[tuple[str, str], Member],
    ) -> events.Event | None:
        """The event of a change; None when what it is about is gone or not for the caller."""
        match change.kind:
            case "MessageEdited" | "MessageDeleted" | "MessageReceived":
                message = rewritten.get((change.conversation_id, int(change.subject)))
                return _rewrite(change, message) if message else None
            case "MessageRead" | "MessageDelivered":
                return None if change.subject in blocked else _receipt(change)
            case "ConversationCreated" | "ConversationUpdated":
                return await self._conversation(caller, change)
            case "ConversationDeleted":
                return events.ConversationDeleted(
                    change_id=str(change.change_id), conversation_id=change.conversation_id
                )
            case "MemberAdded" | "MemberRemoved" | "MemberRoleChanged":
                return _membership(change, members.get((change.conversation_id, change.subject)))
            case "UserBlocked":
                return events.UserBlocked(
                    change_id=str(change.change_id),
                    user_id=change.subject,
                    blocked=change.detail == "1",
                )
            case "ProductUpdated":
                return await self._product(caller, change)
            case _:
                return await self._order(caller, change)

    async def _conversation(self, caller: Caller, change: MissedChange) -> events.Event | None:
        try:
            await self._context.member_access(caller.tenant, caller.user_id, change.conversation_id)
            view = await self._views.conversation(
                caller.tenant, caller.user_id, change.conversation_id
            )
        except NotFound:
            return None
        kind = (
            events.ConversationCreated
            if change.kind == "ConversationCreated"
            else events.ConversationUpdated
        )
        return kind(change_id=str(change.change_id), conversation=view)

    async def _product(self, caller: Caller, change: MissedChange) -> events.Event | None:
        products = await self._context.store.catalogue.products(caller.tenant, [change.subject])
        product = products.get(change.subject)
        if product is None:
            return None
        return events.ProductUpdated(
            change_id=str(change.change_id),
            conversation_id=change.conversation_id,
            product=product,
        )

    async def _order(self, caller: Caller, change: MissedChange) -> events.Event | None:
        orders = await self._context.store.catalogue.orders(caller.tenant, [change.subject])
        order = orders.get(change.subject)
        if order is None:
            return None
        kind = events.OrderLinked if change.kind == "OrderLinked" else events.OrderUpdated
        return kind(
            change_id=str(change.change_id), conversation_id=change.conversation_id, order=order
        )


def _rewrite(change: MissedChange, message: Message) -> events.Event:
    if change.kind == "MessageReceived":
        return events.MessageReceived(message=message)
    kind = events.MessageDeleted if message.deleted else events.MessageEdited
    return kind(change_id=str(change.change_id), message=message)


def _receipt(change: MissedChange) -> events.Event:
    kind = events.MessageRead if change.kind == "MessageRead" else events.MessageDelivered
    return kind(
        change_id=str(change.change_id),
        conversation_id=change.conversation_id,
        user_id=change.subject,
        up_to=change.detail,
    )


def _membership(change: MissedChange, member: Member | None) -> events.Event | None:
    """What became of a member, as it is now: an older change may be heard after a newer one."""
    change_id, conversation_id = str(change.change_id), change.conversation_id
    if change.kind == "MemberRemoved":
        if member is not None:
            return None
        return events.MemberRemoved(
            change_id=change_id, conversation_id=conversation_id, user_id=change.subject
        )
    if member is None:
        return None
    if change.kind == "MemberAdded":
        return events.MemberAdded(
            change_id=change_id,
            conversation_id=conversation_id,
            user_id=change.subject,
            member=member,
        )
    return events.MemberRoleChanged(
        change_id=change_id,
        conversation_id=conversation_id,
        user_id=change.subject,
        role=member.role,
    )
