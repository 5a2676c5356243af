"""The contracts for machines: JSON Schema of every payload, OpenAPI and AsyncAPI.

All of it is derived from the types that the server itself decodes with.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from tradewire.domain.incoming import INCOMING_TYPES
from tradewire.domain.outbox import DATA_TYPES
from tradewire.protocol import asyncapi, examples, openapi
from tradewire.protocol.components import components

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def documents() -> dict[str, bytes]:
    """Every document by its path, the same bytes for the same types."""
    found = {
        "openapi.json": openapi.document(),
        "asyncapi.json": asyncapi.document(),
        **{
            f"messages/{kind.__name__}.json": payload(kind.__name__, kind, example)
            for kind, example in examples.MESSAGES.items()
        },
        **{
            f"events/{name}.json": payload(name, kind, example)
            for name, kind, example in _domain_events()
        },
    }
    return {path: encode(found[path]) for path in sorted(found)}


def payload(title: str, kind: type[Struct], example: Struct) -> dict[str, Any]:
    """The schema of one payload, complete in itself."""
    known = components([kind], "#/$defs/{name}")
    schema = known.pop(kind.__name__)
    return {
        "$schema": DIALECT,
        **schema,
        "title": title,
        **({"$defs": known} if known else {}),
        "examples": [examples.shown(example)],
    }


def encode(document: dict[str, Any]) -> bytes:
    """A document as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _domain_events() -> Iterable[tuple[str, type[Struct], Struct]]:
    for name, published in DATA_TYPES.items():
        yield name, published, examples.PUBLISHED[name]
    for name, consumed in INCOMING_TYPES.items():
        yield name, consumed, examples.CONSUMED[name]
