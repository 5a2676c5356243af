"""Making, showing, changing and deleting conversations."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from msgspec import UNSET

from tradewire.domain import limits, policy
from tradewire.domain.caller import Caller
from tradewire.domain.commands import (
    CreateConversation,
    DeleteConversation,
    GetConversation,
    UpdateConversation,
)
from tradewire.domain.content import check_metadata, check_text
from tradewire.domain.contexts import direct_conversation
from tradewire.domain.errors import Blocked, InvalidField
from tradewire.domain.events import ConversationCreated, ConversationDeleted, ConversationUpdated
from tradewire.domain.ids import id_ms, timestamp
from tradewire.domain.results import ConversationResult, Nothing
from tradewire.domain.types import SYSTEM, Conversation, Member
from tradewire.domain.writes import CreateConversation as CreateConversationWrite
from tradewire.domain.writes import Creation, ReviseConversation, SetOwnSettings
from tradewire.domain.writes import DeleteConversation as DeleteConversationWrite
from tradewire.ports import Access
from tradewire.usecases.context import Context
from tradewire.usecases.direct import DirectConversations
from tradewire.usecases.views import Views

Build = Callable[[int], tuple[Conversation, tuple[Member, ...]]]
"""Makes a conversation and its members as of a change id."""


class Conversations:
    """The commands on whole conversations."""

    def __init__(self, context: Context, views: Views, *, catalog_required: bool) -> None:
        self._context = context
        self._views = views
        self._direct = DirectConversations(context, catalog_required=catalog_required)

    async def create(self, caller: Caller, command: CreateConversation) -> ConversationResult:
        """CreateConversation: the one direct conversation of its context, or a new group."""
        if command.metadata is not None:
            check_metadata(command.metadata)
        if command.title is not None:
            check_text(command.title, "title")
        if command.kind == "direct":
            build = _direct(caller, command, await self._direct.peer(caller, command))
        else:
            build = _group(caller, command, await self._invited(caller, command))
        change_id = self._context.clock.next_id()
        conversation, members = build(change_id)
        write = CreateConversationWrite(
            tenant=caller.tenant,
            conversation_id=conversation.conversation_id,
            change_id=change_id,
            conversation=conversation,
            members=members,
            shown_to=caller.user_id,
        )
        results = await self._context.commit(
            write, committed=lambda results: announce(self._context, write, results[0])
        )
        result = await self._shown(caller, conversation.conversation_id)
        result.created = results[0] == "created"
        if results[0] == "shown":
            shown = ConversationCreated(change_id=str(change_id), conversation=result.conversation)
            own = (caller.user_id,)
            self._context.hub.publish(caller.tenant, own, shown, event_id=change_id)
        return result

    async def get(self, caller: Caller, command: GetConversation) -> ConversationResult:
        """GetConversation."""
        await self._context.allow(caller, command.conversation_id, "read")
        return await self._shown(caller, command.conversation_id)

    async def update(self, caller: Caller, command: UpdateConversation) -> ConversationResult:
        """UpdateConversation."""
        access = await self._context.allow(caller, command.conversation_id, "revise")
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        policy.require_no_block(access.conversation, access.roles, blocked)
        if command.title is UNSET and command.metadata is UNSET and command.status is UNSET:
            raise InvalidField("Nothing to change: title, metadata or status.", field="title")
        if isinstance(command.title, str):
            check_text(command.title, "title")
        if isinstance(command.metadata, dict):
            check_metadata(command.metadata)
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            roles = self._context.present_access(caller.tenant, access).roles
            key = (caller.tenant, command.conversation_id)
            self._context.access.put(key, Access(results[0], roles))
            event = ConversationUpdated(change_id=str(change_id), conversation=results[0])
            self._context.hub.publish(caller.tenant, roles, event, event_id=change_id)

        await self._context.commit(
            ReviseConversation(
                tenant=caller.tenant,
                conversation_id=command.conversation_id,
                change_id=change_id,
                title=command.title,
                metadata=command.metadata,
                status=command.status,
            ),
            committed=committed,
        )
        return await self._shown(caller, command.conversation_id)

    async def delete(self, caller: Caller, command: DeleteConversation) -> Nothing:
        """DeleteConversation, for the caller or for everyone."""
        if command.scope == "everyone":
            await self._delete_for_everyone(caller, command.conversation_id)
        else:
            await self._hide(caller, command.conversation_id)
        return Nothing()

    async def _delete_for_everyone(self, caller: Caller, conversation_id: str) -> None:
        await self._context.allow(caller, conversation_id, "delete_conversation")
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            self._context.access.drop((caller.tenant, conversation_id))
            self._tell_deleted(caller.tenant, results[0], conversation_id, change_id)

        await self._context.commit(
            DeleteConversationWrite(
                tenant=caller.tenant, conversation_id=conversation_id, change_id=change_id
            ),
            committed=committed,
        )

    async def _hide(self, caller: Caller, conversation_id: str) -> None:
        await self._context.member_access(caller.tenant, caller.user_id, conversation_id)
        change_id = self._context.clock.next_id()
        await self._context.commit(
            SetOwnSettings(
                tenant=caller.tenant,
                conversation_id=conversation_id,
                user_id=caller.user_id,
                change_id=change_id,
                hidden=True,
            ),
            committed=lambda _: self._tell_deleted(
                caller.tenant, [caller.user_id], conversation_id, change_id
            ),
        )

    def _tell_deleted(
        self, tenant: str, user_ids: Sequence[str], conversation_id: str, change_id: int
    ) -> None:
        event = ConversationDeleted(change_id=str(change_id), conversation_id=conversation_id)
        self._context.hub.publish(tenant, user_ids, event, event_id=change_id)

    async def _invited(self, caller: Caller, command: CreateConversation) -> list[str]:
        """The other members that a new group begins with."""
        for field in ("listing_id", "product_id", "user_id", "seller_id", "buyer_id"):
            if getattr(command, field) is not None:
                raise InvalidField(f"{field} is for direct conversations.", field=field)
        invited = dict.fromkeys(user for user in command.member_ids if user != caller.user_id)
        if SYSTEM in invited:
            raise InvalidField(f"{SYSTEM} is no user.", field="member_ids")
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        if not blocked.isdisjoint(invited):
            raise Blocked(field="member_ids")
        return list(invited)

    async def _shown(self, caller: Caller, conversation_id: str) -> ConversationResult:
        return ConversationResult(
            await self._views.conversation(caller.tenant, caller.user_id, conversation_id)
        )


def _direct(caller: Caller, command: CreateConversation, peer: str) -> Build:
    return lambda change_id: direct_conversation(
        caller.tenant,
        change_id,
        caller.user_id,
        peer,
        created_by=caller.user_id,
        listing_id=command.listing_id,
        product_id=command.product_id,
        metadata=command.metadata,
    )


def _group(caller: Caller, command: CreateConversation, invited: Sequence[str]) -> Build:
    def build(change_id: int) -> tuple[Conversation, tuple[Member, ...]]:
        made_at = timestamp(id_ms(change_id))
        members = (
            Member(user_id=caller.user_id, role="owner", joined_at=made_at),
            *(Member(user_id=user, role="member", joined_at=made_at) for user in invited),
        )
        conversation = Conversation(
            conversation_id=str(uuid4()),
            kind=command.kind,
            status="open",
            created_at=made_at,
            created_by=caller.user_id,
            title=command.title,
            metadata=command.metadata,
            members=list(members[: limits.MEMBERS_SHOWN]),
            member_count=len(members),
        )
        return conversation, members

    return build


def announce(context: Context, write: CreateConversationWrite, creation: Creation) -> None:
    """Tell the members of a conversation that was made just now."""
    if creation != "created":
        return
    context.access.drop((write.tenant, write.conversation_id))
    event = ConversationCreated(change_id=str(write.change_id), conversation=write.conversation)
    context.hub.publish(
        write.tenant,
        [member.user_id for member in write.members],
        event,
        event_id=write.change_id,
    )
