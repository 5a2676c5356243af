"""What the command line asks for."""

import re
import socket
from typing import Any

import pytest
from click.testing import CliRunner

from loadtest import cluster_bench, scylla_bench
from loadtest.__main__ import bench, main
from loadtest.bench import Options
from loadtest.engines import engine_process, loopback
from loadtest.servers import ServerError


def given(*words: str) -> dict[str, Any]:
    params = bench.make_context("bench", list(words)).params
    return {
        name: value
        for name, value in params.items()
        if value is not None and name not in {"store", "cluster", "out"}
    }


def test_each_store_has_its_own_rounds_and_rate() -> None:
    embedded, scylla = Options(**given()), scylla_bench.Options(**given())
    cluster = cluster_bench.Options(**given())
    assert (embedded.rounds, embedded.rate) == (6, 2000.0)
    assert (scylla.rounds, scylla.rate) == (cluster.rounds, cluster.rate) == (4, 500.0)
    assert (scylla.connections, scylla.in_flight) == (200, 16)


def test_what_is_said_holds_for_each() -> None:
    words = ("--rounds", "2", "--rate", "50", "--connections", "20", "--duration", "0.5")
    for kind in (Options, scylla_bench.Options, cluster_bench.Options):
        options = kind(**given(*words))
        assert (options.rounds, options.rate) == (2, 50.0)
        assert (options.connections, options.duration) == (20, 0.5)


def test_the_embedded_store_is_the_default() -> None:
    assert bench.make_context("bench", []).params["store"] == "sqlite"


def test_another_store_is_refused() -> None:
    result = CliRunner().invoke(main, ["bench", "--store", "kafka"])
    assert result.exit_code == 2
    assert "kafka" in result.output


@pytest.mark.parametrize("store", ["sqlite", "scylla"])
def test_a_cluster_leaves_no_choice_of_the_store(store: str) -> None:
    result = CliRunner().invoke(main, ["bench", "--cluster", "--store", store])
    assert result.exit_code == 2
    assert "leave --store out" in result.output


@pytest.mark.parametrize("words", [("--store", "scylla"), ("--cluster",)])
def test_an_engine_that_does_not_answer_makes_the_run_invalid(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIRE_SCYLLA", "127.0.0.1:1")
    result = CliRunner().invoke(main, ["bench", *words])
    assert result.exit_code == 2
    assert re.search(r"invalid:.*127\.0\.0\.1:1", result.output)


def test_an_engine_of_this_machine_is_taken() -> None:
    assert loopback("127.0.0.1:9042") == ("127.0.0.1", 9042)
    assert loopback("localhost:19042") == ("127.0.0.1", 19042)


def test_an_engine_of_another_machine_is_not_measured() -> None:
    with pytest.raises(ServerError, match="another machine"):
        loopback("192.0.2.1:9042")


def test_what_listens_in_place_of_an_engine_is_not_taken_for_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert engine_process(listening.getsockname()[1]) is None
