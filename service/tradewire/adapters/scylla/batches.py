"""Writes gathered into unlogged batches: those of the same replicas together, bounded in bytes.

A batch over partitions of different replicas would make one node forward the rest; a batch that is
too large is refused by the server (Apache Cassandra fails one over 50 KiB).
"""

import struct
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple

from cassandra import cqltypes
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, PreparedStatement

from tradewire.adapters.scylla.cluster import PROTOCOL, Connected

BATCH_BYTES = 32_768
"""Of the values in a batch, with what each row costs besides them."""

BATCH_ROWS = 128
ROW_BYTES = 60
PARTITIONS_REMEMBERED = 200_000

SPARSE = frozenset({"ADD_CONVERSATION"})
"""Statements whose nulls are left unset: there is nothing that they would have to erase."""

Mutation = tuple[str, tuple[Any, ...]]
"""The name of a statement that writes, and its values."""

Encoder = Callable[[Any], bytes]

_ENCODERS: dict[type, Encoder] = {
    cqltypes.VarcharType: str.encode,
    cqltypes.LongType: struct.Struct(">q").pack,
    cqltypes.Int32Type: struct.Struct(">i").pack,
    cqltypes.BytesType: bytes,
}
"""The types of nearly all columns, in a tenth of the time that the driver takes to bind them."""


class Row(NamedTuple):
    """A write as it goes over the wire."""

    writer: "Writer"
    values: list[Any]
    size: int

    @property
    def key(self) -> bytes:
        """Its partition, as the ring knows it."""
        return self.writer.routing_key(self.values)


class Writer:
    """Encodes writes of one statement."""

    def __init__(self, name: str, prepared: PreparedStatement) -> None:
        self.query_id: bytes = prepared.query_id
        self._encoders = [_encoder(column.type) for column in prepared.column_metadata]
        self._key = prepared.routing_key_indexes or []
        self._null = UNSET_VALUE if name in SPARSE else None

    def encode(self, values: tuple[Any, ...]) -> Row:
        """A row with these values."""
        null = self._null
        encoded: list[Any] = [
            null if value is None else encode(value)
            for encode, value in zip(self._encoders, values, strict=True)
        ]
        size = ROW_BYTES + sum([len(value) for value in encoded if value is not null])
        return Row(self, encoded, size)

    def routing_key(self, encoded: list[Any]) -> bytes:
        """The partition key as the ring knows it: one value, or several with their lengths."""
        parts = [encoded[place] for place in self._key]
        if len(parts) == 1:
            return bytes(parts[0])
        return b"".join([len(part).to_bytes(2) + part + b"\0" for part in parts])


def _encoder(type_: Any) -> Encoder:
    found = _ENCODERS.get(type_)
    if found is not None:
        return found

    def encode(value: Any) -> bytes:
        encoded: bytes = type_.serialize(value, PROTOCOL)
        return encoded

    return encode


class Placement:
    """Knows which replicas a partition is on."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self._known: dict[bytes, Hashable] = {}
        self._ring: object = None

    def of(self, key: bytes) -> Hashable:
        """The same for partitions that are on the same replicas."""
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= PARTITIONS_REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._connected.replicas(key)
        return found

    @property
    def alike(self) -> bool:
        """Whether all partitions are on the same replicas; looks whether the ring has changed."""
        ring = self._connected.ring
        if ring is not self._ring:
            self._ring = ring
            self._known.clear()
        return self._connected.alike


def batches(rows: Iterable[Row], placement: Placement) -> Iterator[BatchStatement]:
    """The batches that these rows go in."""
    gathered: dict[Hashable, list[Row]] = {}
    sizes: dict[Hashable, int] = {}
    alike = placement.alike
    for row in rows:
        place = None if alike else placement.of(row.key)
        group = gathered.get(place)
        if group is None:
            gathered[place], sizes[place] = [row], row.size
        elif sizes[place] + row.size > BATCH_BYTES or len(group) >= BATCH_ROWS:
            yield _batch(group)
            gathered[place], sizes[place] = [row], row.size
        else:
            group.append(row)
            sizes[place] += row.size
    for group in gathered.values():
        yield _batch(group)


def _batch(group: list[Row]) -> BatchStatement:
    batch = BatchStatement(BatchType.UNLOGGED)
    # Its `add` takes statements bound by the driver; these rows are encoded already.
    batch._statements_and_parameters = [(True, row.writer.query_id, row.values) for row in group]  # noqa: SLF001
    batch.routing_key = group[0].key
    batch.is_idempotent = True
    return batch
