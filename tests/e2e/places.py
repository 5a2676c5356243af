"""Where a node under test keeps its data: each store in turn, empty for each test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest

from tests.engines import Keyspace

StoreKind = Literal["sqlite", "scylla"]
STORES: tuple[StoreKind, ...] = ("sqlite", "scylla")


class Place:
    """The settings of a node's store.

    Attributes:
        environ: by the names of their variables.
        cell: the name of the installation.
    """

    def __init__(self, environ: Mapping[str, str], cell: str = "default", suffix: str = "") -> None:
        self.cell = cell
        self.environ = {**environ, "CELL_ID": cell}
        self._suffix = suffix

    def tenant(self, name: str) -> str:
        """What a tenant of this name is called here: tests that share a keyspace share none."""
        return name + self._suffix


def embedded(data_dir: Path) -> Place:
    """A data folder of the embedded store."""
    return Place({"DATA_DIR": str(data_dir)})


def place_of(request: pytest.FixtureRequest, data_dir: Path) -> Place:
    """An empty place on the store that this test or module is to run on."""
    if request.param == "sqlite":
        return embedded(data_dir)
    keyspace: Keyspace = request.getfixturevalue("lent_keyspace")
    own = uuid4().hex[:12]
    return Place({**keyspace.environ, "DATA_DIR": str(data_dir)}, f"cell-{own}", f"-{own}")


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each store in turn."""
    return place_of(request, tmp_path)


@pytest.fixture(scope="module", params=STORES)
def module_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Each store in turn, for all tests of a module."""
    return place_of(request, tmp_path_factory.mktemp("place"))
