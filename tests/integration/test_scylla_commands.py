"""The command `tradewire` with a cluster that is there: migrate, doctor, serve."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from tests.engines import Keyspace
from tradewire.adapters.scylla import schema
from tradewire.adapters.scylla.cluster import connect
from tradewire.adapters.scylla.options import Options
from tradewire.cli import main
from tradewire.config import SETTINGS, load_settings, scylla_options
from tradewire.testing.engines import Cassandra

DEADLINE_S = 60.0
NEWER = schema.newest() + 1


@pytest.fixture
def empty(cassandra_engine: Cassandra, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment for a keyspace that is not there yet, gone at the end."""
    environ = {
        "SCYLLA_HOSTS": ",".join(cassandra_engine.hosts),
        "SCYLLA_KEYSPACE": f"mig_{uuid4().hex[:12]}",
        "SCYLLA_REPLICATION_FACTOR": "1",
        "DATA_DIR": str(tmp_path / "data"),
    }
    yield environ
    connected = connect(options_of(environ), keyspace=False)
    connected.session.execute(f"DROP KEYSPACE IF EXISTS {environ['SCYLLA_KEYSPACE']}", timeout=60)
    connected.close()


@pytest.fixture
def ready(keyspace: Keyspace, tmp_path: Path) -> dict[str, str]:
    """The environment for a keyspace with the schema."""
    return {**keyspace.environ, "DATA_DIR": str(tmp_path / "data")}


def options_of(environ: dict[str, str]) -> Options:
    return scylla_options(load_settings(environ, {}))


def invoke(environ: dict[str, str], *arguments: str) -> Result:
    clean: dict[str, str | None] = dict.fromkeys(setting.name for setting in SETTINGS)
    return CliRunner().invoke(main, arguments, prog_name="tradewire", env={**clean, **environ})


def newer(environ: dict[str, str]) -> None:
    """A keyspace with the records that a newer program leaves."""
    schema.up(options_of(environ), lambda _: None, steps=())
    connected = connect(options_of(environ))
    for version in range(1, NEWER + 1):
        connected.session.execute(
            "INSERT INTO schema_migrations (program, version, name, finished)"
            " VALUES ('tradewire', %s, 'newer', true) IF NOT EXISTS",
            (version,),
        )
    connected.close()


def finding(result: Result, about: str) -> str:
    (line,) = (line for line in result.stdout.splitlines() if f" {about}: " in line)
    return line


class TestMigrate:
    def test_up_tells_each_step_and_down_drops_all(self, empty: dict[str, str]) -> None:
        before = invoke(empty, "migrate", "status")
        assert before.exit_code == 0
        assert before.stdout.startswith(f"no schema in the keyspace {empty['SCYLLA_KEYSPACE']} yet")

        brought_up = invoke(empty, "migrate", "up")
        assert brought_up.exit_code == 0, brought_up.output
        *steps, last = brought_up.stdout.splitlines()
        assert last == f"schema {schema.newest()}, the newest"
        assert any("CREATE TABLE IF NOT EXISTS messages" in step for step in steps)
        assert invoke(empty, "migrate", "up").stdout.splitlines() == [last]
        assert invoke(empty, "migrate", "status").stdout == (
            f"schema {schema.newest()}; the newest is {schema.newest()}\n"
        )

        refused = invoke(empty, "migrate", "down", "--to", "0")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "--yes" in refused.stderr
        assert finding(invoke(empty, "doctor"), "schema").startswith("ok")
        taken_down = invoke(empty, "migrate", "down", "--to", "0", "--yes")
        assert taken_down.exit_code == 0, taken_down.output
        assert taken_down.stdout.splitlines()[-1] == "schema 0"
        assert invoke(empty, "migrate", "status").stdout.startswith("schema 0;")

    def test_a_newer_schema_is_told(self, empty: dict[str, str]) -> None:
        newer(empty)
        for command in (["up"], ["down", "--to", "0", "--yes"]):
            ended = invoke(empty, "migrate", *command)
            assert (ended.exit_code, ended.stdout) == (2, "")
            assert f"has schema {NEWER}" in ended.stderr


class TestDoctor:
    def test_a_cluster_that_is_ready(self, ready: dict[str, str]) -> None:
        checked = invoke(ready, "doctor")
        assert checked.exit_code == 0, checked.output
        assert re.search(r"Cassandra \d|ScyllaDB", finding(checked, "cluster"))
        assert re.search(r"^ok   nodes: (\d+) of \1 up in", finding(checked, "nodes"))
        assert finding(checked, "schema").startswith(f"ok   schema: {schema.newest()} of")
        assert finding(checked, "replication").startswith("warn replication: factor 1 in")

    def test_a_keyspace_that_is_missing(self, empty: dict[str, str]) -> None:
        checked = invoke(empty, "doctor")
        assert checked.exit_code == 1
        assert finding(checked, "schema") == ("fail schema: none yet; run tradewire migrate up")

    def test_a_newer_schema(self, empty: dict[str, str]) -> None:
        newer(empty)
        checked = invoke(empty, "doctor")
        assert checked.exit_code == 1
        assert finding(checked, "schema").startswith(f"fail schema: {NEWER}, newer")

    def test_a_datacenter_that_is_not_there(self, ready: dict[str, str]) -> None:
        checked = invoke({**ready, "SCYLLA_DATACENTER": "atlantis"}, "doctor")
        assert checked.exit_code == 1
        assert "no datacenter atlantis" in finding(checked, "cluster")


class TestServe:
    def test_without_a_schema_it_does_not_start(self, empty: dict[str, str]) -> None:
        with serving(empty) as process:
            out, told = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (2, "")
        assert "tradewire migrate up" in told.splitlines()[-1]

    def test_it_brings_the_schema_up_when_told_to(self, empty: dict[str, str]) -> None:
        with serving(empty, "--migrate") as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready http://")
            process.send_signal(signal.SIGTERM)
            out, told = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (0, "")
        assert "CREATE TABLE IF NOT EXISTS messages" in told


def serving(environ: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tradewire", "serve", "--port", "0", *arguments],
        env={"PATH": os.environ["PATH"], "DRAIN_SECONDS": "0.2", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
