"""The launcher of engines, up to the point where one would start."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Thread

import pytest

from tradewire.testing.engines import EngineError, EngineMissing, Kind, cassandra, kafka
from tradewire.testing.engines.addresses import free_ports, listed, split
from tradewire.testing.engines.containers import missing as containers_missing
from tradewire.testing.engines.handles import Kafka, silent
from tradewire.testing.engines.sources import Source, cassandra_sources, chosen

DEADLINE_S = 20.0


def source(kind: Kind, reason: str | None = None) -> Source[str]:
    return Source(kind, lambda: reason, lambda: nullcontext(f"from {kind}"))


def never_asked() -> str:
    raise AssertionError("a worse source was asked although a better one is there")


class TestSelection:
    def test_the_first_source_that_can_be_had_is_taken(self) -> None:
        sources = [
            source("environment", "not set"),
            source("container"),
            Source("process", never_asked, lambda: nullcontext("")),
        ]
        assert chosen("Kafka", "TRADEWIRE_KAFKA", sources).kind == "container"

    def test_without_any_the_error_says_what_is_missing_and_how_to_get_it(self) -> None:
        sources = [
            source("environment", "TRADEWIRE_KAFKA is not set"),
            source("container", "no container engine answers"),
            source("process", "no java on PATH"),
        ]
        with pytest.raises(EngineMissing) as caught:
            chosen("Kafka", "TRADEWIRE_KAFKA", sources)
        told = str(caught.value)
        assert told.startswith("NO KAFKA TO TEST AGAINST.\n")
        assert "  container: no container engine answers\n" in told
        assert "  process: no java on PATH\n" in told
        assert "set TRADEWIRE_KAFKA=host:port" in told
        assert "install Java 17 and Maven" in told

    def test_only_the_kinds_asked_for_are_considered(self, bare: dict[str, str]) -> None:
        environ = {**bare, "TRADEWIRE_KAFKA": "127.0.0.1:1"}
        with pytest.raises(EngineMissing), kafka(kinds=("process",), environ=environ):
            pass

    def test_an_address_that_does_not_answer_is_an_error_not_a_reason_to_look_on(
        self, closed_port: int
    ) -> None:
        address = f"127.0.0.1:{closed_port}"
        with (
            pytest.raises(EngineError, match=f"TRADEWIRE_SCYLLA={address} does not answer"),
            cassandra(environ={"TRADEWIRE_SCYLLA": address}),
        ):
            pass
        with (
            pytest.raises(EngineError, match=f"nothing answers at {address}"),
            kafka(environ={"TRADEWIRE_KAFKA": address}),
        ):
            pass

    @pytest.mark.parametrize("answer", [b"", b"\x84\0\0\0\x06\0\0\0\x02\0\x01", b"HTTP/1.1 400 No"])
    def test_what_speaks_another_language_is_no_engine(self, answer: bytes) -> None:
        with answering(answer) as address:
            for opening in (
                cassandra(environ={"TRADEWIRE_SCYLLA": address}),
                kafka(environ={"TRADEWIRE_KAFKA": address}),
            ):
                with pytest.raises(EngineError, match=address), opening:
                    pass

    @pytest.mark.parametrize(
        ("nodes", "authenticated", "reason"),
        [
            (1, False, None),
            (2, False, None),
            (3, False, "TRADEWIRE_SCYLLA has fewer than 3 addresses"),
            (1, True, "whether TRADEWIRE_SCYLLA asks for passwords is not known"),
        ],
    )
    def test_the_environment_is_passed_over_when_it_does_not_fit(
        self, nodes: int, authenticated: bool, reason: str | None
    ) -> None:
        environment, *_ = cassandra_sources(
            nodes,
            authenticated=authenticated,
            quick=True,
            tell=silent,
            environ={"TRADEWIRE_SCYLLA": "one:9042, two:9042"},
        )
        assert environment.missing() == reason

    def test_a_cluster_of_three_is_not_sought_in_containers(self) -> None:
        _, container, _ = cassandra_sources(
            3, authenticated=False, quick=True, tell=silent, environ={}
        )
        assert container.missing() == "one node only"

    def test_a_cluster_of_two_is_refused(self) -> None:
        with pytest.raises(ValueError, match="1 or 3 nodes"), cassandra(2, environ={}):
            pass

    def test_an_engine_that_is_not_ours_is_not_killed(self) -> None:
        with pytest.raises(EngineError, match="cannot kill it"):
            Kafka("environment", "Kafka at a:1", "a:1").kill()


class TestAddresses:
    def test_hosts_and_ports_are_told_apart(self) -> None:
        assert split("db.example:9042") == ("db.example", 9042)
        assert split("[::1]:9042") == ("::1", 9042)
        assert listed("a:1, b:2") == ("a:1", "b:2")

    @pytest.mark.parametrize("address", ["", "host", "host:", ":9042", "host:cql", "host:70000"])
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(EngineError, match="no host:port"):
            split(address)

    def test_free_ports_differ_and_can_be_listened_on(self) -> None:
        ports = free_ports(("127.0.0.1", "127.0.0.2"), 3)
        assert len(set(ports)) == 3
        with socket.socket() as listener:
            listener.bind(("127.0.0.2", ports[0]))


class TestContainers:
    def test_an_engine_that_listens_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "engine.sock"))
            listener.listen()
            monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
            assert containers_missing() is None

    def test_none_is_told_within_three_seconds(
        self, closed_port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for address in (f"tcp://127.0.0.1:{closed_port}", "unix:///nowhere.sock"):
            monkeypatch.setenv("DOCKER_HOST", address)
            started = time.monotonic()
            reason = containers_missing()
            assert reason is not None
            assert f"no container engine answers at {address}" in reason
            assert time.monotonic() - started < 3


class TestPlugin:
    TEST = "def test_engine(cassandra_engine, kafka_engine): ...\n"

    def outcome(self, folder: Path, environ: dict[str, str]) -> tuple[int, str]:
        (folder / "test_engine.py").write_text(self.TEST)
        ran = subprocess.run(
            (sys.executable, "-m", "pytest", "-p", "tradewire.testing.engines.plugin", "-rs"),
            cwd=folder,
            check=False,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return ran.returncode, ran.stdout

    def test_without_an_engine_tests_are_skipped_loudly(
        self, tmp_path: Path, bare: dict[str, str]
    ) -> None:
        code, said = self.outcome(tmp_path, bare)
        assert code == 0
        assert "1 skipped" in said
        assert "NO CASSANDRA OR SCYLLADB TO TEST AGAINST." in said

    def test_in_ci_they_fail(self, tmp_path: Path, bare: dict[str, str]) -> None:
        code, said = self.outcome(tmp_path, {**bare, "CI": "true"})
        assert code == 1
        assert "1 error" in said
        assert "NO CASSANDRA OR SCYLLADB TO TEST AGAINST." in said


class TestCommand:
    def ran(self, environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (sys.executable, "-m", "tradewire.testing.engines", *arguments),
            check=False,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_what_cannot_be_had_is_told(self, bare: dict[str, str]) -> None:
        run = self.ran(bare, "kafka")
        assert (run.returncode, run.stdout) == (1, "")
        assert "NO KAFKA TO TEST AGAINST." in run.stderr

    def test_an_unknown_engine_is_refused(self, bare: dict[str, str]) -> None:
        assert self.ran(bare, "oracle").returncode == 2


@pytest.fixture
def closed_port() -> int:
    [port] = free_ports(("127.0.0.1",), 1)
    return port


@pytest.fixture
def bare(tmp_path: Path, closed_port: int) -> dict[str, str]:
    """The environment of a machine that has nothing."""
    measuring = {name: value for name, value in os.environ.items() if name.startswith("COV")}
    nothing = {"PATH": "", "HOME": str(tmp_path), "DOCKER_HOST": f"tcp://127.0.0.1:{closed_port}"}
    return measuring | nothing


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives everyone the same answer and hangs up; its address."""

    def serve(listener: socket.socket, stopped: Callable[[], bool]) -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if stopped():
                    return
                connection.recv(1_000)
                connection.sendall(answer)

    over: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        thread = Thread(target=serve, args=(listener, lambda: bool(over)))
        thread.start()
        yield f"127.0.0.1:{address[1]}"
        over.append(True)
        socket.create_connection(address, DEADLINE_S).close()
        thread.join(DEADLINE_S)
