"""CloudEvents in structured and in binary mode, out and in."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewire.domain.errors import (
    BadRequest,
    InvalidField,
    TradewireError,
    UnsupportedMediaType,
)
from tradewire.domain.ids import EPOCH_MS, id_at
from tradewire.domain.incoming import IncomingEvent, OrderStatusChanged, UserBlocked
from tradewire.domain.outbox import DomainEvent, ReceiptData
from tradewire.protocol import cloudevents
from tradewire.protocol.cloudevents import BATCH, JSON, STRUCTURED
from tradewire.protocol.examples import CONSUMED, shown

EVENT_ID = id_at(EPOCH_MS + 1_500) | 7
EVENT = DomainEvent(EVENT_ID, "shop", "MessageRead", "c-1", ReceiptData("c-1", "bob", "42"))
SOURCE = cloudevents.source("cell-1")

BINARY = {"ce_specversion": "1.0", "ce_id": "e-1", "ce_source": "/users", "ce_type": "UserBlocked"}


def event(**changes: Any) -> dict[str, Any]:
    made = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/users",
        "type": "UserBlocked",
        "data": {"user_id": "mallory"},
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def decode(body: object, media_type: str = STRUCTURED, **headers: str) -> list[IncomingEvent]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return cloudevents.decode({"content-type": media_type, **headers}, content)


def refused(body: object, media_type: str = STRUCTURED, **headers: str) -> TradewireError:
    with pytest.raises(TradewireError) as caught:
        decode(body, media_type, **headers)
    return caught.value


def test_a_published_event_in_structured_mode() -> None:
    assert json.loads(msgspec.json.encode(cloudevents.structured(EVENT, SOURCE))) == {
        "specversion": "1.0",
        "id": str(EVENT_ID),
        "source": "/tradewire/cell-1",
        "type": "MessageRead",
        "subject": "c-1",
        "time": "2024-01-01T00:00:01.500Z",
        "datacontenttype": "application/json",
        "tenant": "shop",
        "sequence": str(EVENT_ID),
        "data": {"conversation_id": "c-1", "user_id": "bob", "up_to": "42"},
    }


def test_a_published_event_in_binary_mode() -> None:
    headers, value = cloudevents.binary(EVENT, SOURCE)
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": str(EVENT_ID).encode(),
        "ce_source": b"/tradewire/cell-1",
        "ce_type": b"MessageRead",
        "ce_subject": b"c-1",
        "ce_time": b"2024-01-01T00:00:01.500Z",
        "ce_tenant": b"shop",
        "content-type": b"application/json",
    }
    assert json.loads(value) == {"conversation_id": "c-1", "user_id": "bob", "up_to": "42"}


@pytest.mark.parametrize("media_type", [STRUCTURED, JSON, "Application/JSON; charset=utf-8"])
def test_a_structured_event_is_read(media_type: str) -> None:
    found = decode(event(tenant="shop", subject="mallory", unknown=[1]), media_type)
    assert found == [
        IncomingEvent("e-1", "shop", "UserBlocked", "mallory", UserBlocked(user_id="mallory"))
    ]


def test_a_binary_event_is_read() -> None:
    headers = {**BINARY, "ce_tenant": "shop", "ce_subject": "mallory"}
    expected = UserBlocked(user_id="mallory", blocked_by="alice")
    body = {"user_id": "mallory", "blocked_by": "alice"}
    assert decode(body, JSON, **headers) == [
        IncomingEvent("e-1", "shop", "UserBlocked", "mallory", expected)
    ]
    assert decode(body, "", **headers) == decode(body, JSON, **headers)


def test_without_a_tenant_an_event_is_of_the_default_one() -> None:
    (found,) = decode(event())
    assert found.tenant == "default"
    content = json.dumps(event()).encode()
    (found,) = cloudevents.decode({"content-type": JSON}, content, default_tenant="shop")
    assert found.tenant == "shop"


@pytest.mark.parametrize("media_type", [STRUCTURED, BATCH, JSON])
def test_a_batch_is_read_in_its_order(media_type: str) -> None:
    found = decode([event(id="e-1"), event(id="e-2")], media_type)
    assert [one.ce_id for one in found] == ["e-1", "e-2"]
    assert decode([], media_type) == []


@pytest.mark.parametrize("name", CONSUMED)
def test_every_type_that_is_consumed_is_read(name: str) -> None:
    (found,) = decode(event(type=name, data=shown(CONSUMED[name])))
    assert found.data == CONSUMED[name]


def test_a_time_keeps_its_offset() -> None:
    data = {"order_id": "o-1", "status": "paid", "changed_at": "2026-11-20T12:00:00.5+02:00"}
    (found,) = decode(event(type="OrderStatusChanged", data=data))
    assert isinstance(found.data, OrderStatusChanged)
    assert found.data.changed_at == datetime(2026, 11, 20, 10, 0, 0, 500_000, UTC)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"source": None}, "source"),
        ({"type": None}, "type"),
        ({"type": "UserErased"}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"tenant": "no tenant"}, "tenant"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"data": None}, "data"),
        ({"data": "text"}, "data"),
        ({"data": {}}, "user_id"),
        ({"data": {"user_id": 7}}, "user_id"),
        ({"data": {"user_id": "u", "until": "2026-11-20T10:00:00"}}, "until"),
        ({"type": "ProductUpdated", "data": {"price": {"amount": None}}}, "price.amount"),
        ({"type": "ProductUpdated", "data": {"price": {"amount": 1}}}, "price.currency"),
        (
            {"type": "OrderCreated", "data": {"items": [{"unit_price": {"amount": []}}]}},
            "items[0].unit_price.amount",
        ),
    ],
)
def test_what_is_wrong_with_an_event_is_named(changes: dict[str, Any], field: str) -> None:
    error = refused(event(**changes))
    assert isinstance(error, InvalidField)
    assert error.field == field
    in_a_batch = refused([event(), event(**changes)])
    assert in_a_batch.field == field
    assert str(in_a_batch).startswith("Event 1 of the batch: ")


@pytest.mark.parametrize(
    ("changes", "body", "field"),
    [
        ({"ce_specversion": "2.0"}, b'{"user_id": "u"}', "ce_specversion"),
        ({"ce_id": ""}, b'{"user_id": "u"}', "ce_id"),
        ({"ce_type": "UserErased"}, b'{"user_id": "u"}', "ce_type"),
        ({"ce_tenant": "no tenant"}, b'{"user_id": "u"}', "ce_tenant"),
        ({"content-type": "text/plain"}, b'{"user_id": "u"}', "content-type"),
        ({}, b'{"user_id": ""}', "user_id"),
        ({}, b"", "data"),
        ({}, b"\xff", "data"),
    ],
)
def test_what_is_wrong_with_a_binary_event_is_named(
    changes: dict[str, str], body: bytes, field: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        cloudevents.decode({"content-type": JSON, **BINARY, **changes}, body)
    assert caught.value.field == field


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"id": "\xed\xa0\x80"}'])
def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    assert isinstance(refused(body, JSON), BadRequest)


@pytest.mark.parametrize("media_type", ["", "text/plain", "multipart/form-data"])
def test_other_media_types_are_refused(media_type: str) -> None:
    assert isinstance(refused(event(), media_type), UnsupportedMediaType)


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_body_makes_it_fail_otherwise(body: bytes) -> None:
    for headers in ({"content-type": JSON}, {"content-type": BATCH}, BINARY):
        with suppress(BadRequest, InvalidField):
            assert cloudevents.decode(headers, body) == []
