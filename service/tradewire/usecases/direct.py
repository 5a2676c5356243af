"""Which direct conversation a caller means: about a listing, a product, or just with a user."""

from tradewire.domain.caller import Caller
from tradewire.domain.commands import CreateConversation
from tradewire.domain.contexts import context_of
from tradewire.domain.errors import Blocked, InvalidField, ListingNotFound
from tradewire.domain.ids import direct_conversation_id
from tradewire.domain.types import SYSTEM
from tradewire.usecases.context import Context

_SUBJECTS = ("listing_id", "product_id", "user_id")


class DirectConversations:
    """Finds the other user of a direct conversation."""

    def __init__(self, context: Context, *, catalog_required: bool) -> None:
        self._context = context
        self._catalog_required = catalog_required

    async def peer(self, caller: Caller, command: CreateConversation) -> str:
        """The other user.

        Raises:
            InvalidField: not exactly one subject, or no other user comes out of it.
            ListingNotFound: the catalogue must know the thing and does not.
            Blocked: there is a block between the two and no conversation yet.
        """
        _check_shape(command)
        peer, field = await self._named_peer(caller, command)
        if peer in (caller.user_id, SYSTEM):
            raise InvalidField("A conversation needs another user.", field=field)
        if peer in await self._context.blocks.get((caller.tenant, caller.user_id)):
            context = context_of(command.listing_id, command.product_id)
            existing = direct_conversation_id(caller.tenant, context, caller.user_id, peer)
            if await self._context.access.get((caller.tenant, existing)) is None:
                raise Blocked
        return peer

    async def _named_peer(self, caller: Caller, command: CreateConversation) -> tuple[str, str]:
        """The other user, and the field that named it."""
        if command.user_id is not None:
            return command.user_id, "user_id"
        seller = await self._seller(caller, command)
        if seller is not None and seller != caller.user_id:
            if command.buyer_id not in (None, caller.user_id):
                raise InvalidField("The caller is neither buyer nor seller.", field="buyer_id")
            return seller, "seller_id"
        if command.buyer_id is not None:
            return command.buyer_id, "buyer_id"
        missing = "seller_id" if seller is None else "buyer_id"
        raise InvalidField(f"{missing} is needed to tell who the other user is.", field=missing)

    async def _seller(self, caller: Caller, command: CreateConversation) -> str | None:
        """Who sells the thing: the catalogue's word, else the caller's."""
        subject = command.product_id or command.listing_id or ""
        known = (await self._context.store.catalogue.products(caller.tenant, [subject])).get(
            subject
        )
        if known is None or known.status == "deleted":
            if self._catalog_required:
                raise ListingNotFound(field=_subject_field(command))
            return command.seller_id
        if command.seller_id not in (None, known.seller_id):
            raise InvalidField("seller_id is not who sells this.", field="seller_id")
        return known.seller_id


def _subject_field(command: CreateConversation) -> str:
    return "listing_id" if command.listing_id is not None else "product_id"


def _check_shape(command: CreateConversation) -> None:
    named = [field for field in _SUBJECTS if getattr(command, field) is not None]
    if len(named) != 1:
        raise InvalidField(
            "Exactly one of listing_id, product_id and user_id is needed.",
            field=named[1] if named else "user_id",
        )
    if command.member_ids:
        raise InvalidField("A direct conversation has no member_ids.", field="member_ids")
    if command.title is not None:
        raise InvalidField("A direct conversation is made without a title.", field="title")
