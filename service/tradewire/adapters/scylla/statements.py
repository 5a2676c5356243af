"""The statements of `cql/queries.cql`, by name."""

import re
from functools import cache
from importlib.resources import files

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?);$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"\b(FROM|INTO|UPDATE) (\w+)")


@cache
def statements(keyspace: str) -> dict[str, str]:
    """The text of every statement, for the tables of a keyspace."""
    text = (files("tradewire") / "_data" / "cql" / "queries.cql").read_text()
    qualified = rf"\1 {keyspace}.\2"
    return {
        name: _TABLE.sub(qualified, " ".join(body.split())) for name, body in _NAMED.findall(text)
    }
