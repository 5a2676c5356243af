"""The migrations of a keyspace: numbered scripts, each with a way back.

`NNNN_name.up.cql` is followed by `NNNN_name.up.scylla.cql` or `.up.cassandra.cql`, where there is
one, and taken back by `NNNN_name.down.cql`. A statement ends with `;` at the end of a line; a line
that begins with `--` is a comment. Every statement is safe to run again.
"""

import re
from functools import cache
from importlib.abc import Traversable
from importlib.resources import files

from msgspec import Struct

_UP = re.compile(r"(\d{4})_(\w+)\.up\.cql")
_END = re.compile(r";[ \t]*$", re.MULTILINE)


class Migration(Struct, frozen=True):
    """One step of the schema.

    Attributes:
        version: the schema that it leads to, from the one before.
        folder: where its scripts are.
    """

    version: int
    name: str
    folder: Traversable

    def up(self, dialect: str) -> list[str]:
        """The statements that make it."""
        return self._script("up") + self._script(f"up.{dialect}", optional=True)

    def down(self) -> list[str]:
        """The statements that take it back."""
        return self._script("down")

    def _script(self, kind: str, *, optional: bool = False) -> list[str]:
        script = self.folder / f"{self.version:04}_{self.name}.{kind}.cql"
        if optional and not script.is_file():
            return []
        return statements(script.read_text())


def migrations(folder: Traversable) -> tuple[Migration, ...]:
    """Those in a folder, in order.

    Raises:
        ValueError: their numbers have a gap.
    """
    names = filter(None, (_UP.fullmatch(each.name) for each in folder.iterdir()))
    found = sorted((int(name[1]), name[2]) for name in names)
    if [version for version, _ in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations in {folder} are not numbered from 1 without a gap")
    return tuple(Migration(version, name, folder) for version, name in found)


@cache
def packaged() -> tuple[Migration, ...]:
    """Those of this program."""
    return migrations(files("tradewire") / "_data" / "cql")


def statements(script: str) -> list[str]:
    """The statements of a script.

    Raises:
        ValueError: the last one has no end.
    """
    lines = (line for line in script.splitlines() if not line.startswith("--"))
    *found, rest = (each.strip() for each in _END.split("\n".join(lines)))
    if rest:
        raise ValueError(f"a statement has no `;` at its end: {rest}")
    return found
