"""Sending, editing, deleting and reading messages."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from tradewire.domain import policy
from tradewire.domain.caller import Caller
from tradewire.domain.commands import (
    DeleteMessage,
    EditMessage,
    GetMessage,
    GetMessageEdits,
    GetMessages,
)
from tradewire.domain.content import check_metadata, check_text
from tradewire.domain.errors import Forbidden, InvalidField, NotFound
from tradewire.domain.events import Change, MessageDeleted, MessageEdited
from tradewire.domain.ids import MAX_ID
from tradewire.domain.results import EditsResult, MessageResult, MessagesResult
from tradewire.domain.types import Message
from tradewire.domain.writes import DeleteMessage as DeleteMessageWrite
from tradewire.domain.writes import EditMessage as EditMessageWrite
from tradewire.ports import Access
from tradewire.usecases.context import Context
from tradewire.usecases.views import Views


class Messages:
    """The commands on messages that exist."""

    def __init__(self, context: Context, views: Views) -> None:
        self._context = context
        self._views = views

    async def get(self, caller: Caller, command: GetMessage) -> MessageResult:
        """GetMessage."""
        await self._context.allow(caller, command.conversation_id, "read")
        return await self._shown(caller, command.conversation_id, int(command.message_id))

    async def edits(self, caller: Caller, command: GetMessageEdits) -> EditsResult:
        """GetMessageEdits."""
        await self._context.allow(caller, command.conversation_id, "read")
        message_id = int(command.message_id)
        await self._views.message(caller.tenant, command.conversation_id, message_id)
        return EditsResult(
            await self._context.store.messages.edits(
                caller.tenant, command.conversation_id, message_id
            )
        )

    async def page(self, caller: Caller, command: GetMessages) -> MessagesResult:
        """GetMessages: `has_more` and `next_cursor` say how it goes on in the direction asked."""
        await self._context.allow(caller, command.conversation_id, "read")
        bounds = (command.before, command.after, command.around)
        if sum(bound is not None for bound in bounds) > 1:
            raise InvalidField("Only one of before, after and around.", field="around")
        if command.after is not None:
            result = await self._forward(caller.tenant, command, int(command.after))
        elif command.around is not None:
            result = await self._around(caller.tenant, command, int(command.around))
        else:
            before = MAX_ID if command.before is None else int(command.before)
            result = await self._backward(caller.tenant, command, before, command.limit)
        await self._views.add_cards(caller.tenant, result.messages)
        return result

    async def edit(self, caller: Caller, command: EditMessage) -> MessageResult:
        """EditMessage: by its sender, as long as the sender may write here."""
        access = await self._context.allow(caller, command.conversation_id, "edit_own")
        message = await self._existing(caller, command.conversation_id, command.message_id)
        _check_edit(caller, command, message)
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        policy.require_no_block(access.conversation, access.roles, blocked)
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            event = MessageEdited(change_id=str(change_id), message=results[0])
            tell_members(self._context, caller.tenant, access, event, change_id)

        await self._context.commit(
            EditMessageWrite(
                tenant=caller.tenant,
                conversation_id=command.conversation_id,
                message_id=message.id,
                change_id=change_id,
                text=command.text,
                metadata=command.metadata,
            ),
            committed=committed,
        )
        return await self._shown(caller, command.conversation_id, message.id)

    async def delete(self, caller: Caller, command: DeleteMessage) -> MessageResult:
        """DeleteMessage: by its sender, a moderator or an admin; twice is as once."""
        access = await self._context.allow(caller, command.conversation_id, "read")
        message = await self._existing(caller, command.conversation_id, command.message_id)
        if message.sender_id != caller.user_id or caller.user_id not in access.roles:
            await self._context.allow(caller, command.conversation_id, "delete_others")
        await delete_message(
            self._context, caller.tenant, access, message.id, deleted_by=caller.user_id
        )
        return await self._shown(caller, command.conversation_id, message.id)

    async def _existing(self, caller: Caller, conversation_id: str, message_id: str) -> Message:
        found = await self._context.store.messages.by_id(
            caller.tenant, [(conversation_id, int(message_id))]
        )
        if not found:
            raise NotFound(field="message_id")
        return found[0]

    async def _shown(self, caller: Caller, conversation_id: str, number: int) -> MessageResult:
        return MessageResult(await self._views.message(caller.tenant, conversation_id, number))

    async def _backward(
        self, tenant: str, command: GetMessages, before: int, limit: int
    ) -> MessagesResult:
        found = await self._context.store.messages.before(
            tenant, command.conversation_id, before, limit + 1
        )
        more = len(found) > limit
        page = found[-limit:]
        return MessagesResult(page, more, page[0].message_id if more else None)

    async def _forward(self, tenant: str, command: GetMessages, after: int) -> MessagesResult:
        found = await self._context.store.messages.after(
            tenant, command.conversation_id, after, command.limit + 1
        )
        more = len(found) > command.limit
        page = found[: command.limit]
        return MessagesResult(page, more, page[-1].message_id if more else None)

    async def _around(self, tenant: str, command: GetMessages, middle: int) -> MessagesResult:
        """Half of the page up to and with the id, the rest after it; goes on backward."""
        older = await self._backward(tenant, command, middle + 1, (command.limit + 1) // 2)
        newer = await self._context.store.messages.after(
            tenant, command.conversation_id, middle, command.limit - len(older.messages)
        )
        return MessagesResult([*older.messages, *newer], older.has_more, older.next_cursor)


async def delete_message(
    context: Context, tenant: str, access: Access, message_id: int, *, deleted_by: str
) -> None:
    """Empty a message and tell the members; nothing happens when it was deleted before."""
    change_id = context.clock.next_id()

    def committed(results: Sequence[Any]) -> None:
        if results[0].changed:
            event = MessageDeleted(change_id=str(change_id), message=results[0].message)
            tell_members(context, tenant, access, event, change_id)

    await context.commit(
        DeleteMessageWrite(
            tenant=tenant,
            conversation_id=access.conversation.conversation_id,
            message_id=message_id,
            change_id=change_id,
            deleted_by=deleted_by,
        ),
        committed=committed,
    )


def tell_members(
    context: Context, tenant: str, access: Access, event: Change, change_id: int
) -> None:
    """Tell all who are members when it is committed."""
    roles = context.present_access(tenant, access).roles
    context.hub.publish(tenant, roles, event, event_id=change_id)


def _check_edit(caller: Caller, command: EditMessage, message: Message) -> None:
    if message.sender_id != caller.user_id:
        raise Forbidden("Only its sender edits a message.")
    if message.deleted:
        raise NotFound(field="message_id")
    if command.text is UNSET and command.metadata is UNSET:
        raise InvalidField("Nothing to change: text or metadata is needed.", field="text")
    if isinstance(command.text, str):
        check_text(command.text)
    if isinstance(command.metadata, dict):
        check_metadata(command.metadata)
