"""The things a client sees: conversations, members, messages, cards (protocol §1, §4).

They are written as they go over the wire (ids as decimal strings, times as RFC 3339), so what a use
case returns is what is encoded, and the schemas are generated from these very types.
Fields left at their default are omitted.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewire.domain import limits
from tradewire.domain.ids import MAX_ID

# `$` alone would let a trailing line feed pass in Python; in ECMAScript the look-ahead is a no-op.
_END = r"$(?!\n)"

Name = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9._:@-]{{1,128}}{_END}")]
"""An id of the marketplace: user, device, listing, product, order, tenant."""

TokenId = Annotated[str, Meta(pattern=rf"^[!-~]{{1,256}}{_END}")]
"""The `jti` of a token: printable ASCII, for whoever issues tokens chooses it."""

ConversationId = Annotated[
    str,
    Meta(pattern=rf"^[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}{_END}"),
]


def _decimals_up_to(most: int) -> str:
    """A pattern of the numbers 0 to `most` in decimal form."""
    digits = str(most)
    shorter = f"0|[1-9][0-9]{{0,{len(digits) - 2}}}"
    smaller = [
        f"{digits[:place]}[{int(place == 0)}-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if int(digit) > int(place == 0)
    ]
    return "|".join((shorter, *smaller, digits))


MessageId = Annotated[str, Meta(pattern=rf"^({_decimals_up_to(MAX_ID)}){_END}")]
"""An id as a decimal string, within 63 bits."""

Metadata = dict[str, Any]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Title = Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARACTERS)]

Kind = Literal["direct", "group", "channel"]
Role = Literal["owner", "admin", "moderator", "member"]
ConversationStatus = Literal["open", "closed"]
ContentType = Literal[
    "text", "image", "video", "file", "product", "order", "system", "call", "encrypted"
]
MessageStatus = Literal["sent", "delivered", "read"]
Presence = Literal["online", "away", "invisible"]

SYSTEM = "system"
"""Who writes what no user wrote: order messages and notices. No token may carry this name."""


class Money(Struct, frozen=True):
    """An amount in the currency's usual unit, kept as it was given."""

    amount: int | float | str
    currency: str


class ProductCard(Struct, omit_defaults=True, kw_only=True):
    """A product as last known to the catalogue."""

    product_id: Name
    seller_id: Name
    title: str
    price: Money
    status: str
    version: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    image_url: str | None = None
    url: str | None = None


class OrderItem(Struct, omit_defaults=True, kw_only=True):
    """One line of an order."""

    product_id: Name
    title: str
    quantity: Annotated[int, Meta(ge=1)]
    unit_price: Money
    image_url: str | None = None


class StatusChange(Struct, frozen=True):
    """A status that an order took, and when."""

    status: str
    changed_at: Timestamp


class OrderCard(Struct, omit_defaults=True, kw_only=True):
    """An order as last known."""

    order_id: Name
    buyer_id: Name
    seller_id: Name
    items: list[OrderItem]
    total: Money
    status: str
    created_at: Timestamp
    history: list[StatusChange]


class Message(Struct, omit_defaults=True, kw_only=True, gc=False):
    """A message; `status` is what its recipients have acknowledged."""

    message_id: MessageId
    conversation_id: ConversationId
    sender_id: Name
    content_type: ContentType
    created_at: Timestamp
    status: MessageStatus
    text: str | None = None
    key: str | None = None
    metadata: Metadata | None = None
    attachments: list[Metadata] | None = None
    reply_to: MessageId | None = None
    reply_count: int = 0
    language: str | None = None
    expires_at: Timestamp | None = None
    edited_at: Timestamp | None = None
    deleted: bool = False
    reactions: dict[str, list[str]] | None = None
    card: Annotated[Any, Meta(description="A ProductCard or an OrderCard.")] = None

    @property
    def id(self) -> int:
        """The message id as a number."""
        return int(self.message_id)


class Member(Struct, kw_only=True):
    """A user in a conversation, with how far they have received and read it ("0": nothing)."""

    user_id: Name
    role: Role
    joined_at: Timestamp
    last_read_id: MessageId = "0"
    last_delivered_id: MessageId = "0"


class Conversation(Struct, omit_defaults=True, kw_only=True):
    """A conversation; the last fields are the reader's own and absent where many are told."""

    conversation_id: ConversationId
    kind: Kind
    status: ConversationStatus
    created_at: Timestamp
    created_by: Name
    listing_id: Name | None = None
    product_id: Name | None = None
    order_ids: list[str] | None = None
    title: str | None = None
    metadata: Metadata | None = None
    members: list[Member] | None = None
    member_count: int = 0
    last_message: Message | None = None
    unread_count: int | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    muted_until: Timestamp | None = None


class Edit(Struct):
    """A text that a message had before, and when it was given up."""

    text: str
    metadata: Metadata | None
    edited_at: Timestamp


class UserStatus(Struct, omit_defaults=True):
    """Whether a user is there; `last_seen` of one who is not."""

    user_id: Name
    status: Literal["online", "away", "offline"]
    last_seen: Timestamp | None = None
