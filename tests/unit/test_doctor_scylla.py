"""What the doctor says of a cluster, by what was found there."""

from tradewire.adapters.scylla.survey import Survey
from tradewire.cli.doctor_scylla import judged
from tradewire.config import load_settings


def told(
    *,
    nodes: dict[str, tuple[int, int]] | None = None,
    copies: dict[str, int] | None = None,
    schema: int | None = 4,
    **environ: str,
) -> list[str]:
    """The findings of a survey, as `level about: found`; by default all is well."""
    survey = Survey(
        engine="ScyllaDB 2025.1.2",
        nodes=nodes or {"west": (3, 3)},
        copies=copies,
        schema=schema,
        newest=4,
    )
    settings = load_settings({"SCYLLA_HOSTS": "one", **environ}, {})
    return [f"{each.level} {each.about}: {each.found}" for each in judged(survey, settings)]


def test_all_is_well() -> None:
    assert told(copies={"west": 3}) == [
        "ok cluster: ScyllaDB 2025.1.2, keyspace tradewire",
        "ok nodes: 3 of 3 up in west",
        "ok schema: 4 of 4",
        "ok replication: factor 3 in west",
    ]


def test_each_datacenter_is_told() -> None:
    lines = told(nodes={"east": (2, 3), "west": (3, 3)}, copies={"east": 3, "west": 3})
    assert [line for line in lines if "east" in line or "west" in line] == [
        "warn nodes: 2 of 3 up in east",
        "ok nodes: 3 of 3 up in west",
        "ok replication: factor 3 in east",
        "ok replication: factor 3 in west",
    ]


def test_a_schema_that_is_missing_or_older_fails() -> None:
    assert "fail schema: none yet" in told(schema=None)
    assert "fail schema: 3 of 4" in told(schema=3)


def test_a_newer_schema_fails() -> None:
    assert "fail schema: 5, newer than 4 known here" in told(schema=5)


def test_one_copy_is_few() -> None:
    assert "warn replication: factor 1 in west" in told(nodes={"west": (1, 1)}, copies={"west": 1})


def test_more_copies_than_nodes_are_many() -> None:
    lines = told(nodes={"west": (2, 2)}, copies={"west": 3})
    assert "warn replication: factor 3 in west, which has 2 nodes" in lines


def test_too_few_nodes_for_a_quorum_fail() -> None:
    lines = told(nodes={"west": (1, 3)}, copies={"west": 3})
    assert "fail replication: factor 3 in west, where 2 nodes must be up" in lines


def test_without_a_keyspace_the_one_to_be_made_is_judged() -> None:
    lines = told(nodes={"west": (1, 1)}, schema=None)
    assert "fail replication: factor 3 in west, where 2 nodes must be up" in lines
    lines = told(nodes={"west": (1, 1)}, schema=None, SCYLLA_REPLICATION_FACTOR="1")
    assert "warn replication: factor 1 in west" in lines


def test_a_datacenter_without_a_copy_fails() -> None:
    lines = told(
        nodes={"east": (3, 3), "west": (3, 3)}, copies={"west": 3}, SCYLLA_DATACENTER="east"
    )
    assert "fail replication: no copy in east" in lines
