import tomllib
from pathlib import Path
from typing import Any

import pytest

from loadtest.plan import ClosedLoop, Idle, OpenLoop
from loadtest.scenario import (
    FOLDER,
    MarketplaceDay,
    OrderEvents,
    ScenarioError,
    bundled,
    load_scenario,
)

NAMES = [path.stem for path in bundled()]


def written(folder: Path, of: str = "pairs", **changed: Any) -> str:
    """A bundled scenario with other values; a value of None is left out."""
    values = {**tomllib.loads((FOLDER / f"{of}.toml").read_text()), **changed}
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for name, value in values.items()
        if value is not None and not isinstance(value, dict)
    ]
    lines += [
        f"[{name}]\n" + "\n".join(f"{key} = {part!r}" for key, part in value.items())
        for name, value in values.items()
        if isinstance(value, dict)
    ]
    path = folder / "scenario.toml"
    path.write_text("\n".join(lines))
    return str(path)


def test_what_is_bundled() -> None:
    assert NAMES == [
        "group", "history", "idle", "inbox", "marketplace-day", "order-events", "pairs",
        "reconnect-storm", "seller",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_scenario_loads_under_its_own_name(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description.endswith(".")
    assert scenario.loads()


@pytest.mark.parametrize("name", NAMES)
def test_the_file_of_a_scenario_may_be_anywhere(name: str, tmp_path: Path) -> None:
    assert load_scenario(written(tmp_path, name)) == load_scenario(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_not_known_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="`conections`"):
        load_scenario(written(tmp_path, name, conections=2))


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="`connections`"):
        load_scenario(written(tmp_path, name, connections=None))


BAD: list[tuple[str, str, object]] = [
    ("pairs", "kind", "triples"),
    ("pairs", "name", 1),
    ("pairs", "description", 1),
    ("pairs", "connections", 0),
    ("pairs", "connections", 3),
    ("pairs", "rate", 0),
    ("pairs", "rate", "fast"),
    ("pairs", "rate", None),
    ("pairs", "in_flight", 4),
    ("pairs", "in_flight", 0),
    ("pairs", "seconds", 0),
    ("pairs", "warm_up", -1),
    ("pairs", "ramp", -1),
    ("pairs", "processes", 0),
    ("pairs", "protocol", "xml"),
    ("pairs", "p99_ms", 0),
    ("seller", "devices", 0),
    ("group", "senders", 0),
    ("group", "senders", 1000),
    ("idle", "rate", 10),
    ("idle", "in_flight", 1),
    ("reconnect-storm", "group_size", 7),
    ("reconnect-storm", "cut_at", 1),
    ("history", "messages", 49),
    ("history", "page", 201),
    ("history", "over", "carrier pigeon"),
    ("inbox", "chats", 0),
    ("inbox", "unread", -1),
    ("inbox", "unread", 1_000_000),
    ("inbox", "page", 101),
    ("order-events", "buyers", 0),
    ("order-events", "chat_rate", 0),
    ("order-events", "connections", 3),
    ("marketplace-day", "connections", 3),
    ("marketplace-day", "messages", 1),
    ("marketplace-day", "chats", 0),
    ("marketplace-day", "mix", {"send": -1}),
    ("marketplace-day", "mix", {"read": 1}),
    ("marketplace-day", "mix", {"send": 1, "sned": 1}),
]


@pytest.mark.parametrize(("name", "field", "value"), BAD)
def test_a_field_that_makes_no_sense_is_named(
    name: str, field: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match=field):
        load_scenario(written(tmp_path, name, **{field: value}))


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = ")
    with pytest.raises(ScenarioError, match=r"broken\.toml"):
        load_scenario(str(path))


def test_who_asks_for_an_unknown_one_is_told_what_there_is() -> None:
    with pytest.raises(ScenarioError, match=r"rush-hour.*marketplace-day"):
        load_scenario("rush-hour")


def test_values_may_be_laid_over_those_of_the_file() -> None:
    scenario = load_scenario("pairs", {"rate": 7.0, "seconds": 3.0, "protocol": "msgpack"})
    assert (scenario.rate, scenario.seconds, scenario.protocol) == (7.0, 3.0, "msgpack")


def test_what_is_laid_over_is_checked_too() -> None:
    with pytest.raises(ScenarioError, match="connections"):
        load_scenario("pairs", {"connections": 5})


def test_a_rate_makes_an_open_loop_of_a_closed_one(tmp_path: Path) -> None:
    path = written(tmp_path, rate=None, in_flight=4)
    [closed] = load_scenario(path).loads()
    [opened] = load_scenario(path, {"rate": 5.0}).loads()
    assert isinstance(closed, ClosedLoop)
    assert closed.in_flight == 4
    assert isinstance(opened, OpenLoop)
    assert opened.rate == 5.0


def test_what_is_in_flight_makes_a_closed_loop_of_an_open_one(tmp_path: Path) -> None:
    path = written(tmp_path, rate=5.0, in_flight=None)
    [closed] = load_scenario(path, {"in_flight": 4}).loads()
    assert isinstance(closed, ClosedLoop)
    assert closed.in_flight == 4
    with pytest.raises(ScenarioError, match="`rate` or `in_flight`"):
        load_scenario(path, {"in_flight": 4, "rate": 5.0})


def test_an_idle_crowd_does_nothing() -> None:
    assert load_scenario("idle").loads() == [Idle(10.0)]


def test_the_mix_is_in_shares_of_the_rate() -> None:
    scenario = load_scenario("marketplace-day", {"rate": 200.0})
    assert isinstance(scenario, MarketplaceDay)
    [load] = scenario.loads()
    assert isinstance(load, OpenLoop)
    assert load.rate == pytest.approx(200.0)
    assert load.shares == pytest.approx(
        {"send": 80.0, "history": 30.0, "inbox": 20.0, "read": 40.0, "typing": 30.0}
    )


def test_the_chat_is_measured_without_the_orders_first() -> None:
    scenario = load_scenario("order-events", {"rate": 50.0})
    assert isinstance(scenario, OrderEvents)
    alone, both = scenario.loads()
    assert isinstance(alone, OpenLoop)
    assert isinstance(both, OpenLoop)
    assert (list(alone.shares), alone.rate) == (["send"], scenario.chat_rate)
    assert (list(both.shares), both.rate) == (["send", "order"], scenario.chat_rate + 50.0)
