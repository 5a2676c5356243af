"""The scripts of `cql/`, and how they are read."""

import re
from pathlib import Path

import pytest

from tradewire.adapters.scylla.migrations import migrations, packaged, statements
from tradewire.adapters.scylla.schema import newest

DIALECTS = ("scylla", "cassandra")


def write(folder: Path, **scripts: str) -> Path:
    for name, script in scripts.items():
        (folder / f"{name.replace('__', '.')}.cql").write_text(script)
    return folder


def test_a_script_is_cut_into_statements_and_comments_are_left_out() -> None:
    script = """-- What it is for; and why.
CREATE TABLE one (
    a text,
-- Inside;
    PRIMARY KEY (a)
) WITH comment = 'a; b';

DROP TABLE two;
"""
    assert statements(script) == [
        "CREATE TABLE one (\n    a text,\n    PRIMARY KEY (a)\n) WITH comment = 'a; b'",
        "DROP TABLE two",
    ]


def test_a_statement_without_an_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="DROP TABLE two"):
        statements("DROP TABLE one;\nDROP TABLE two\n")


def test_what_only_one_dialect_knows_comes_after_what_both_know(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        **{"0001_first__up": "A;", "0001_first__up__scylla": "B;", "0001_first__down": "C;"},
    )
    (step,) = migrations(folder)
    assert (step.version, step.name) == (1, "first")
    assert [step.up(dialect) for dialect in DIALECTS] == [["A", "B"], ["A"]]
    assert step.down() == ["C"]


def test_they_are_numbered_without_a_gap(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"0001_first__up": "A;", "0003_third__up": "B;"})
    with pytest.raises(ValueError, match="gap"):
        migrations(folder)


def test_two_of_one_number_are_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"0001_first__up": "A;", "0001_second__up": "B;"})
    with pytest.raises(ValueError, match="gap"):
        migrations(folder)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_migration_can_be_run_again(dialect: str) -> None:
    assert len(packaged()) == newest() >= 1
    for step in packaged():
        for statement in step.up(dialect):
            assert re.match(r"CREATE TABLE IF NOT EXISTS |ALTER TABLE \w+ WITH ", statement)
        for statement in step.down():
            assert re.match(r"DROP TABLE IF EXISTS \w+$", statement)


def test_the_way_back_leaves_no_table() -> None:
    for step in packaged():
        made = [name for each in step.up("") for name in re.findall(r"^CREATE .* (\w+) \(", each)]
        gone = [each.split()[-1] for each in step.down()]
        assert sorted(made) == sorted(gone)
