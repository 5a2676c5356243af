"""``sweep``: a scenario at several values of a setting."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from loadtest.__main__ import main
from loadtest.plots import by_value
from loadtest.results import Usage, save
from loadtest.svg import COLOURS
from loadtest.sweep import table
from loadtest.sweeps import Sweep, Trial, sweep_at
from loadtest.terminal import wide_console
from tests.unit.loadtest.made_results import MIB, histogram, result, step

SCENARIO = (
    "name = 'small'\nkind = 'pairs'\ndescription = 'Small.'\nconnections = 4\nrate = 100\n"
    "seconds = 0.4\nwarm_up = 0.2\n"
)
VALUES = ["1", "64"]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def swept(folder: Path, *words: str) -> tuple[Result, Path]:
    """Sweep a small scenario on SQLite."""
    scenario, out = folder / "small.toml", folder / "sweep.json"
    scenario.write_text(SCENARIO)
    return run("sweep", scenario, "--self", "sqlite", "--out", out, *words), out


def trial(value: str, number: int, sends: int, ms: float, **values: Any) -> Trial:
    """A run of a minute, in which so many were sent and delivered after so many milliseconds."""
    made = step(
        done={"send": sends},
        latency={"delivered": histogram(ms)},
        usage={
            "server": Usage(sends / 10_000, MIB),
            "engine": Usage(sends / 1000, MIB),
            "generator": Usage(6.0, MIB),
        },
    )
    return Trial(value, number, result(replace(made, **values)))


def made() -> Sweep:
    """Three rounds of two values; the second value was once disturbed."""
    trials = [
        *(trial("1", 1, 6_000, 8.0), trial("64", 1, 60_000, 2.0)),
        *(
            trial("1", 2, 12_000, 4.0),
            trial("64", 2, 600, 100.0, invalid=["the generator was late"]),
        ),
        *(trial("1", 3, 9_000, 5.0), trial("64", 3, 66_000, 1.0)),
    ]
    return Sweep(setting="KAFKA_LINGER_MS", values=VALUES, trials=trials)


def test_each_value_is_run_on_a_server_of_its_own(tmp_path: Path) -> None:
    words = ("--set", "COMMIT_GROUP_UNITS=1,64", "--set", "DRAIN_SECONDS=0", "--closed", "2")
    ran, out = swept(tmp_path, *words)
    found = sweep_at(out)
    assert found is not None, ran.output
    assert (found.setting, found.values, found.rounds) == ("COMMIT_GROUP_UNITS", VALUES, 1)
    assert [trial.value for trial in found.trials] == VALUES
    settings = [trial.result.settings for trial in found.trials]
    assert [each["COMMIT_GROUP_UNITS"] for each in settings] == VALUES
    assert {each["DRAIN_SECONDS"] for each in settings} == {"0"}
    for trial in found.trials:
        [only] = trial.result.steps
        assert (only.faults, only.errors, only.offered) == ({}, {}, None)
        assert only.done["send"] > 0
    assert ran.exit_code == found.exit_code in (0, 2)
    assert re.search(r"^ +64 +[\d,]+/s +[\d.]+ ms", ran.output, re.MULTILINE)
    assert str(out) in ran.output
    assert "COMMIT_GROUP_UNITS, units" in out.with_suffix(".svg").read_text(encoding="utf-8")


def test_what_was_measured_before_a_value_is_refused_is_kept(tmp_path: Path) -> None:
    ran, out = swept(tmp_path, "--set", "COMMIT_GROUP_UNITS=8,2000", "--rounds", "2")
    assert ran.exit_code == 2
    assert "COMMIT_GROUP_UNITS: must be 1 to 1000" in ran.output
    assert f"what was measured is in {out}" in ran.output
    found = sweep_at(out)
    assert found is not None
    assert [(trial.value, trial.round) for trial in found.trials] == [("8", 1)]


def test_the_table_has_the_medians_over_the_rounds() -> None:
    console = wide_console(140)
    with console.capture() as captured:
        console.print(table(made()))
    _, headings, _, one, other, *_ = captured.get().splitlines()
    assert re.split(r"  +", headings.strip()) == [
        *("KAFKA_LINGER_MS", "done", "p50", "p99"),
        *("server CPU per 1,000", "engine CPU per 1,000", "verdict"),
    ]
    figures = r"150/s +5\.00 ms +5\.00 ms +0\.100 s +1\.00 s +sound"
    assert re.fullmatch(rf" +1 +{figures} *", one)
    assert re.match(r" +64 +1,000/s +2\.00 ms .* 2 x sound, 1 x proves nothing", other)


def test_the_plot_is_a_file_of_its_own() -> None:
    svg = by_value(made())
    assert {"KAFKA_LINGER_MS, ms", "operations done/s", "delivered latency, ms"} <= words_of(svg)
    assert {"p50", "p99", *VALUES} <= words_of(svg)
    assert any("medians of 3 rounds" in words for words in words_of(svg))
    assert any("hollow: " in words for words in words_of(svg))
    assert "var(--" not in svg
    assert COLOURS["blue"][0] in svg
    assert 'width="450pt"' in svg, "600 pixels"


def test_without_latencies_only_throughput_is_drawn() -> None:
    trials = [trial(value, 1, 60, 1.0, latency={}) for value in VALUES]
    svg = by_value(Sweep(setting="WORKERS", values=VALUES, trials=trials))
    assert {"operations done/s", "WORKERS, processes"} <= words_of(svg)
    assert "delivered latency, ms" not in words_of(svg)


def words_of(svg: str) -> set[str]:
    """The texts of a plot."""
    return set(re.findall(r"<(?:text|tspan)[^>]*>([^<]+)</", svg))


def test_the_worst_run_decides_how_a_sweep_ends() -> None:
    good, worthless = trial("1", 1, 60, 1.0), trial("64", 1, 60, 1.0, invalid=["late"])
    wrong = trial("2", 1, 60, 1.0, faults={"lost": 1})
    codes = [
        Sweep(setting="WORKERS", values=VALUES, trials=trials).exit_code
        for trials in ([good], [good, worthless], [good, worthless, wrong])
    ]
    assert codes == [0, 2, 1]


def test_a_sweep_beside_results_is_listed_as_one_and_is_no_result(tmp_path: Path) -> None:
    save(made(), tmp_path / "sweep.json")
    save(result(step()), tmp_path / "run.json")
    listed = run("list", tmp_path)
    assert listed.stderr == ""
    assert any(
        "pairs by KAFKA_LINGER_MS" in line and "proves nothing" in line and "sweep.json" in line
        for line in listed.stdout.splitlines()
    )
    for words in (["report"], ["compare", tmp_path / "run.json"]):
        ran = run(*words, tmp_path / "sweep.json")
        assert ran.exit_code == 2
        assert "sweep.json is a sweep, not a run" in ran.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--set: one setting must have several values"),
        (["--set", "WORKERS=1"], "--set: one setting must have several values"),
        (["--set", "WORKERS=1,2", "--set", "DRAIN_SECONDS=0,1"], "not WORKERS and DRAIN_SECONDS"),
        (["--set", "WORKERS=1,1"], "--set WORKERS: each value must be there, and only once"),
        (["--set", "WORKERS=1,,2"], "--set WORKERS: each value must be there, and only once"),
        (["--set", "WORKERS"], "must be KEY=VALUE"),
        (["--set", "COLOUR=red,blue"], "COLOUR: there is no such setting"),
        (["--set", "WORKERS=1,2", "--url", "http://127.0.0.1:1"], "--url: each value needs"),
        (["--set", "WORKERS=1,2", "--out", "x.svg"], "--out x.svg: the plot goes there"),
        (["--set", "WORKERS=1,2", "--nodes", "2"], "--nodes: only of --self cluster"),
        (["--set", "WORKERS=1,2", "--closed", "2", "--rate", "5"], "`rate` or `in_flight`"),
        (["--set", "WORKERS=1,2", "--closed", "2", "--search"], "`rate`: a search needs one"),
    ],
)
def test_what_cannot_be_is_said_and_ends_with_2(words: list[str], said: str) -> None:
    ran = run("sweep", "pairs", *words)
    assert said in ran.output.replace("\n", " ")
    assert ran.exit_code == 2
