import signal
from collections.abc import Iterator

import pytest

from tests.engines import Keyspace, complaints, keyspace_on
from tradewire.testing.engines import Cassandra

ON_ENGINE = "on_engine"


def pytest_configure() -> None:
    """Let commands be stopped by SIGINT, which a shell has its background jobs ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def lent_keyspace(keyspace: Keyspace) -> Iterator[Keyspace]:
    """The same, on a connection that all nodes of this process share from now on."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        keyspace.lend(monkeypatch)
        yield keyspace
    assert keyspace.unprepared == set(), "clients can have statements run that are not prepared"


@pytest.fixture(scope="session")
def keyspace(cassandra_engine: Cassandra) -> Iterator[Keyspace]:
    """A keyspace for all tests of this run: who needs it empty clears it."""
    with keyspace_on(cassandra_engine.hosts) as made:
        yield made
    assert complaints(cassandra_engine.logs()) == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests had the real engine."""
    passed = terminalreporter.getreports("passed")
    ran = [report for report in passed if report.when == "call" and ON_ENGINE in report.keywords]
    terminalreporter.write_line(f"{len(ran)} tests ran on a real Cassandra or ScyllaDB")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on the engine."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        stores = {parameters.get("place"), parameters.get("module_place")}
        if "cassandra_engine" in getattr(item, "fixturenames", ()) or "scylla" in stores:
            item.add_marker(ON_ENGINE)
