"""Scenarios, carried out small on a node that is started here."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as Ran

from loadtest.__main__ import main
from loadtest.results import Result, Step, decoded, load
from loadtest.servers import Tradewire, running

SECRET = "a secret of this test and of nobody else"
FEW_FILES = (
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300));"
    "from loadtest.__main__ import main; main()"
)
COMMON = "name = 'small'\ndescription = 'Small.'\nseconds = 0.4\nwarm_up = 0.2\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One node for all tests."""
    ready: list[str] = []
    started, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with running(Tradewire({"JWT_SECRET": SECRET})) as server:
            ready.append(server.url)
            started.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30.0)
        yield ready[0]
    finally:
        done.set()
        thread.join()


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)


def carried_out(folder: Path, values: str, *words: str) -> tuple[Ran, Result]:
    """Carry out a scenario of these values."""
    scenario, out = folder / "small.toml", folder / "result.json"
    scenario.write_text(COMMON + values)
    ran = CliRunner().invoke(main, ["run", str(scenario), "--out", str(out), *words])
    assert out.exists(), ran.output
    return ran, load(out)


def sound(ran: Ran, result: Result) -> Step:
    """The one step of a run in which nothing was wrong; on a busy machine it may be worthless."""
    [step] = result.steps
    assert (step.faults, step.errors) == ({}, {}), ran.output
    assert ran.exit_code == (2 if step.invalid else 0)
    return step


def count(step: Step, kind: str) -> int:
    return int(decoded(step.latency[kind]).get_total_count())


READING = "connections = 2\nrate = 50\n"
MIX = "send = 1\nhistory = 1\ninbox = 1\nread = 1\ntyping = 1\n"

SENDING = {
    "pairs": ("kind = 'pairs'\nconnections = 4\nrate = 100", 1),
    "closed": ("kind = 'pairs'\nconnections = 4\nin_flight = 2", 1),
    "seller": ("kind = 'seller'\nconnections = 5\ndevices = 2\nrate = 50", 2),
    "group": ("kind = 'group'\nconnections = 8\nsenders = 2\nrate = 50", 7),
}

READING_ALONE = {
    "history": ("kind = 'history'\nmessages = 30\npage = 10", "history"),
    "history over HTTP": ("kind = 'history'\nmessages = 30\npage = 10\nover = 'http'", "history"),
    "inbox": ("kind = 'inbox'\nchats = 5", "inbox"),
}


@pytest.mark.parametrize(("values", "receivers"), SENDING.values(), ids=SENDING)
def test_everything_that_is_sent_reaches_all(
    values: str, receivers: int, url: str, tmp_path: Path
) -> None:
    step = sound(*carried_out(tmp_path, values, "--url", url))
    assert set(step.done) == {"send"}
    assert count(step, "delivered") == receivers * count(step, "send") > 0
    assert step.usage.keys() == {"server", "generator"}


@pytest.mark.parametrize(("values", "kind"), READING_ALONE.values(), ids=READING_ALONE)
def test_pages_are_read(values: str, kind: str, url: str, tmp_path: Path) -> None:
    step = sound(*carried_out(tmp_path, READING + values, "--url", url))
    assert set(step.done) == set(step.latency) == {kind}
    assert count(step, kind) > 0


def test_all_come_back_after_a_storm(url: str, tmp_path: Path) -> None:
    values = "kind = 'reconnect-storm'\nconnections = 6\ngroup_size = 3\nrate = 50\n"
    step = sound(*carried_out(tmp_path, values + "cut_at = 0.2", "--url", url))
    assert step.done["resume"] == count(step, "resume") == count(step, "welcome") == 6
    assert count(step, "delivered") == 3 * count(step, "send") > 0
    assert step.figures["s until the last had resumed"] > 0


