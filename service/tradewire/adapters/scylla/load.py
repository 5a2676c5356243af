"""Takes in what comes from another store, before any node serves from the cluster."""

import asyncio
from types import TracebackType
from typing import Self

from tradewire.adapters.scylla.batches import Mutation
from tradewire.adapters.scylla.engine import Engine, all_of
from tradewire.adapters.scylla.layout import NEWEST_BUCKET
from tradewire.adapters.scylla.lease import node_name
from tradewire.adapters.scylla.options import Options
from tradewire.adapters.scylla.outbox import registered
from tradewire.adapters.scylla.rooms import Room, Rooms
from tradewire.adapters.scylla.snapshots import SnapshotRows, run_of
from tradewire.domain.errors import TradewireError
from tradewire.domain.ids import MAX_ID
from tradewire.domain.snapshot import Checksum, Contents, Item
from tradewire.ports import StoreError

CHUNK_BYTES = 400_000
"""Of rows that are written at once; the cluster gets them in batches."""

ROW_BYTES = 200
"""What a row counts besides the blobs in it."""

CHUNKS_IN_FLIGHT = 4
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Between the attempts to write a chunk while the cluster is away."""

MESSAGES_PAGE = 1_000
CHANGES = 1_000_000

_TABLE_ID = """
SELECT id FROM system_schema.tables WHERE keyspace_name = %s AND table_name = 'conversations'"""


class Load:
    """A keyspace that is being filled.

    Attributes:
        target: names the keyspace, and only as long as it is not dropped and made again.

    Args:
        cell: whose nodes are to serve from it.
        newest: the greatest id of all that is moved.
    """

    def __init__(self, options: Options, *, cell: str, newest: int) -> None:
        self._options = options
        self._cell = cell
        self._newest = newest
        self._run = run_of(newest)
        self._engine = Engine(options)
        self._rooms = Rooms(self._engine)
        self._rows = SnapshotRows(newest, self._run)
        self._chunk: list[Mutation] = []
        self._chunk_bytes = 0
        self._writing: set[asyncio.Task[None]] = set()
        self.target = ""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StoreError: the cluster cannot be used, has not the schema, or nodes serve from it.
        """
        try:
            await self._engine.open()
            self.target = await asyncio.to_thread(self._table_id)
        except BaseException:
            await self._engine.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._engine.close()

    async def refuse_nodes(self) -> None:
        """Check that no node serves from the cluster: it would not know the ids that come.

        Raises:
            StoreError: one does.
            Unavailable, Overloaded: the cluster did not answer.
        """
        for run in await registered(self._engine, self._cell):
            lease = await self._engine.row("LEASE", node_name(run.node))
            if run.finished is None and lease is not None and lease[0] == run.owner:
                raise StoreError(f"The node {run.owner} serves from the cluster: stop it first.")

    async def put(self, item: Item) -> None:
        """Take in a thing; it is written soon.

        Raises:
            Unavailable, Overloaded: something before could not be written.
        """
        for row in self._rows.of(item):
            self._chunk.append(row)
            self._chunk_bytes += ROW_BYTES + sum(
                [len(value) for value in row[1] if type(value) is bytes]
            )
            if self._chunk_bytes >= CHUNK_BYTES:
                await self._send()

    async def flush(self) -> None:
        """Wait until all that was taken in is written. Raises as `put` does."""
        await self._send()
        await self._settle(0)

    async def finish(self) -> None:
        """Make the domain events readable, and have nodes issue ids above all that came.

        Raises:
            Unavailable, Overloaded: the cluster did not answer.
        """
        if not self._newest:
            return
        # In this order no node ever takes it for the run of a dead node.
        await self._engine.rows("FINISH_RUN", self._cell, self._run, self._newest)
        await self._engine.rows("ADD_RUN", self._cell, self._run, 0, "migrate-store", self._newest)

    async def contents(
        self, tenant: str, conversation_id: str, edited: list[int], changed: list[int]
    ) -> Contents | None:
        """How much a conversation holds, None when there is none.

        `edited` are the messages to look for former texts of, `changed` the changes to look for.
        """
        room = await self._rooms.read(tenant, conversation_id)
        if room is None:
            return None
        self._rooms.drop(tenant, conversation_id)
        checksum, edits, changes = await asyncio.gather(
            self._checksum(room), self._edits(room, edited), self._changes(room, changed)
        )
        return Contents(
            members=len(room.roles),
            messages=checksum.messages,
            checksum=checksum.text(),
            edits=edits,
            changes=changes,
        )

    # --- writing ----------------------------------------------------------------------------------

    async def _send(self) -> None:
        rows, self._chunk, self._chunk_bytes = self._chunk, [], 0
        await self._settle(CHUNKS_IN_FLIGHT - 1)
        if rows:
            self._writing.add(asyncio.create_task(self._write(rows), name="chunk"))

    async def _settle(self, most: int) -> None:
        """Wait until no more chunks than that are under way. Raises what one of them raised."""
        while len(self._writing) > most:
            done, self._writing = await asyncio.wait(
                self._writing, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()

    async def _write(self, rows: list[Mutation]) -> None:
        for pause in PAUSES_S:
            try:
                await self._engine.write(rows)
            except TradewireError:
                await asyncio.sleep(pause)
            else:
                return
        await self._engine.write(rows)

    # --- reading ----------------------------------------------------------------------------------

    async def _checksum(self, room: Room) -> Checksum:
        checksum = Checksum()
        key = (room.tenant, room.conversation_id)
        for (bucket,) in await self._engine.rows("BUCKETS_AFTER", *key, 0, NEWEST_BUCKET):
            after = room.deleted_at
            while rows := await self._engine.rows(
                "MESSAGES_AFTER", *key, bucket, after, MAX_ID, MESSAGES_PAGE
            ):
                for message_id, _, body in rows:
                    checksum.add(message_id, body or b"")
                after = rows[-1][0]
        return checksum

    async def _edits(self, room: Room, edited: list[int]) -> int:
        found = await all_of(
            [
                self._engine.rows(
                    *("EDITS", room.tenant, room.conversation_id),
                    *(room.bucket(message_id), message_id),
                )
                for message_id in edited
            ]
        )
        return sum(map(len, found))

    async def _changes(self, room: Room, changed: list[int]) -> int:
        buckets = sorted({room.bucket(change_id) for change_id in changed})
        found = await all_of(
            [
                self._engine.rows(
                    *("CHANGES", room.tenant, room.conversation_id),
                    *(bucket, room.deleted_at, MAX_ID, CHANGES),
                )
                for bucket in buckets
            ]
        )
        return sum(map(len, found))

    def _table_id(self) -> str:
        row = self._engine.connected.session.execute(_TABLE_ID, (self._options.keyspace,)).one()
        return str(row[0])
