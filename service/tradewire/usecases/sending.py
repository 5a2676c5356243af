"""The path of a new message: from a command to the commit group, and from there to the members."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct, structs

from tradewire.domain import policy
from tradewire.domain.caller import Caller
from tradewire.domain.commands import SendMessage
from tradewire.domain.content import check_metadata, check_text, content_hash
from tradewire.domain.errors import InvalidField, NotFound, TradewireError, Unavailable
from tradewire.domain.events import MessageReceived
from tradewire.domain.ids import id_ms, timestamp
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.domain.results import MessageResult
from tradewire.domain.types import Message, OrderCard, ProductCard
from tradewire.domain.writes import NewMessage, Stored, Unit
from tradewire.ports import Access
from tradewire.usecases.context import COMMIT_DEADLINE_S, Context
from tradewire.usecases.typing import Typing

Replied = Callable[[MessageResult | TradewireError], None]

_REFERENCE = {"product": "product_id", "order": "order_id"}


class Admission(Struct, frozen=True, gc=False):
    """What is known when a message is decided on.

    Attributes:
        blocked: users with a block between them and the sender.
        card: what the message refers to, as the catalogue has it.
    """

    access: Access
    blocked: frozenset[str]
    card: ProductCard | OrderCard | None = None


class Sending:
    """SendMessage, in two steps: `ready` or `prepare` gather what policy needs, `append` decides
    and hands over. A sender whose conversation is cached waits for nothing in between.
    """

    def __init__(self, context: Context, typing: Typing, *, catalog_required: bool) -> None:
        self._context = context
        self._typing = typing
        self._catalog_required = catalog_required

    def ready(
        self, caller: Caller, command: SendMessage, *, fresh: bool = False
    ) -> Admission | None:
        """What policy needs, if all of it is at hand. `fresh`: no send had its key before."""
        if command.reply_to is not None or command.content_type in _REFERENCE:
            return None
        if not fresh and self._doubt_keys(command) is not None:
            return None
        access = self._context.access.peek((caller.tenant, command.conversation_id))
        blocked = self._context.blocks.peek((caller.tenant, caller.user_id))
        if access is None or blocked is None:
            return None
        return Admission(access, blocked)

    async def prepare(
        self, caller: Caller, command: SendMessage, *, fresh: bool = False
    ) -> Admission:
        """What policy needs, read from the store; checks what the message refers to.

        Raises:
            NotFound: the conversation, or what the message refers to, is not there.
            Unavailable: other nodes could not be asked about its key in time.
        """
        access = await self._context.allow(caller, command.conversation_id, "send")
        if command.reply_to is not None:
            target = (command.conversation_id, int(command.reply_to))
            if not await self._context.store.messages.by_id(caller.tenant, [target]):
                raise NotFound("The message that this replies to is not here.", field="reply_to")
        card = await self._referred(caller, command)
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        # At last, for what another node stores meanwhile under this key must be found.
        if not fresh:
            await self._settled(command)
        return Admission(access, blocked, card)

    async def send(self, caller: Caller, command: SendMessage) -> MessageResult:
        """SendMessage for a caller who waits for the reply.

        Raises:
            TradewireError: refused, or not known to be durable within the deadline.
        """
        waiter: asyncio.Future[MessageResult] = asyncio.get_running_loop().create_future()

        def replied(outcome: MessageResult | TradewireError) -> None:
            if waiter.done():
                return
            if isinstance(outcome, TradewireError):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)

        admission = self.ready(caller, command) or await self.prepare(caller, command)
        self.append(caller, command, admission, replied)
        try:
            return await asyncio.wait_for(waiter, COMMIT_DEADLINE_S)
        except TimeoutError as error:
            raise Unavailable from error

    def append(
        self,
        caller: Caller,
        command: SendMessage,
        admission: Admission,
        replied: Replied,
        *,
        session_id: str | None = None,
        fresh: bool = False,
    ) -> None:
        """Decide, and append to the commit group; `replied` is called when it is durable, or not.

        The members hear of the message in the order of ids; the session that sent it does not.

        Raises:
            TradewireError: refused; nothing was taken and `replied` is not called.
        """
        access = admission.access
        self._decide(caller, command, admission)
        message_id = self._context.clock.next_id()
        write = NewMessage(
            tenant=caller.tenant,
            conversation_id=command.conversation_id,
            message_id=message_id,
            message=_message(caller, command, message_id),
            content_hash=content_hash(command) if command.key is not None else b"",
            fresh=fresh,
            broadcast=len(access.roles) > RECEIPT_MEMBERS,
        )
        pending = Pending(
            self, caller.tenant, admission, message_id, session_id, replied, time.perf_counter()
        )
        self._context.store.journal.append(Unit((write,)), pending)
        # Where the members are is read while the message is committed.
        self._context.hub.expect(caller.tenant, access.roles)

    async def _settled(self, command: SendMessage) -> None:
        """Wait until whatever was sent with its key before can be found.

        Raises:
            Unavailable: not within the deadline.
        """
        try:
            async with asyncio.timeout(COMMIT_DEADLINE_S):
                while (doubted := self._doubt_keys(command)) is not None:
                    await doubted
        except TimeoutError as error:
            raise Unavailable from error

    def _doubt_keys(self, command: SendMessage) -> Awaitable[None] | None:
        """Its key came by another way than that of its session: see ports.Hub.doubt_keys."""
        if command.key is None:
            return None
        return self._context.hub.doubt_keys(command.key.partition(":")[0])

    def _decide(self, caller: Caller, command: SendMessage, admission: Admission) -> None:
        access = admission.access
        role = access.roles.get(caller.user_id)
        policy.require(caller, access.conversation, role, "send")
        policy.require_no_block(access.conversation, access.roles, admission.blocked)
        if command.attachment_ids:
            raise NotFound("There is no such attachment.", field="attachment_ids")
        if command.content_type == "system":
            raise InvalidField("Only the server sends system messages.", field="content_type")
        if command.text is not None:
            check_text(command.text)
        elif command.metadata is None:
            raise InvalidField("A message needs a text or metadata.", field="text")
        if command.metadata is not None:
            check_metadata(command.metadata)
        if command.content_type == "text" and command.text is None:
            raise InvalidField("A text message needs a text.", field="text")

    def done(self, pending: "Pending", outcome: Sequence[Any] | TradewireError) -> None:
        """What became of a send: tell its members, then its sender."""
        if isinstance(outcome, TradewireError):
            pending.replied(outcome)
            return
        stored: Stored = outcome[0]
        message, metrics = stored.message, self._context.metrics
        if pending.admission.card is not None:
            # A copy: the store may tell the message to others, whom the card does not concern.
            message = structs.replace(message, card=pending.admission.card)
        (metrics.duplicate_sends if stored.duplicate else metrics.messages_sent).add()
        metrics.send_seconds.observe(time.perf_counter() - pending.begun)
        if not stored.duplicate:
            self._announce(pending, message)
        pending.replied(MessageResult(message, stored.duplicate))

    def _announce(self, pending: "Pending", message: Message) -> None:
        tenant = pending.tenant
        access = self._context.present_access(tenant, pending.admission.access)
        self._typing.stop(tenant, access, message.sender_id)
        self._context.hub.publish(
            tenant,
            access.roles,
            MessageReceived(message=message),
            event_id=pending.message_id,
            skip=pending.session_id,
        )

    async def _referred(
        self, caller: Caller, command: SendMessage
    ) -> ProductCard | OrderCard | None:
        """The card of the product or order that the message is about, if it is about one.

        An order's card is for its buyer and seller: to others the order is not there.
        """
        field = _REFERENCE.get(command.content_type)
        if field is None:
            return None
        subject = (command.metadata or {}).get(field)
        if not isinstance(subject, str) or not subject:
            raise InvalidField(f"metadata.{field} is needed.", field="metadata")
        catalogue = self._context.store.catalogue
        if field == "product_id":
            product = (await catalogue.products(caller.tenant, [subject])).get(subject)
            if product is None and self._catalog_required:
                raise NotFound("The catalogue does not know this product.", field="metadata")
            return product
        order = (await catalogue.orders(caller.tenant, [subject])).get(subject)
        if order is None and not self._catalog_required:
            return None
        if order is None or caller.user_id not in (order.buyer_id, order.seller_id):
            raise NotFound("There is no such order of the caller's.", field="metadata")
        return order


class Pending(Struct, gc=False):
    """A send that was appended; called with what became of it.

    Not a closure: its cells are nine objects for the garbage collector to look at.
    """

    sending: Sending
    tenant: str
    admission: Admission
    message_id: int
    session_id: str | None
    replied: Replied
    begun: float

    def __call__(self, outcome: Sequence[Any] | TradewireError) -> None:
        self.sending.done(self, outcome)


def _message(caller: Caller, command: SendMessage, message_id: int) -> Message:
    sent_ms = id_ms(message_id)
    expires = command.expires_in_s
    return Message(
        message_id=str(message_id),
        conversation_id=command.conversation_id,
        sender_id=caller.user_id,
        content_type=command.content_type,
        created_at=timestamp(sent_ms),
        status="sent",
        text=command.text,
        key=command.key,
        metadata=command.metadata,
        reply_to=command.reply_to,
        language=command.language,
        expires_at=timestamp(sent_ms + expires * 1000) if expires else None,
    )
