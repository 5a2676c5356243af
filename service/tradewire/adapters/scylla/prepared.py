"""Prepared statements whose values are encoded here.

The driver would bind values one by one and encode them one by one again, and have each answer
describe its columns.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cassandra import ConsistencyLevel, cqltypes
from cassandra.protocol import _UNSET_VALUE, ExecuteMessage
from cassandra.query import BoundStatement, PreparedStatement

from tradewire.adapters.scylla.cluster import PROTOCOL

PAGE_ROWS = 5_000

SPARSE = frozenset({"ADD_CONVERSATION", "ADD_REFUSAL"})
"""Statements whose nulls are left unset: there is nothing that they would have to erase."""

Encoder = Callable[[Any], bytes]

_ENCODERS: dict[type, Encoder] = {
    cqltypes.VarcharType: str.encode,
    cqltypes.LongType: struct.Struct(">q").pack,
    cqltypes.Int32Type: struct.Struct(">i").pack,
    cqltypes.BytesType: bytes,
}
"""The types of nearly all columns."""

_length = struct.Struct(">i").pack
_LENGTHS = [_length(length) for length in range(4_096)]
_NULL, _UNSET = _length(-1), _length(-2)


class EncodedRow(NamedTuple):
    """A write: as it goes over the wire, in a batch (native protocol v4 §4.1.7), and its values."""

    statement: "Prepared"
    encoded: bytes
    values: tuple[Any, ...]

    @property
    def key(self) -> bytes:
        """Its partition, as the ring knows it."""
        return self.statement.routing_key(self.values)


class Execute(ExecuteMessage):  # type: ignore[misc]  # the driver has no types
    """Asks for rows without a description of their columns, which every statement names."""

    def _should_skip_metadata(self, *_: Any) -> bool:
        return bool(self.skip_meta)


class Prepared:
    """A prepared statement.

    Attributes:
        columns: those of its rows, as the driver knows them.
    """

    def __init__(self, name: str, statement: PreparedStatement) -> None:
        self._statement = statement
        self.columns = statement.result_metadata
        self._encoders = [_encoder(column.type) for column in statement.column_metadata]
        self._key = statement.routing_key_indexes or []
        self._sparse = name in SPARSE
        self._null = _UNSET if self._sparse else _NULL
        query_id: bytes = statement.query_id
        count = len(self._encoders)
        self._head = b"\1" + len(query_id).to_bytes(2) + query_id + count.to_bytes(2)

    def row(self, values: tuple[Any, ...]) -> EncodedRow:
        """A row of a batch with these values."""
        parts = [self._head]
        for encode, value in zip(self._encoders, values, strict=True):
            if value is None:
                parts.append(self._null)
            else:
                encoded = encode(value)
                length = len(encoded)
                parts.append(_LENGTHS[length] if length < len(_LENGTHS) else _length(length))
                parts.append(encoded)
        return EncodedRow(self, b"".join(parts), values)

    def message(self, values: tuple[Any, ...], timestamp: int) -> Execute:
        """What asks for it with these values; `timestamp` in microseconds."""
        return Execute(
            self._statement.query_id,
            list(self._parameters(values)),
            ConsistencyLevel.LOCAL_QUORUM,
            fetch_size=PAGE_ROWS,
            timestamp=timestamp,
            skip_meta=bool(self.columns),
        )

    def bound(self, values: tuple[Any, ...]) -> BoundStatement:
        """What asks the driver for it."""
        return self._statement.bind(values)

    def routing_key(self, values: tuple[Any, ...]) -> bytes:
        """The partition key as the ring knows it: one value, or several with their lengths."""
        parts: list[bytes] = [self._encoders[place](values[place]) for place in self._key]
        if len(parts) == 1:
            return parts[0]
        return b"".join([len(part).to_bytes(2) + part + b"\0" for part in parts])

    def _parameters(self, values: tuple[Any, ...]) -> Iterator[object]:
        for encode, value in zip(self._encoders, values, strict=True):
            if value is not None:
                yield encode(value)
            else:
                yield _UNSET_VALUE if self._sparse else None


class Execution(NamedTuple):
    """A statement with its values, as a request; `place`: see `key`."""

    prepared: Prepared
    values: tuple[Any, ...]
    place: bytes | None = None

    @property
    def key(self) -> bytes:
        """Its partition as the ring knows it, or one on the same replicas as all that it reads."""
        return self.place or self.prepared.routing_key(self.values)

    @property
    def columns(self) -> object:
        """Those of the rows of its answer."""
        return self.prepared.columns

    def message(self, timestamp: int) -> Execute:
        """See Prepared.message."""
        return self.prepared.message(self.values, timestamp)

    def statement(self) -> BoundStatement:
        """The same for the driver's own way."""
        return self.prepared.bound(self.values)


def _encoder(type_: Any) -> Encoder:
    found = _ENCODERS.get(type_)
    if found is not None:
        return found

    def encode(value: Any) -> bytes:
        encoded: bytes = type_.serialize(value, PROTOCOL)
        return encoded

    return encode
