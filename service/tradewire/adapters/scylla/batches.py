"""Writes gathered into unlogged batches: those of the same replicas together, bounded in bytes.

A batch over partitions of different replicas would make one node forward the rest; a batch that is
too large is refused by the server (Apache Cassandra fails one over 50 KiB).
"""

import struct
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from cassandra import cqltypes
from cassandra.protocol import BatchMessage, ProtocolHandler
from cassandra.query import BatchStatement, BatchType, PreparedStatement

from tradewire.adapters.scylla.cluster import PROTOCOL, Connected

BATCH_BYTES = 32_768
"""Of the rows in a batch."""

BATCH_ROWS = 128
PARTITIONS_REMEMBERED = 200_000

SPARSE = frozenset({"ADD_CONVERSATION", "ADD_REFUSAL"})
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
"""The types of nearly all columns."""

_length = struct.Struct(">i").pack
_LENGTHS = [_length(length) for length in range(4_096)]
_NULL, _UNSET = _length(-1), _length(-2)


class Row(NamedTuple):
    """A write: as it goes over the wire, in a batch (native protocol v4 §4.1.7), and its values.

    The driver would bind values one by one and encode them one by one again.
    """

    writer: "Writer"
    encoded: bytes
    values: tuple[Any, ...]

    @property
    def key(self) -> bytes:
        """Its partition, as the ring knows it."""
        return self.writer.routing_key(self.values)


class Writer:
    """Encodes writes of one statement."""

    def __init__(self, name: str, prepared: PreparedStatement) -> None:
        self._encoders = [_encoder(column.type) for column in prepared.column_metadata]
        self._key = prepared.routing_key_indexes or []
        self._null = _UNSET if name in SPARSE else _NULL
        query_id: bytes = prepared.query_id
        count = len(self._encoders)
        self._head = b"\1" + len(query_id).to_bytes(2) + query_id + count.to_bytes(2)

    def encode(self, values: tuple[Any, ...]) -> Row:
        """A row with these values."""
        parts = [self._head]
        for encode, value in zip(self._encoders, values, strict=True):
            if value is None:
                parts.append(self._null)
            else:
                encoded = encode(value)
                length = len(encoded)
                parts.append(_LENGTHS[length] if length < len(_LENGTHS) else _length(length))
                parts.append(encoded)
        return Row(self, b"".join(parts), values)

    def routing_key(self, values: tuple[Any, ...]) -> bytes:
        """The partition key as the ring knows it: one value, or several with their lengths."""
        parts: list[bytes] = [self._encoders[place](values[place]) for place in self._key]
        if len(parts) == 1:
            return parts[0]
        return b"".join([len(part).to_bytes(2) + part + b"\0" for part in parts])


class EncodedBatch(BatchMessage):  # type: ignore[misc]  # the driver has no types
    """A batch whose rows are encoded already."""

    def __init__(self, message: BatchMessage) -> None:
        self.__dict__.update(message.__dict__)
        self._rows: Sequence[Row] = message.queries
        self.queries = ()

    def send_body(self, body: BytesIO, *version: Any) -> None:
        empty = BytesIO()
        super().send_body(empty, *version)
        kind, rest = empty.getvalue()[:1], empty.getvalue()[3:]
        rows = [row.encoded for row in self._rows]
        body.write(b"".join((kind, len(rows).to_bytes(2), *rows, rest)))


class Protocol(ProtocolHandler):  # type: ignore[misc]
    """How requests are encoded: as the driver does it, save batches."""

    @classmethod
    def encode_message(cls, msg: Any, *arguments: Any, **named: Any) -> bytes:
        if isinstance(msg, BatchMessage):
            msg = EncodedBatch(msg)
        encoded: bytes = super().encode_message(msg, *arguments, **named)
        return encoded


def _encoder(type_: Any) -> Encoder:
    found = _ENCODERS.get(type_)
    if found is not None:
        return found

    def encode(value: Any) -> bytes:
        encoded: bytes = type_.serialize(value, PROTOCOL)
        return encoded

    return encode


class Placement:
    """Knows which replicas a partition of a keyspace is on."""

    def __init__(self, connected: Connected, keyspace: str) -> None:
        self.keyspace = keyspace
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
            gathered[place], sizes[place] = [row], len(row.encoded)
        elif sizes[place] + len(row.encoded) > BATCH_BYTES or len(group) >= BATCH_ROWS:
            yield _batch(group, placement.keyspace)
            gathered[place], sizes[place] = [row], len(row.encoded)
        else:
            group.append(row)
            sizes[place] += len(row.encoded)
    for group in gathered.values():
        yield _batch(group, placement.keyspace)


def _batch(group: list[Row], keyspace: str) -> BatchStatement:
    batch = BatchStatement(BatchType.UNLOGGED)
    # Its `add` takes statements bound by the driver; these rows are encoded already.
    batch._statements_and_parameters = group  # noqa: SLF001
    # The policies find replicas by both.
    batch.keyspace = keyspace
    batch.routing_key = group[0].key
    batch.is_idempotent = True
    return batch
