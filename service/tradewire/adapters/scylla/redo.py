"""A commit group as its outbox row holds it: the domain events, and how its rows are made again.

The rows of new messages follow from their events, so only what the events lack is kept of them;
all other rows are kept as they are. Applying them twice is harmless: each has its own timestamp.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from tradewire.adapters.scylla.apply_messages import message_rows
from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.draft import Draft, Placed
from tradewire.domain.outbox import DomainEvent, MessageData
from tradewire.domain.packing import event_row, pack_events, pack_message, unpack_events
from tradewire.domain.types import Message

_FORMAT = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[int, list[Placed], list[tuple[str, tuple[Any, ...]]]]
).decode


class Group(Struct, frozen=True):
    """What an outbox row says.

    Attributes:
        placed: of its new messages, each with its `MessageSent` among the events.
        mutations: its other rows.
    """

    batch_id: int
    events: list[DomainEvent]
    placed: list[Placed]
    mutations: list[Mutation]

    def sent(self) -> Iterator[tuple[str, Message, Placed]]:
        """The new messages with their tenants."""
        by_id = {event.id: event for event in self.events if event.type == "MessageSent"}
        for placed in self.placed:
            event = by_id[placed.message_id]
            assert isinstance(event.data, MessageData)
            yield event.tenant, event.data.message, placed

    def rows(self) -> Iterator[Mutation]:
        """Every row of the group."""
        for tenant, message, placed in self.sent():
            yield from message_rows(tenant, message, pack_message(message), placed)
        yield from self.mutations

    def without(self, ids: set[int]) -> "Group":
        """The group without some of its messages."""
        return Group(
            self.batch_id,
            [event for event in self.events if event.id not in ids],
            [placed for placed in self.placed if placed.message_id not in ids],
            self.mutations,
        )


def pack_draft(draft: Draft) -> tuple[bytes, bytes]:
    """The events and the redo part of a group's row."""
    return pack_events(draft.events), _encode((_FORMAT, draft.placed, draft.mutations))


def pack_group(group: Group) -> tuple[bytes, bytes]:
    """The same for a group that was read."""
    events = pack_events(map(event_row, group.events))
    return events, _encode((_FORMAT, group.placed, group.mutations))


def unpack_group(batch_id: int, events: bytes, redo: bytes) -> Group:
    """A group from its row.

    Raises:
        ValueError: it was written by a newer program.
    """
    format_, placed, mutations = _decode(redo)
    if format_ != _FORMAT:
        raise ValueError(f"group {batch_id} has format {format_}, known is {_FORMAT}")
    return Group(batch_id, unpack_events(events), placed, mutations)


def rows_of(draft: Draft) -> list[Mutation]:
    """Every row of a draft, those of one partition side by side."""
    rows = [
        row
        for (tenant, message, body), placed in zip(draft.messages, draft.placed, strict=True)
        for row in message_rows(tenant, message, body, placed)
    ]
    return rows + draft.mutations
