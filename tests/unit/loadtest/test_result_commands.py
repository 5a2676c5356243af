"""``report``, ``compare`` and ``list`` on files."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadtest.__main__ import main
from loadtest.results import save
from tests.unit.loadtest.made_results import noisy, result, step


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three results, of which the second is slower and the third another scenario."""
    save(result(step()), tmp_path / "a.json")
    save(result(step(timeline=noisy(2.6, seed=2)), commit="f00"), tmp_path / "b.json")
    other = result(step(), name="seller", saturation=1000.0, started_at="2026-11-19T10:00:00Z")
    save(other, tmp_path / "deeper" / "c.json")
    return tmp_path


def test_a_report_is_put_beside_the_result(folder: Path) -> None:
    assert run("report", folder / "a.json").output.strip() == str(folder / "a.html")
    assert (folder / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_report_is_put_where_it_is_wanted(folder: Path) -> None:
    assert run("report", folder / "a.json", "--out", folder / "new" / "page.html").exit_code == 0
    assert (folder / "new" / "page.html").exists()


def test_a_comparison_shows_both_and_what_got_worse(folder: Path) -> None:
    found = run("compare", folder / "a.json", folder / "b.json")
    assert found.exit_code == 1
    assert "differs: commit 3b32a9f and f00" in found.output
    assert "worse beyond noise: 1,000/s: delivered p99" in found.output
    assert "B is worse." in found.output


def test_a_result_is_no_worse_than_itself(folder: Path) -> None:
    found = run("compare", folder / "a.json", folder / "a.json")
    assert found.exit_code == 0
    assert "Nothing got worse beyond noise." in found.output


def test_what_cannot_be_compared_exits_with_2(folder: Path) -> None:
    found = run("compare", folder / "a.json", folder / "deeper" / "c.json")
    assert found.exit_code == 2
    assert "cannot be compared: other scenario: pairs and seller" in found.output


def test_a_comparison_can_be_a_page(folder: Path) -> None:
    run("compare", folder / "a.json", folder / "b.json", "--html", folder / "page.html")
    html = (folder / "page.html").read_text(encoding="utf-8")
    assert "delivered p99" in html
    assert "worse" in html
    assert "<script" not in html
    assert "src=" not in html


def test_results_are_listed_oldest_first(folder: Path) -> None:
    headings, *lines = run("list", folder).stdout.splitlines()
    assert headings.split()[:5] == ["date", "scenario", "target", "rate", "p99"]
    assert [line.split()[-1] for line in lines] == ["deeper/c.json", "a.json", "b.json"]
    assert "seller" in lines[0]
    assert "1,000/s" in lines[0]
    assert "sound" in lines[0]
    assert "4.00 ms" in lines[1]


def test_a_file_that_is_no_result_is_named_and_not_fatal(folder: Path) -> None:
    (folder / "broken.json").write_text("{")
    (folder / "settings.json").write_text("{}")
    text = (folder / "a.json").read_text()
    (folder / "cut.json").write_text(text.replace(result(step()).steps[0].lateness, "HIST"))
    found = run("list", folder)
    assert found.exit_code == 0
    assert len(found.stdout.splitlines()) == 4
    assert f"no result: {folder / 'broken.json'}: " in found.stderr
    assert f"no result: {folder / 'settings.json'}: Object missing required" in found.stderr
    assert f"no result: {folder / 'cut.json'}: step 1, lateness: no histogram" in found.stderr


def test_an_empty_folder_has_no_results(tmp_path: Path) -> None:
    assert len(run("list", tmp_path).stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_file_that_is_no_result_is_refused(folder: Path, command: str) -> None:
    (folder / "broken.json").write_text("{")
    found = run(command, *([folder / "broken.json"] * (2 if command == "compare" else 1)))
    assert found.exit_code == 2
    assert "broken.json" in found.output
