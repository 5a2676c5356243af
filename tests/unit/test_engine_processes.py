"""Engines as processes: what is fetched, what they are told, how they start and end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from tradewire.testing.engines import EngineError, EngineMissing, versions
from tradewire.testing.engines.artifacts import (
    CASSANDRA,
    KAFKA,
    Artifact,
    copied_by_maven,
    folder_of,
    jars_of,
)
from tradewire.testing.engines.cassandra_setup import Plan
from tradewire.testing.engines.handles import silent
from tradewire.testing.engines.java import Java, Program, installed_java
from tradewire.testing.engines.process import Process, stop
from tradewire.testing.engines.waiting import wait_for

DEADLINE_S = 20.0


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def java_of(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2025-01-01' >&2"


class TestJava:
    def test_java_home_wins_over_path(self, tmp_path: Path) -> None:
        script(tmp_path / "path" / "java", java_of("21.0.1"))
        script(tmp_path / "home" / "bin" / "java", java_of("17.0.9"))
        path = str(tmp_path / "path")
        java = installed_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": path})
        assert java == Java(str(tmp_path / "home" / "bin" / "java"), "17.0.9")
        with pytest.raises(EngineMissing, match=r"Java 17 is needed; .* is 21\.0\.1"):
            installed_java({"PATH": path})

    def test_no_java_is_missing(self) -> None:
        with pytest.raises(EngineMissing, match="no java on PATH"):
            installed_java({"PATH": ""})

    def test_one_that_is_to_be_quick_compiles_its_code_once(self, tmp_path: Path) -> None:
        quick, usual = (
            Program(Java("java", "17.0.9"), tmp_path, "Main", tmp_path, quick=quick).command(
                [], learns=False
            )
            for quick in (True, False)
        )
        assert set(quick) - set(usual) == {"-XX:TieredStopAtLevel=1"}

    def test_classes_are_learned_once_and_then_read(self, tmp_path: Path) -> None:
        jars, scratch = tmp_path / "jars", tmp_path / "scratch"
        jars.mkdir()
        scratch.mkdir()
        (jars / "b.jar").touch()
        (jars / "a.jar").touch()
        program = Program(Java("java", "17.0.9"), jars, "Main", scratch, quick=False)
        first = program.command(["-Xmx1m"], ["argument"], learns=True)
        assert first[-4:] == ["-cp", f"{jars}/a.jar:{jars}/b.jar", "Main", "argument"]
        [learn] = [option for option in first if "ArchiveClassesAtExit" in option]
        assert not any("Archive=" in option for option in program.command([], learns=False))

        program.keep()
        assert not list(jars.glob("*.jsa"))
        Path(learn.partition("=")[2]).write_text("classes")
        program.keep()
        archive = jars / "java-17.0.9.jsa"
        assert archive.read_text() == "classes"
        assert f"-XX:SharedArchiveFile={archive}" in program.command([], learns=True)


class TestArtifacts:
    def test_the_cache_folder_is_named_after_the_artifact(self) -> None:
        name = f"tradewire/engines/cassandra-all-{versions.CASSANDRA}"
        assert folder_of(CASSANDRA, {"XDG_CACHE_HOME": "/cache"}) == Path("/cache") / name
        assert folder_of(CASSANDRA, {"HOME": "/home/me"}) == Path("/home/me/.cache") / name

    def test_two_at_once_fetch_once(self, tmp_path: Path) -> None:
        fetched = []

        def fetch(artifact: Artifact, folder: Path, environ: Mapping[str, str]) -> None:
            fetched.append(artifact)
            time.sleep(0.3)
            folder.mkdir()
            (folder / "engine.jar").touch()

        environ = {"XDG_CACHE_HOME": str(tmp_path)}
        with ThreadPoolExecutor(2) as pool:
            folders = [
                pool.submit(jars_of, KAFKA, environ=environ, tell=silent, fetch=fetch)
                for _ in range(2)
            ]
            assert {folder.result() for folder in folders} == {folder_of(KAFKA, environ)}
        assert fetched == [KAFKA]
        assert [jar.name for jar in folder_of(KAFKA, environ).iterdir()] == ["engine.jar"]

    def test_a_fetch_that_fails_leaves_nothing_and_is_tried_again(self, tmp_path: Path) -> None:
        environ = {"XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path)}
        maven = script(tmp_path / "mvn", "echo 'cannot resolve'; exit 1")
        with pytest.raises(
            EngineMissing, match=r"could not fetch kafka_2\.13(.|\n)*cannot resolve"
        ):
            jars_of(KAFKA, environ=environ, tell=silent)
        folder = folder_of(KAFKA, environ)
        assert [left.suffix for left in folder.parent.iterdir()] == [".lock"]

        script(maven, """for a; do case $a in -Doutput*) : >"${a#*=}/kafka.jar";; esac; done""")
        assert jars_of(KAFKA, environ=environ, tell=silent) == folder
        assert [jar.name for jar in folder.iterdir()] == ["kafka.jar"]

    def test_without_maven_nothing_can_be_fetched(self, tmp_path: Path) -> None:
        with pytest.raises(EngineMissing, match="no mvn on PATH"):
            copied_by_maven(KAFKA, tmp_path / "jars", {"PATH": ""})

    def test_the_project_depends_on_the_pinned_versions(self) -> None:
        pom = KAFKA.pom()
        assert f"<version>{versions.KAFKA}</version>" in pom
        assert "<artifactId>slf4j-simple</artifactId>" in pom


class TestCassandraSetup:
    def configuration(self, *hosts: str, authenticated: bool = False) -> dict[str, object]:
        plan = Plan(hosts, 9042, 7000, authenticated)
        read: dict[str, object] = json.loads(plan.configuration(0, Path("/scratch")))
        return read

    @pytest.mark.parametrize("hosts", [1, 3])
    def test_the_disk_is_waited_for_as_in_production(self, hosts: int) -> None:
        set_up = self.configuration(*(f"127.0.0.{number + 1}" for number in range(hosts)))
        assert (set_up["commitlog_sync"], set_up["commitlog_sync_period"]) == ("periodic", "10s")

    def test_limits_are_those_that_the_store_is_written_for(self) -> None:
        configuration = self.configuration("127.0.0.1")
        assert configuration["batch_size_warn_threshold"] == "50KiB"
        assert configuration["batch_size_fail_threshold"] == "50KiB"
        assert configuration["unlogged_batch_across_partitions_warn_threshold"] == 2000
        assert configuration["auto_snapshot"] is False

    def test_passwords_are_asked_for_on_demand(self) -> None:
        assert self.configuration("h")["authenticator"] == "AllowAllAuthenticator"
        asking = self.configuration("h", authenticated=True)
        assert asking["authenticator"] == "PasswordAuthenticator"

    def test_nodes_share_the_ring_evenly(self) -> None:
        first, second, third = Plan(("a", "b", "c"), 1, 2, authenticated=False).tokens()
        assert first == -(2**63) + 1
        assert second - first == third - second == 2**64 // 3


class TestProcess:
    def test_it_can_be_killed_and_started_again(self, sleeper: Process) -> None:
        with pytest.raises(EngineError, match="does not run"):
            sleeper.kill()
        for _ in range(2):
            sleeper.start()
            sleeper.check()
            sleeper.kill()
            assert not sleeper.runs
        with pytest.raises(EngineError, match="has ended with -9"):
            sleeper.check()

    def test_it_is_not_started_twice(self, sleeper: Process) -> None:
        sleeper.start()
        with pytest.raises(EngineError, match="runs already"):
            sleeper.start()

    def test_one_that_dies_tells_its_last_words(self, tmp_path: Path) -> None:
        process = made(tmp_path, "sh", "-c", "echo out of luck; exit 3")
        process.start()
        assert process.wait(DEADLINE_S)
        with pytest.raises(EngineError, match="has ended with 3:\nout of luck"):
            process.check()

    def test_a_program_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        process = made(tmp_path, "no-such-program")
        process.start()
        assert process.wait(DEADLINE_S)
        with pytest.raises(EngineError, match="no-such-program"):
            process.check()

    def test_stopping_reaches_the_frozen_and_the_deaf(self, tmp_path: Path) -> None:
        frozen = made(tmp_path / "frozen", "sleep", "600")
        deaf = made(tmp_path / "deaf", "sh", "-c", "trap '' TERM; echo deaf; sleep 600")
        for process in (frozen, deaf):
            process.start()
        wait_for(lambda: "deaf" in deaf.tail(), doing="", deadline_s=DEADLINE_S, tell=silent)
        wait_for(lambda: state(frozen) == "S", doing="", deadline_s=DEADLINE_S, tell=silent)
        frozen.pause()
        wait_for(lambda: state(frozen) == "T", doing="", deadline_s=DEADLINE_S, tell=silent)
        assert (frozen.runs, frozen.is_awake) == (True, False)
        assert not stop([frozen, deaf], deadline_s=1.0)
        assert not frozen.runs
        assert not deaf.runs

    def test_it_outlives_the_thread_that_started_it(self, sleeper: Process) -> None:
        thread = Thread(target=sleeper.start)
        thread.start()
        thread.join()
        assert not sleeper.wait(0.5)

    @pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
    def test_it_does_not_outlive_a_starter_that_is_killed(self, tmp_path: Path) -> None:
        starts = (
            "import os, sys, time; from pathlib import Path;"
            "from tradewire.testing.engines.process import Process;"
            "log = Path(sys.argv[1]);"
            "p = Process('p', ('sh', '-c', 'echo $$; sleep 600'), output=log, log=log,"
            " environ=os.environ); p.start(); time.sleep(600)"
        )
        output = tmp_path / "output"
        with subprocess.Popen((sys.executable, "-c", starts, str(output))) as starter:
            wait_for(
                lambda: output.exists() and output.read_text().endswith("\n"),
                doing="starting",
                deadline_s=DEADLINE_S,
                tell=silent,
            )
            started = Path("/proc") / output.read_text().strip()
            assert started.exists()
            starter.kill()
        wait_for(lambda: gone(started), doing="dying", deadline_s=DEADLINE_S, tell=silent)


class TestWaiting:
    def test_an_error_of_the_system_means_not_yet(self) -> None:
        answers = iter([OSError(), False, "here"])

        def ask() -> object:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

        assert wait_for(ask, doing="waiting", deadline_s=DEADLINE_S, tell=silent) == "here"

    def test_the_deadline_says_why(self) -> None:
        with pytest.raises(EngineError, match="waiting: not done after 0 s\nthe log"):
            wait_for(
                lambda: False,
                doing="waiting",
                deadline_s=0,
                tell=silent,
                why=lambda: "the log",
            )


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = made(tmp_path, "sleep", "600")
    yield process
    stop([process])


def made(folder: Path, *command: str) -> Process:
    folder.mkdir(exist_ok=True)
    return Process(
        command[0],
        command,
        output=folder / "output",
        log=folder / "log",
        environ={"PATH": os.environ["PATH"]},
    )


def state(process: Process) -> str:
    """The letter that Linux gives to what it does, once it has become the program."""
    assert process.pid is not None
    name, _, rest = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")
    return rest.split()[0] if name.endswith("(sleep") else ""


def gone(process: Path) -> bool:
    """Whether a process of /proc has ended, buried or not."""
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
