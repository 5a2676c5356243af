"""What a write makes of a thing, as pure functions: each store applies the same ones."""

from msgspec import UNSET, structs

from tradewire.domain.ids import id_ms, parse_timestamp, timestamp
from tradewire.domain.types import (
    Conversation,
    Edit,
    Message,
    OrderCard,
    ProductCard,
    StatusChange,
)
from tradewire.domain.writes import EditMessage, RetireProduct, ReviseConversation

DELETED = "deleted"
"""The status of a product that its seller took back."""


def edited(message: Message, write: EditMessage) -> tuple[Message, Edit]:
    """The message after an edit, and the text that it gave up."""
    at = timestamp(id_ms(write.change_id))
    former = Edit(message.text or "", message.metadata, at)
    after = structs.replace(message, edited_at=at)
    if write.text is not UNSET:
        after.text = write.text
    if write.metadata is not UNSET:
        after.metadata = write.metadata
    return after, former


def deleted(message: Message) -> Message:
    """The message without anything that its sender said."""
    return structs.replace(
        message,
        text=None,
        metadata=None,
        attachments=None,
        reactions=None,
        language=None,
        card=None,
        deleted=True,
    )


def as_of(message: Message, now: int) -> Message:
    """The message as it reads at a time (ms): an expired one is as good as deleted."""
    if message.expires_at is None or message.deleted or parse_timestamp(message.expires_at) > now:
        return message
    return deleted(message)


def revised(conversation: Conversation, write: ReviseConversation) -> Conversation:
    """The conversation with what a revision gives."""
    given = {"title": write.title, "metadata": write.metadata, "status": write.status}
    changed = {name: value for name, value in given.items() if value is not UNSET}
    return structs.replace(conversation, **changed)


def with_status(order: OrderCard, change: StatusChange) -> OrderCard | None:
    """The order with one more status, None if it has it already.

    Its status is that with the newest time, whatever the order of arrival.
    """
    if change in order.history:
        return None
    history = sorted(
        [*order.history, change], key=lambda status: parse_timestamp(status.changed_at)
    )
    return structs.replace(order, status=history[-1].status, history=history)


def is_newer(product: ProductCard, known: ProductCard | None) -> bool:
    """Whether a card replaces the known one."""
    return known is None or product.version > known.version


def retired(write: RetireProduct, known: ProductCard) -> ProductCard | None:
    """The card of a product that is gone, None if the known one is newer."""
    if write.version <= known.version:
        return None
    return structs.replace(known, status=DELETED, version=write.version)
