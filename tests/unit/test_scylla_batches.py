"""Rows that are encoded here go over the wire as the driver itself would send them."""

from io import BytesIO
from typing import Any

import pytest
from cassandra import ConsistencyLevel, cqltypes
from cassandra.protocol import BatchMessage, ColumnMetadata, ExecuteMessage, ProtocolHandler
from cassandra.query import BatchStatement, BatchType, PreparedStatement

from tradewire.adapters.scylla.batches import BATCH_BYTES, BATCH_ROWS, Placement, Protocol, batches
from tradewire.adapters.scylla.cluster import PROTOCOL
from tradewire.adapters.scylla.prepared import PAGE_ROWS, Execution, Prepared

TYPES = {
    "tenant": cqltypes.VarcharType,
    "bucket": cqltypes.Int32Type,
    "message_id": cqltypes.LongType,
    "body": cqltypes.BytesType,
    "hidden": cqltypes.BooleanType,
    "added": cqltypes.ListType.apply_parameters([cqltypes.VarcharType]),
}
TIMESTAMP = 1_764_115_200_000_000
ROWS: list[tuple[Any, ...]] = [
    ("t1", 3, 1 << 60, b"body", True, ["a", "b"]),
    ("ténant", -1, 0, b"", False, []),
    ("t1", 3, 7, b"x" * 5_000, None, None),
]


def prepared(key: tuple[int, ...]) -> PreparedStatement:
    columns = [ColumnMetadata("k", "t", name, type_) for name, type_ in TYPES.items()]
    return PreparedStatement(
        column_metadata=columns,
        query_id=b"0123456789abcdef",
        routing_key_indexes=key,
        query="",
        keyspace="k",
        protocol_version=PROTOCOL,
        result_metadata=None,
        result_metadata_id=None,
    )


class Ring:
    """A ring of as many nodes, each partition on one of them."""

    def __init__(self, nodes: int) -> None:
        self.ring = object()
        self.only = (0,) if nodes == 1 else None
        self._nodes = nodes

    def replicas(self, key: bytes) -> tuple[int, ...]:
        return (sum(key) % self._nodes,)


def sent(message: Any) -> bytes:
    body = BytesIO()
    message.send_body(body, PROTOCOL)
    return body.getvalue()


def framed(message: Any, protocol: type[ProtocolHandler] = ProtocolHandler) -> bytes:
    frame: bytes = protocol.encode_message(message, 7, PROTOCOL, None, False, None)
    return frame


def as_message(batch: BatchStatement) -> BatchMessage:
    return BatchMessage(
        batch.batch_type,
        batch._statements_and_parameters,
        ConsistencyLevel.LOCAL_QUORUM,
        timestamp=TIMESTAMP,
    )


def test_a_batch_is_what_the_driver_sends() -> None:
    statement = prepared((0, 1))
    ours = Prepared("ADD_MESSAGE", statement)
    [batch] = batches([ours.row(values) for values in ROWS], Placement(Ring(1), "k"))  # type: ignore[arg-type]
    theirs = BatchStatement(BatchType.UNLOGGED)
    for values in ROWS:
        theirs.add(statement, values)
    assert sent(batch.message(TIMESTAMP)) == sent(as_message(theirs))
    assert framed(as_message(batch.statement()), Protocol) == framed(as_message(theirs))
    assert batch.key == batch.statement().routing_key == theirs.routing_key
    assert batch.statement().keyspace == "k"


@pytest.mark.parametrize("values", ROWS)
def test_a_statement_is_what_the_driver_sends(values: tuple[Any, ...]) -> None:
    statement = prepared((0, 1))
    ours = Execution(Prepared("ADD_MESSAGE", statement), values)
    bound = statement.bind(values)
    theirs = ExecuteMessage(
        statement.query_id,
        bound.values,
        ConsistencyLevel.LOCAL_QUORUM,
        fetch_size=PAGE_ROWS,
        timestamp=TIMESTAMP,
    )
    assert sent(ours.message(TIMESTAMP)) == sent(theirs)
    assert ours.statement().values == bound.values
    assert ours.key == bound.routing_key


def test_what_a_conversation_begins_without_is_left_unset() -> None:
    row = Prepared("ADD_CONVERSATION", prepared((0,))).row(ROWS[2])
    assert row.encoded.endswith(b"\xff\xff\xff\xfe" * 2)
    assert row.key == b"t1"


@pytest.mark.parametrize(("size", "rows"), [(10, BATCH_ROWS), (1_000, None)])
def test_batches_are_bounded(size: int, rows: int | None) -> None:
    statement = Prepared("ADD_MESSAGE", prepared((0,)))
    encoded = [statement.row(("t", 1, number, bytes(size), True, [])) for number in range(300)]
    made = list(batches(encoded, Placement(Ring(1), "k")))  # type: ignore[arg-type]
    assert [row for batch in made for row in batch.rows] == encoded
    sizes = [len(batch.rows) for batch in made]
    assert max(sizes) == (rows or BATCH_BYTES // len(encoded[0].encoded))


def test_each_batch_is_for_the_same_replicas() -> None:
    statement = Prepared("ADD_MESSAGE", prepared((0,)))
    encoded = [statement.row((f"t{n}", 1, n, b"", True, [])) for n in range(40)]
    ring = Ring(3)
    made = list(batches(encoded, Placement(ring, "k")))  # type: ignore[arg-type]
    assert len(made) == 3
    for batch in made:
        assert len({ring.replicas(row.key) for row in batch.rows}) == 1