def test_a_storm_needs_one_descriptor_for_each_connection(url: str, tmp_path: Path) -> None:
    scenario, out = tmp_path / "small.toml", tmp_path / "result.json"
    scenario.write_text(COMMON + "kind = 'reconnect-storm'\nconnections = 200\nrate = 50\n")
    words = ("run", str(scenario), "--out", str(out), "--url", url, "--processes", "1")
    subprocess.run([sys.executable, "-c", FEW_FILES, *words], check=False, timeout=60)
    [step] = load(out).steps
    assert (step.faults, step.errors) == ({}, {})
    assert count(step, "resume") == 200


def test_a_day_of_the_marketplace_has_everything(url: str, tmp_path: Path) -> None:
    values = "kind = 'marketplace-day'\nconnections = 4\nmessages = 20\npage = 10\nchats = 3\n"
    step = sound(*carried_out(tmp_path, f"{values}rate = 300\n[mix]\n{MIX}", "--url", url))
    assert step.done.keys() == {"send", "history", "inbox", "read", "typing"}
    assert step.latency.keys() == {*step.done, "delivered"}


def test_several_generators_are_one_load(url: str, tmp_path: Path) -> None:
    values, _ = SENDING["pairs"]
    words = ("--url", url, "--processes", "2", "--protocol", "msgpack", "--rate", "200")
    ran, result = carried_out(tmp_path, values, *words)
    step = sound(ran, result)
    assert step.offered == 200
    assert result.scenario["protocol"] == "msgpack"
    assert count(step, "delivered") == count(step, "send") > 0


def test_an_idle_crowd_costs_memory_on_a_node_of_its_own(tmp_path: Path) -> None:
    values = "kind = 'idle'\nconnections = 120\n"
    words = ("--self", "sqlite", "--set", "WORKERS=1", "--seconds", "1")
    ran, result = carried_out(tmp_path, values, *words)
    step = sound(ran, result)
    assert step.figures["connections"] == 120
    assert "KiB per connection" in step.figures
    assert result.target == "one node on sqlite"
    assert result.settings["WORKERS"] == "1"
    assert "JWT_SECRET" not in result.settings
    assert result.versions.keys() == {"tradewire", "python"}


def test_a_search_ends_with_a_step_that_confirms_it(url: str, tmp_path: Path) -> None:
    values = "kind = 'pairs'\nconnections = 4\nrate = 20\np99_ms = 0.001"
    ran, result = carried_out(tmp_path, values, "--url", url, "--search", "--seconds", "0.2")
    assert result.saturation is None
    assert [step.offered for step in result.steps][:2] in ([20, 10], [20, 20])
    assert not any(step.held for step in result.steps)
    assert "trying 20/s" in ran.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rush-hour"], "neither a file nor one of"),
        (["pairs", "--connections", "3"], "`connections` must be even"),
        (["pairs", "--search", "--self", "sqlite", "--set", "COLOUR=red"], "COLOUR: there is no"),
        (["idle", "--search"], "idle has no rate"),
        (["pairs", "--set", "WORKERS"], "must be KEY=VALUE"),
        (["pairs", "--nodes", "2"], "--nodes: only of --self cluster"),
        (["pairs", "--url", "http://127.0.0.1:1", "--self", "sqlite"], "--url: what runs already"),
        (["pairs", "--url", "127.0.0.1:1"], "must be like http://127.0.0.1:8080"),
        (["pairs", "--url", "http://127.0.0.1:1"], "http://127.0.0.1:1: "),
    ],
)
def test_what_cannot_be_is_said_and_ends_with_2(words: list[str], said: str) -> None:
    ran = CliRunner().invoke(main, ["run", *words])
    assert said in ran.output.replace("\n", " ")
    assert ran.exit_code == 2


def test_without_the_secret_nobody_can_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET")
    ran = CliRunner().invoke(main, ["run", "pairs", "--url", "http://127.0.0.1:1"])
    assert "JWT_SECRET" in ran.output
    assert ran.exit_code == 2


def test_what_is_bundled_is_listed_with_what_it_is() -> None:
    ran = CliRunner().invoke(main, ["scenarios"])
    assert ran.exit_code == 0
    assert "marketplace-day   A day of the marketplace" in ran.output
