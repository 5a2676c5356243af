"""The schema of a keyspace on the real engine: up, down, at once, cut off, and refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from tradewire.adapters.scylla import schema, schema_lock
from tradewire.adapters.scylla.cluster import Connected, connect
from tradewire.adapters.scylla.migrations import Migration, migrations, packaged
from tradewire.adapters.scylla.options import Options
from tradewire.ports import StoreError
from tradewire.testing.engines import Cassandra

FIRST = """
CREATE TABLE IF NOT EXISTS things (name text PRIMARY KEY, size int);
CREATE TABLE IF NOT EXISTS owners (name text PRIMARY KEY);
"""
SECOND = "CREATE TABLE IF NOT EXISTS prices (name text PRIMARY KEY);"
DOWN = "DROP TABLE IF EXISTS {};"
OWN = {"schema_lock", "schema_migrations"}


@pytest.fixture
def options(cassandra_engine: Cassandra, anybody: Connected) -> Iterator[Options]:
    """A keyspace that is not there yet, gone at the end."""
    options = of_cluster(cassandra_engine)
    yield options
    anybody.session.execute(f"DROP KEYSPACE IF EXISTS {options.keyspace}", timeout=60)


@pytest.fixture(scope="module")
def anybody(cassandra_engine: Cassandra) -> Iterator[Connected]:
    """A connection of somebody else, to no keyspace."""
    connected = connect(of_cluster(cassandra_engine), keyspace=False)
    yield connected
    connected.close()


@pytest.fixture
def one(tmp_path: Path) -> tuple[Migration, ...]:
    """The schema of an older program: of two tables."""
    folder = tmp_path / "older"
    folder.mkdir()
    write_first(folder)
    return migrations(folder)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Migration, ...]:
    """The schema of a newer program: another table."""
    folder = tmp_path / "newer"
    folder.mkdir()
    write_first(folder)
    (folder / "0002_prices.up.cql").write_text(SECOND)
    (folder / "0002_prices.down.cql").write_text(DOWN.format("prices"))
    return migrations(folder)


def write_first(folder: Path) -> None:
    (folder / "0001_first.up.cql").write_text(FIRST)
    (folder / "0001_first.down.cql").write_text(
        DOWN.format("things") + "\n" + DOWN.format("owners")
    )


def of_cluster(engine: Cassandra, **changes: Any) -> Options:
    host, _, port = engine.hosts[0].rpartition(":")
    kept = {"keyspace": f"mig_{uuid4().hex[:12]}", "replication_factor": 1}
    return Options(hosts=((host, int(port)),), **{**kept, **changes})


def ignore(_: str) -> None:
    """Nobody listens."""


def tables(anybody: Connected, options: Options) -> set[str]:
    query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
    return {name for (name,) in anybody.session.execute(query, (options.keyspace,))}


def record(anybody: Connected, options: Options, version: int, *, finished: bool = True) -> None:
    """Record a migration, as a newer program or one that was cut off has done."""
    anybody.session.execute(
        f"INSERT INTO {options.keyspace}.schema_migrations (program, version, name, finished)"
        " VALUES ('tradewire', %s, 'by hand', %s) IF NOT EXISTS",
        (version, finished),
    )


def hold_lock(anybody: Connected, options: Options, life_s: int) -> None:
    """Take the lock as somebody who dies then."""
    anybody.session.execute(
        f"INSERT INTO {options.keyspace}.schema_lock (name, holder) VALUES ('schema', 'the dead')"
        f" USING TTL {life_s}"
    )


class TestUp:
    def test_it_makes_the_keyspace_and_all_tables_and_again_it_does_nothing(
        self, options: Options, anybody: Connected
    ) -> None:
        told: list[str] = []
        assert schema.status(anybody, options) is None
        assert schema.up(options, told.append) == schema.newest() == len(packaged())
        assert schema.status(anybody, options) == schema.newest()
        schema.require_current(anybody, options)
        assert "CREATE TABLE IF NOT EXISTS messages" in told[1]
        told.clear()
        assert schema.up(options, told.append) == schema.newest()
        assert told == []
        assert schema.down(options, ignore, to=0) == 0
        assert tables(anybody, options) == OWN

    def test_the_keyspace_has_as_many_copies_as_asked_for_where_asked_for(
        self, options: Options, one: tuple[Migration, ...], anybody: Connected
    ) -> None:
        schema.up(options, ignore, steps=one)
        query = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
        (replication,) = anybody.session.execute(query, (options.keyspace,)).one()
        (datacenter,) = {host.datacenter for host in anybody.session.cluster.metadata.all_hosts()}
        assert replication["class"].endswith("NetworkTopologyStrategy")
        assert replication[datacenter] == "1"

    def test_a_keyspace_that_is_there_stays_as_it_is(
        self, options: Options, one: tuple[Migration, ...], anybody: Connected
    ) -> None:
        anybody.session.execute(
            f"CREATE KEYSPACE {options.keyspace} WITH durable_writes = true"
            " AND replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        assert schema.up(options, ignore, steps=one) == 1

    def test_a_newer_program_goes_on_from_an_older_one(
        self,
        options: Options,
        one: tuple[Migration, ...],
        two: tuple[Migration, ...],
        anybody: Connected,
    ) -> None:
        schema.up(options, ignore, steps=one)
        anybody.session.execute(
            f"INSERT INTO {options.keyspace}.things (name, size) VALUES ('lamp', 1)"
        )
        told: list[str] = []
        assert schema.up(options, told.append, steps=two) == 2
        assert told == ["schema 2 (prices), 1 of 1: CREATE TABLE IF NOT EXISTS prices"]
        assert anybody.session.execute(f"SELECT name FROM {options.keyspace}.things").all() == [
            ("lamp",)
        ]

    def test_of_several_at_once_one_does_it_and_the_others_find_it_done(
        self, options: Options, two: tuple[Migration, ...], anybody: Connected
    ) -> None:
        told: list[list[str]] = [[], [], []]
        together = Barrier(len(told))

        def bring_up(tell: Callable[[str], None]) -> int:
            together.wait()
            return schema.up(options, tell, steps=two)

        with ThreadPoolExecutor(len(told)) as pool:
            results = list(pool.map(bring_up, [each.append for each in told]))
        assert results == [2, 2, 2]
        steps = [line for lines in told for line in lines if "CREATE TABLE" in line]
        assert len(steps) == 3
        assert tables(anybody, options) == OWN | {"things", "owners", "prices"}
        assert schema.status(anybody, options) == 2

    def test_one_that_was_cut_off_is_done_again(
        self, options: Options, one: tuple[Migration, ...], anybody: Connected
    ) -> None:
        schema.up(options, ignore, steps=one)
        schema.down(options, ignore, to=0, steps=one)
        record(anybody, options, 1, finished=False)
        anybody.session.execute(
            f"CREATE TABLE {options.keyspace}.things (name text PRIMARY KEY, size int)"
        )
        assert schema.status(anybody, options) == 0
        assert schema.up(options, ignore, steps=one) == 1
        assert schema.status(anybody, options) == 1
        assert tables(anybody, options) == OWN | {"things", "owners"}

    def test_tables_that_nobody_recorded_are_no_harm(
        self, options: Options, one: tuple[Migration, ...], anybody: Connected
    ) -> None:
        anybody.session.execute(
            f"CREATE KEYSPACE {options.keyspace}"
            " WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        anybody.session.execute(
            f"CREATE TABLE {options.keyspace}.things (name text PRIMARY KEY, size int)"
        )
        assert schema.up(options, ignore, steps=one) == 1

    def test_a_statement_that_is_refused_leaves_the_version_and_can_be_mended(
        self, options: Options, two: tuple[Migration, ...], anybody: Connected, tmp_path: Path
    ) -> None:
        script = tmp_path / "newer" / "0002_prices.up.cql"
        script.write_text(SECOND + "\nALTER TABLE nowhere WITH comment = 'x';")
        with pytest.raises(StoreError, match="nowhere"):
            schema.up(options, ignore, steps=two)
        assert schema.status(anybody, options) == 1
        script.write_text(SECOND)
        assert schema.up(options, ignore, steps=two) == 2

    def test_the_lock_of_the_dead_is_waited_for(
        self,
        options: Options,
        one: tuple[Migration, ...],
        two: tuple[Migration, ...],
        anybody: Connected,
    ) -> None:
        schema.up(options, ignore, steps=one)
        hold_lock(anybody, options, life_s=3)
        told: list[str] = []
        assert schema.up(options, told.append, steps=two) == 2
        assert told[0] == "waiting: the dead changes the schema"

    def test_a_lock_that_is_held_for_too_long_is_an_error(
        self,
        options: Options,
        one: tuple[Migration, ...],
        two: tuple[Migration, ...],
        anybody: Connected,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(schema_lock, "WAIT_S", 1.0)
        schema.up(options, ignore, steps=one)
        hold_lock(anybody, options, life_s=600)
        with pytest.raises(StoreError, match="the dead"):
            schema.up(options, ignore, steps=two)
        assert schema.status(anybody, options) == 1

    def test_who_lost_the_lock_does_nothing_more(
        self,
        options: Options,
        two: tuple[Migration, ...],
        anybody: Connected,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(schema_lock, "RENEWED_S", 0.0)

        def take_lock_away(line: str) -> None:
            if "things" in line:
                anybody.session.execute(
                    f"UPDATE {options.keyspace}.schema_lock SET holder = 'another'"
                    " WHERE name = 'schema' IF EXISTS"
                )

        with pytest.raises(StoreError, match="was lost"):
            schema.up(options, take_lock_away, steps=two)
        assert tables(anybody, options) == OWN | {"things"}
        assert schema.status(anybody, options) == 0


class TestDown:
    def test_it_drops_what_only_newer_ones_have(
        self, options: Options, two: tuple[Migration, ...], anybody: Connected
    ) -> None:
        schema.up(options, ignore, steps=two)
        assert schema.down(options, ignore, to=1, steps=two) == 1
        assert tables(anybody, options) == OWN | {"things", "owners"}
        assert schema.status(anybody, options) == 1
        assert schema.up(options, ignore, steps=two) == 2

    def test_one_that_was_cut_off_is_done_again(
        self, options: Options, two: tuple[Migration, ...], anybody: Connected
    ) -> None:
        schema.up(options, ignore, steps=two)
        anybody.session.execute(
            f"UPDATE {options.keyspace}.schema_migrations SET finished = false"
            " WHERE program = 'tradewire' AND version = 1 IF EXISTS"
        )
        anybody.session.execute(f"DROP TABLE {options.keyspace}.things")
        assert schema.status(anybody, options) == 0
        schema.down(options, ignore, to=0, steps=two)
        assert tables(anybody, options) == OWN

    def test_there_is_no_way_down_to_what_is_above(
        self, options: Options, one: tuple[Migration, ...]
    ) -> None:
        schema.up(options, ignore, steps=one)
        with pytest.raises(StoreError, match="no way down to 2"):
            schema.down(options, ignore, to=2, steps=one)

    def test_where_nothing_is_there_is_nothing_to_take_back(self, options: Options) -> None:
        with pytest.raises(StoreError, match=options.keyspace):
            schema.down(options, ignore, to=0)


class TestRefusals:
    def test_a_newer_schema(
        self, options: Options, one: tuple[Migration, ...], anybody: Connected
    ) -> None:
        schema.up(options, ignore, steps=one)
        record(anybody, options, 99)
        told = "has schema 99, this program knows schema 1: run the newer program"
        with pytest.raises(StoreError, match=told):
            schema.up(options, ignore, steps=one)
        with pytest.raises(StoreError, match=told):
            schema.down(options, ignore, to=0, steps=one)
        with pytest.raises(StoreError, match=r"has schema 99, .*run the newer program"):
            schema.require_current(anybody, options)
        assert tables(anybody, options) == OWN | {"things", "owners"}

    def test_an_older_schema(
        self, options: Options, one: tuple[Migration, ...], anybody: Connected
    ) -> None:
        schema.up(options, ignore, steps=one)
        schema.down(options, ignore, to=0, steps=one)
        told = f"has schema 0, this program needs schema {schema.newest()}: run `tradewire migrate"
        with pytest.raises(StoreError, match=told):
            schema.require_current(anybody, options)

    def test_no_keyspace(self, options: Options, anybody: Connected) -> None:
        with pytest.raises(StoreError, match=rf"{options.keyspace} .*run `tradewire migrate up`"):
            schema.require_current(anybody, options)

    def test_a_wrong_address(self) -> None:
        nowhere = Options(hosts=(("127.0.0.1", 1),), keyspace="mig_nowhere")
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 \(SCYLLA_HOSTS\)"):
            schema.up(nowhere, ignore)

    def test_a_wrong_datacenter(self, cassandra_engine: Cassandra, anybody: Connected) -> None:
        options = of_cluster(cassandra_engine, datacenter="atlantis")
        with pytest.raises(StoreError, match=r"no datacenter atlantis \(SCYLLA_DATACENTER\)"):
            schema.up(options, ignore)
        assert tables(anybody, options) == set()

    def test_more_copies_than_a_quorum_of_nodes_can_hold(
        self, cassandra_engine: Cassandra, anybody: Connected
    ) -> None:
        copies = 2 * len(anybody.session.cluster.metadata.all_hosts()) + 1
        options = of_cluster(cassandra_engine, replication_factor=copies)
        with pytest.raises(StoreError, match="SCYLLA_REPLICATION_FACTOR"):
            schema.up(options, ignore)
        assert tables(anybody, options) == set()
