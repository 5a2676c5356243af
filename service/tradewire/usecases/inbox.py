"""The caller's own side of conversations: the inbox, unread counts and own settings."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType, structs

from tradewire.domain import limits
from tradewire.domain.caller import Caller
from tradewire.domain.commands import (
    ArchiveConversation,
    GetUnreadCount,
    GetUserConversations,
    MuteConversation,
    PinConversation,
)
from tradewire.domain.errors import InvalidField
from tradewire.domain.events import ConversationUpdated
from tradewire.domain.ids import parse_timestamp, timestamp
from tradewire.domain.results import ConversationResult, ConversationsResult, UnreadResult
from tradewire.domain.types import Conversation
from tradewire.domain.writes import OwnSettings, SetOwnSettings
from tradewire.ports import Access, InboxPage, InboxQuery
from tradewire.usecases.context import Context
from tradewire.usecases.views import Views

_ARCHIVED: dict[bool | str, bool | None] = {
    True: True,
    False: False,
    "true": True,
    "false": False,
    "any": None,
}


class Inbox:
    """The commands on the caller's inbox."""

    def __init__(self, context: Context, views: Views) -> None:
        self._context = context
        self._views = views

    async def page(self, caller: Caller, command: GetUserConversations) -> ConversationsResult:
        """GetUserConversations."""
        now = self._context.clock.now_ms()
        page = await self._read_page(caller, command, now)
        reads = self._context.store.conversations
        total = await reads.unread_total(caller.tenant, caller.user_id, now)
        return ConversationsResult(page.conversations, page.cursor, total)

    async def first_page(self, caller: Caller, limit: int) -> list[Conversation]:
        """The conversations that a client asked for with its connection."""
        command = GetUserConversations(limit=min(limit, limits.INBOX_PAGE_MAX))
        page = await self._read_page(caller, command, self._context.clock.now_ms())
        return page.conversations

    async def unread(self, caller: Caller, _: GetUnreadCount) -> UnreadResult:
        """GetUnreadCount: all conversations, archived and muted ones too."""
        now = self._context.clock.now_ms()
        unread = await self._context.store.conversations.unread(caller.tenant, caller.user_id, now)
        total = sum(unread.by_conversation.values())
        return UnreadResult(total, unread.by_conversation, unread.capped)

    async def archive(self, caller: Caller, command: ArchiveConversation) -> ConversationResult:
        """ArchiveConversation."""
        return await self._set(caller, command.conversation_id, archived=command.archived)

    async def pin(self, caller: Caller, command: PinConversation) -> ConversationResult:
        """PinConversation."""
        return await self._set(caller, command.conversation_id, pinned=command.pinned)

    async def mute(self, caller: Caller, command: MuteConversation) -> ConversationResult:
        """MuteConversation: a time that has passed unmutes, like null."""
        return await self._set(caller, command.conversation_id, muted_until=_time(command.until))

    async def _read_page(
        self, caller: Caller, command: GetUserConversations, now: int
    ) -> InboxPage:
        query = InboxQuery(
            limit=command.limit,
            now=now,
            archived=_ARCHIVED[command.archived],
            muted=command.muted,
            status=command.status,
            listing_id=command.listing_id,
            unread=command.unread,
            sort=command.sort,
            descending=command.order == "desc",
            cursor=command.cursor,
        )
        page = await self._context.store.conversations.inbox(caller.tenant, caller.user_id, query)
        await self._views.finish_conversations(caller.tenant, page.conversations)
        return page

    async def _set(
        self,
        caller: Caller,
        conversation_id: str,
        *,
        archived: bool | UnsetType = UNSET,
        pinned: bool | UnsetType = UNSET,
        muted_until: int | UnsetType | None = UNSET,
    ) -> ConversationResult:
        access = await self._context.member_access(caller.tenant, caller.user_id, conversation_id)
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            self._tell(caller, access, results[0], change_id)

        await self._context.commit(
            SetOwnSettings(
                tenant=caller.tenant,
                conversation_id=conversation_id,
                user_id=caller.user_id,
                change_id=change_id,
                archived=archived,
                pinned=pinned,
                muted_until=muted_until,
            ),
            committed=committed,
        )
        view = await self._views.conversation(caller.tenant, caller.user_id, conversation_id)
        return ConversationResult(view)

    def _tell(self, caller: Caller, access: Access, settings: OwnSettings, change_id: int) -> None:
        present = self._context.present_access(caller.tenant, access).conversation
        muted = settings.muted_until
        shown = structs.replace(
            present,
            archived=settings.archived,
            pinned=settings.pinned,
            muted_until=None if muted is None else timestamp(muted),
        )
        event = ConversationUpdated(change_id=str(change_id), conversation=shown)
        own = (caller.user_id,)
        self._context.hub.publish(caller.tenant, own, event, event_id=change_id)


def _time(until: str | None) -> int | None:
    if until is None:
        return None
    try:
        return parse_timestamp(until)
    except (ValueError, OverflowError) as error:
        raise InvalidField(f"until is no time: {error}.", field="until") from error
