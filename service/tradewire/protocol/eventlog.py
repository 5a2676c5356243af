"""The log of domain events over HTTP: reading it, and bringing what Kafka would (protocol §7)."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tradewire.domain import limits
from tradewire.domain.types import MessageId
from tradewire.protocol.cloudevents import CloudEvent
from tradewire.protocol.validation import invalid_field

PATH = "/v1/events"
ROLE = "service"
"""The role that a token needs for it."""


class EventsQuery(Struct, frozen=True):
    """Which page of the log: events with a sequence above `after`."""

    after: MessageId = "0"
    limit: Annotated[int, Meta(ge=1, le=limits.EVENTS_PAGE_MAX)] = limits.EVENTS_PAGE

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "EventsQuery":
        """The page that a query string asks for.

        Raises:
            InvalidField: a parameter is of the wrong type or out of range.
        """
        try:
            return msgspec.convert(dict(query), cls, strict=False)
        except msgspec.ValidationError as error:
            raise invalid_field(error) from error


class EventsPage(Struct):
    """A page of the log; `next_after` goes back as `after`, and stays as it is at the end.

    A page may hold fewer events than asked for, or none, before the end: those of other tenants
    are left out.
    """

    events: list[CloudEvent]
    next_after: MessageId


class EventsHandled(Struct):
    """How many events took effect, and how many had before."""

    handled: int
    duplicates: int
