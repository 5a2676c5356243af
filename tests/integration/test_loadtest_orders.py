"""The load test that publishes orders."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.__main__ import main
from loadtest.results import decoded, load
from tradewire.testing.engines import Kafka

SMALL = """
name = "small"
kind = "order-events"
description = "Some orders beside some chat."
connections = 4
buyers = 3
chat_rate = 50
rate = 50
seconds = 0.5
warm_up = 0.2
"""


def test_every_order_reaches_its_buyer_once_beside_the_chat(
    kafka_engine: Kafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRADEWIRE_KAFKA", kafka_engine.brokers)
    scenario, out = tmp_path / "small.toml", tmp_path / "result.json"
    scenario.write_text(SMALL)
    ran = CliRunner().invoke(main, ["run", str(scenario), "--out", str(out)])
    assert out.exists(), ran.output
    result = load(out)
    assert [step.faults for step in result.steps] == [{}, {}]
    alone, both = result.steps
    assert (set(alone.done), set(both.done)) == ({"send"}, {"send", "order"})
    assert decoded(both.latency["order"]).get_total_count() > 0
    assert decoded(both.latency["delivered"]).get_total_count() > 0
    assert "broker" in result.versions
