"""Domain events as CloudEvents 1.0, in structured and in binary mode (protocol §7)."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tradewire.domain.errors import BadRequest, InvalidField, UnsupportedMediaType
from tradewire.domain.ids import id_ms, timestamp
from tradewire.domain.incoming import INCOMING_TYPES, EventId, IncomingData, IncomingEvent, Moment
from tradewire.domain.outbox import DomainEvent
from tradewire.domain.types import MessageId, Name, Timestamp
from tradewire.protocol.validation import UNDECODABLE, explanation, field_path

JSON = "application/json"
_JSON = JSON.encode()
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

DEFAULT_TENANT = "default"
PREFIX = "ce_"
"""What the header of an attribute begins with in binary mode."""


class CloudEvent(Struct, kw_only=True):
    """A published event in structured mode; `sequence` is its place in the log."""

    specversion: Literal["1.0"] = "1.0"
    id: MessageId
    source: str
    type: str
    subject: str
    time: Timestamp
    datacontenttype: Literal["application/json"] = "application/json"
    tenant: Name
    sequence: MessageId
    data: Any


class Attributes(Struct, frozen=True, kw_only=True):
    """What an incoming event says about itself; other attributes are ignored."""

    specversion: Literal["1.0"]
    id: EventId
    source: EventId
    type: EventId
    subject: str | None = None
    time: Moment | None = None
    datacontenttype: str = JSON
    tenant: Name | None = None


class _Structured(Attributes, frozen=True, kw_only=True):
    data: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_structured = msgspec.json.Decoder(_Structured).decode
_decoders: dict[str, msgspec.json.Decoder[IncomingData]] = {
    name: msgspec.json.Decoder(kind) for name, kind in INCOMING_TYPES.items()
}


def source(cell_id: str) -> str:
    """The `source` of what the cell publishes."""
    return f"/tradewire/{cell_id}"


def structured(event: DomainEvent, source: str) -> CloudEvent:
    """A published event as one object."""
    return CloudEvent(
        id=str(event.id),
        source=source,
        type=event.type,
        subject=event.subject,
        time=timestamp(id_ms(event.id)),
        tenant=event.tenant,
        sequence=str(event.id),
        data=event.data,
    )


def binary(event: DomainEvent, source: str) -> tuple[list[tuple[str, bytes]], bytes]:
    """A published event as the headers and the value of a Kafka record."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"%d" % event.id),
        ("ce_source", source.encode()),
        ("ce_type", event.type.encode()),
        ("ce_subject", event.subject.encode()),
        ("ce_time", timestamp(id_ms(event.id)).encode()),
        ("ce_tenant", event.tenant.encode()),
        ("content-type", _JSON),
    ]
    return headers, _encode(event.data)


def decode(
    headers: Mapping[str, str], body: bytes, default_tenant: str = DEFAULT_TENANT
) -> list[IncomingEvent]:
    """The events of a record or request: one, or a batch.

    `headers` have lower-case names, an attribute's is `ce_<name>`. They tell the mode: the media
    type of structured mode or of a batch, or else attributes among the headers: binary mode.

    Raises:
        BadRequest: not JSON.
        InvalidField: an attribute, named as it came (`id`, `ce_id`), or a member of the data, named
            by its path there (`price.amount`), is missing or wrong; or the type is not consumed.
        UnsupportedMediaType: neither of these media types.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in {STRUCTURED, BATCH}:
        if any(name.startswith(PREFIX) for name in headers):
            return [_from_binary(headers, media_type or JSON, body, default_tenant)]
        if media_type != JSON:
            raise UnsupportedMediaType
    if body.lstrip()[:1] != b"[":
        return [_from_structured(body, default_tenant)]
    return _from_batch(body, default_tenant)


def _from_batch(body: bytes, default_tenant: str) -> list[IncomingEvent]:
    try:
        members = _decode_batch(body)
    except UNDECODABLE as error:
        raise BadRequest("The body is not JSON.") from error
    return [
        _from_member(index, bytes(member), default_tenant) for index, member in enumerate(members)
    ]


def _from_member(index: int, member: bytes, default_tenant: str) -> IncomingEvent:
    try:
        return _from_structured(member, default_tenant)
    except InvalidField as error:
        raise InvalidField(f"Event {index} of the batch: {error}", field=error.field) from error


def _from_structured(body: bytes, default_tenant: str) -> IncomingEvent:
    try:
        event = _decode_structured(body)
    except msgspec.ValidationError as error:
        raise InvalidField(explanation(error), field=field_path(error)) from error
    except UNDECODABLE as error:
        raise BadRequest("The event is not JSON.") from error
    return _incoming(event, bytes(event.data), "", default_tenant)


def _from_binary(
    headers: Mapping[str, str], media_type: str, body: bytes, default_tenant: str
) -> IncomingEvent:
    named = {
        name.removeprefix(PREFIX): value
        for name, value in headers.items()
        if name.startswith(PREFIX)
    }
    try:
        attributes = msgspec.convert(named | {"datacontenttype": media_type}, Attributes)
    except msgspec.ValidationError as error:
        raise InvalidField(explanation(error), field=f"{PREFIX}{field_path(error)}") from error
    return _incoming(attributes, body, PREFIX, default_tenant)


def _incoming(
    attributes: Attributes, data: bytes, prefix: str, default_tenant: str
) -> IncomingEvent:
    if attributes.type not in INCOMING_TYPES:
        raise InvalidField(
            f"Events of the type {attributes.type} are not handled by this version.",
            field=f"{prefix}type",
        )
    if attributes.datacontenttype.partition(";")[0].strip().lower() != JSON:
        raise InvalidField(
            "The data must be application/json.",
            field="content-type" if prefix else "datacontenttype",
        )
    return IncomingEvent(
        ce_id=attributes.id,
        tenant=attributes.tenant or default_tenant,
        type=attributes.type,
        subject=attributes.subject,
        data=_decode_data(attributes.type, data),
    )


def _decode_data(kind: str, data: bytes) -> IncomingData:
    try:
        return _decoders[kind].decode(data)
    except msgspec.ValidationError as error:
        raise InvalidField(explanation(error), field=field_path(error) or "data") from error
    except UNDECODABLE as error:
        raise InvalidField("The data is not JSON.", field="data") from error
