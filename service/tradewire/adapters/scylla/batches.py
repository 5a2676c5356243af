"""Writes gathered into unlogged batches: those of the same replicas together, bounded in bytes.

A batch over partitions of different replicas would make one node forward the rest; a batch that is
too large is refused by the server (Apache Cassandra fails one over 50 KiB).
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from cassandra import ConsistencyLevel
from cassandra.protocol import BatchMessage, ProtocolHandler
from cassandra.query import BatchStatement, BatchType

from tradewire.adapters.scylla.cluster import Connected
from tradewire.adapters.scylla.prepared import EncodedRow

BATCH_BYTES = 32_768
"""Of the rows in a batch."""

BATCH_ROWS = 256
PARTITIONS_REMEMBERED = 200_000

Mutation = tuple[str, tuple[Any, ...]]
"""The name of a statement that writes, and its values."""


class EncodedBatch(BatchMessage):  # type: ignore[misc]  # the driver has no types
    """An unlogged batch whose rows are encoded already."""

    def __init__(self, rows: Sequence[EncodedRow], *arguments: Any, **named: Any) -> None:
        super().__init__(BatchType.UNLOGGED, (), *arguments, **named)
        self._rows = rows

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
        if type(msg) is BatchMessage:
            levels = msg.consistency_level, msg.serial_consistency_level
            msg = EncodedBatch(msg.queries, *levels, msg.timestamp)
        encoded: bytes = super().encode_message(msg, *arguments, **named)
        return encoded


class Placement:
    """Knows which replicas the partitions of a keyspace are on, as far as they may be asked."""

    def __init__(self, connected: Connected, keyspace: str) -> None:
        self.keyspace = keyspace
        self._connected = connected
        self._known: dict[bytes, tuple[Hashable, ...]] = {}
        self._ring: object = None
        self._only: tuple[Hashable, ...] | None = None

    def of(self, key: bytes) -> tuple[Any, ...]:
        """The nodes that hold a partition, always in the same order."""
        only = self._everywhere()
        if only is not None:
            return only
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= PARTITIONS_REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._connected.replicas(key)
        return found

    @property
    def alike(self) -> bool:
        """Whether all partitions are on the same replicas."""
        return self._everywhere() is not None

    def _everywhere(self) -> tuple[Hashable, ...] | None:
        """The node that has everything, if one does; looks whether the ring has changed."""
        ring = self._connected.ring
        if ring is not self._ring:
            self._ring = ring
            self._known.clear()
            self._only = self._connected.only
        return self._only


class Batch(NamedTuple):
    """Rows that go together, as a request."""

    rows: list[EncodedRow]
    keyspace: str

    @property
    def key(self) -> bytes:
        """The partition of one of them: all are on the same replicas."""
        return self.rows[0].key

    @property
    def columns(self) -> None:
        """Its answer has no rows."""

    def message(self, timestamp: int) -> EncodedBatch:
        """What asks for it; `timestamp` in microseconds."""
        return EncodedBatch(self.rows, ConsistencyLevel.LOCAL_QUORUM, timestamp=timestamp)

    def statement(self) -> BatchStatement:
        """The same for the driver's own way."""
        batch = BatchStatement(BatchType.UNLOGGED)
        # Its `add` takes statements bound by the driver; these rows are encoded already.
        batch._statements_and_parameters = self.rows  # noqa: SLF001
        # The policies find replicas by both.
        batch.keyspace = self.keyspace
        batch.routing_key = self.key
        batch.is_idempotent = True
        return batch


def batches(rows: Iterable[EncodedRow], placement: Placement) -> Iterator[Batch]:
    """The batches that these rows go in."""
    gathered: dict[Hashable, list[EncodedRow]] = {}
    sizes: dict[Hashable, int] = {}
    alike = placement.alike
    for row in rows:
        place = None if alike else placement.of(row.key)
        group = gathered.get(place)
        if group is None:
            gathered[place], sizes[place] = [row], len(row.encoded)
        elif sizes[place] + len(row.encoded) > BATCH_BYTES or len(group) >= BATCH_ROWS:
            yield Batch(group, placement.keyspace)
            gathered[place], sizes[place] = [row], len(row.encoded)
        else:
            group.append(row)
            sizes[place] += len(row.encoded)
    for group in gathered.values():
        yield Batch(group, placement.keyspace)
