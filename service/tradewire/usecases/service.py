"""Every command and who carries it out."""

from collections.abc import Awaitable, Callable
from typing import Any

from tradewire.domain import commands
from tradewire.domain.caller import Caller
from tradewire.domain.errors import BadRequest
from tradewire.domain.incoming import IncomingEvent
from tradewire.domain.results import Result
from tradewire.ports import Session
from tradewire.usecases.blocks import Blocks
from tradewire.usecases.commerce import Commerce
from tradewire.usecases.context import Context
from tradewire.usecases.conversations import Conversations
from tradewire.usecases.expiry import Expiry
from tradewire.usecases.inbox import Inbox
from tradewire.usecases.members import Members
from tradewire.usecases.messages import Messages
from tradewire.usecases.neighbours import Neighbours
from tradewire.usecases.presence import Presence
from tradewire.usecases.receipts import Receipts
from tradewire.usecases.resume import Resume
from tradewire.usecases.sending import Sending
from tradewire.usecases.standing import Standing
from tradewire.usecases.typing import Typing
from tradewire.usecases.views import Views

Handler = Callable[[Caller, Any], Awaitable[Result]]


class Service:
    """The use cases as one: a command goes in, its result comes out.

    `execute` serves what any transport can carry. Sockets also use `sending` (many messages in
    flight), `resume`, `presence` and `inbox` directly.
    """

    def __init__(self, context: Context, *, catalog_required: bool = False) -> None:
        views = Views(context)
        self.context = context
        self.typing = Typing(context)
        self.sending = Sending(context, self.typing, catalog_required=catalog_required)
        self.presence = Presence(context)
        self.inbox = Inbox(context, views)
        self.resume = Resume(context, views)
        self.standing = Standing(context)
        self.expiry = Expiry(context)
        self.neighbours = Neighbours(context, self.presence, self.typing)
        self._commerce = Commerce(context)
        blocks = Blocks(context)
        conversations = Conversations(context, views, catalog_required=catalog_required)
        members = Members(context)
        messages = Messages(context, views)
        receipts = Receipts(context)
        self._handlers: dict[type[commands.Command], Handler] = {
            commands.CreateConversation: conversations.create,
            commands.GetConversation: conversations.get,
            commands.GetUserConversations: self.inbox.page,
            commands.UpdateConversation: conversations.update,
            commands.ArchiveConversation: self.inbox.archive,
            commands.MuteConversation: self.inbox.mute,
            commands.PinConversation: self.inbox.pin,
            commands.DeleteConversation: conversations.delete,
            commands.AddMembers: members.add,
            commands.RemoveMember: members.remove,
            commands.SetMemberRole: members.set_role,
            commands.GetMembers: members.get,
            commands.SendMessage: self.sending.send,
            commands.EditMessage: messages.edit,
            commands.DeleteMessage: messages.delete,
            commands.GetMessage: messages.get,
            commands.GetMessageEdits: messages.edits,
            commands.GetMessages: messages.page,
            commands.MarkMessagesAsRead: receipts.read,
            commands.MarkMessagesAsDelivered: receipts.delivered,
            commands.GetUnreadCount: self.inbox.unread,
            commands.SetTypingIndicator: self.typing.set,
            commands.GetTypingIndicators: self.typing.get,
            commands.SetOnlineStatus: self.presence.set,
            commands.GetOnlineStatus: self.presence.get,
            commands.BlockUser: blocks.block,
            commands.UnblockUser: blocks.unblock,
            commands.GetBlockedUsers: blocks.list,
            commands.Revoke: self.standing.revoke,
        }

    async def execute(
        self, caller: Caller, command: commands.Command, session: Session | None = None
    ) -> Result:
        """Carry out a command.

        Raises:
            TradewireError: refused, or not possible now; nothing of it took effect, or, with
                `Unavailable`, it may have.
        """
        self.context.metrics.commands.add(labels=(type(command).__name__,))
        await self.standing.check(caller)
        if isinstance(command, commands.WatchPresence):
            return await self.presence.watch(caller, command, session)
        handler = self._handlers.get(type(command))
        if handler is None:
            raise BadRequest(f"{type(command).__name__} needs a connection.")
        return await handler(caller, command)

    async def handle_events(self, incoming: list[IncomingEvent]) -> tuple[int, int]:
        """Let events of other services take effect: how many did, how many had before."""
        handled = await self._commerce.handle_all(incoming)
        for event in incoming:
            self.context.metrics.domain_events_handled.add(labels=(event.type,))
        return handled
