"""Schemas of types, with the members filled in that the types leave open."""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from msgspec import Struct

from tradewire.domain.errors import ErrorBody
from tradewire.domain.results import Result
from tradewire.domain.types import OrderCard, ProductCard

Schema = dict[str, Any]

OPEN: dict[tuple[str, str], tuple[type[Struct], ...]] = {
    ("Message", "card"): (ProductCard, OrderCard),
    ("Reply", "result"): get_args(Result),
    ("Reply", "error"): (ErrorBody,),
}
"""What the members may hold that the decoder takes as they come: `(type, member)`."""


def components(types: Iterable[type[Struct]], template: str) -> dict[str, Schema]:
    """The schemas of types and of all that they refer to, by name.

    `template` is the form of a reference: `#/$defs/{name}`.
    """
    found: dict[str, Schema] = {}
    wanted = list(types)
    while wanted:
        new = msgspec.json.schema_components(wanted, ref_template=template)[1]
        new = {name: schema for name, schema in new.items() if name not in found}
        found |= new
        wanted = [
            kind
            for (owner, member), kinds in OPEN.items()
            if owner in new
            for kind in _fill(new[owner], member, kinds, template)
        ]
    return dict(sorted(found.items()))


def _fill(
    schema: Schema, member: str, kinds: tuple[type[Struct], ...], template: str
) -> tuple[type[Struct], ...]:
    references = [{"$ref": template.format(name=kind.__name__)} for kind in kinds]
    described = schema["properties"][member].get("description")
    schema["properties"][member] = {
        **({"description": described} if described else {}),
        "anyOf": references,
    }
    return kinds
