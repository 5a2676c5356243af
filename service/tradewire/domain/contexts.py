"""What a direct conversation is about; two users have one conversation for each context."""

from tradewire.domain.ids import direct_conversation_id, id_ms, timestamp
from tradewire.domain.types import Conversation, Member, Metadata


def context_of(listing_id: str | None, product_id: str | None) -> str:
    """What a direct conversation is about: a listing, a product, or its two users alone."""
    if listing_id is not None:
        return f"listing:{listing_id}"
    if product_id is not None:
        return f"product:{product_id}"
    return "user"


def direct_conversation(
    tenant: str,
    change_id: int,
    first: str,
    second: str,
    *,
    created_by: str,
    listing_id: str | None = None,
    product_id: str | None = None,
    metadata: Metadata | None = None,
) -> tuple[Conversation, tuple[Member, ...]]:
    """The direct conversation of two users about a listing, a product or neither.

    Its members, of equal right, stand in it as well. `change_id` says when it is made.
    """
    made_at = timestamp(id_ms(change_id))
    members = tuple(
        Member(user_id=user_id, role="member", joined_at=made_at) for user_id in (first, second)
    )
    context = context_of(listing_id, product_id)
    conversation = Conversation(
        conversation_id=direct_conversation_id(tenant, context, first, second),
        kind="direct",
        status="open",
        created_at=made_at,
        created_by=created_by,
        listing_id=listing_id,
        product_id=product_id,
        metadata=metadata,
        members=list(members),
        member_count=len(members),
    )
    return conversation, members
