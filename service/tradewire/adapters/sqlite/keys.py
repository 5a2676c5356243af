"""Idempotency keys: the newest in memory, the others in a table.

Keys lie scattered in their table: written there with its message, each would cost a page of the
log. They go into the outbox row of their group instead, which is written anyway. From memory they
are filed into the table in rounds: some thousand, sorted, of which each commit takes a slice of
neighbours, so that none is held up. What a crash leaves unfiled is read back from the outbox.
"""

import sqlite3

import msgspec

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.rows import insert_sorted
from tradewire.domain.ids import id_ms
from tradewire.domain.limits import KEY_HOURS

DAY_MS = 86_400_000
ROUND = 2_048
"""Keys filed in one round; twice as many may be in memory."""

SLICE = 16
"""Keys filed with a commit at least: few, for the loop waits for them."""

_KEY_MS = KEY_HOURS * 3_600_000

Identity = tuple[str, str, int]
"""Sender, key and number of the conversation."""
Known = tuple[int, bytes]
"""Id of the first message, and the hash of its content."""

_Row = tuple[str, str, int, int, bytes]
_FiledRow = tuple[int, str, str, int, int, bytearray]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Row]).decode


class Keys:
    """The keys of the messages; used by one thread at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._recent: dict[Identity, Known] = {}
        self._round: dict[Identity, Known] = {}
        self._to_file: list[Identity] = []
        self._round_ends = 0
        self._added: list[_Row] = []
        self._filing = False
        self._loaded = False

    def begin(self) -> None:
        """Begin a commit group."""
        self._added.clear()
        self._filing = False
        if not self._loaded:
            self._load()

    def find(self, identity: Identity, now: int, *, fresh: bool) -> Known | None:
        """What a key was used for within the last 48 h; a fresh one is not in the table.

        `now`: ms since 1970.
        """
        known = self._recent.get(identity) or self._round.get(identity)
        if known is None and not fresh:
            day = now // DAY_MS
            found = self._database.execute(sql.FIND_KEY, (day, day - 1, day - 2, *identity))
            known = found.fetchone()
        return None if known is None or id_ms(known[0]) < now - _KEY_MS else known

    def add(self, identity: Identity, message_id: int, content_hash: bytes) -> None:
        """Record the key of a message."""
        self._recent[identity] = (message_id, content_hash)
        self._added.append((*identity, message_id, content_hash))

    def added(self) -> int:
        """How many were added in this group; for `undo`."""
        return len(self._added)

    def undo(self, added: int) -> None:
        """Forget all but the first so many of those added in this group."""
        for sender, key, number, *_ in self._added[added:]:
            self._recent.pop((sender, key, number), None)
        del self._added[added:]

    def undo_group(self) -> None:
        """Forget the keys of a group that was undone; what it had filed is read again."""
        if self._filing:
            self._loaded = False
        else:
            self.undo(0)

    def packed(self) -> bytes | None:
        """The keys of this group for its outbox row."""
        return _encode(self._added) if self._added else None

    def file(self, last_id: int) -> None:
        """File the next slice of a round, if there is one; `last_id` is that of the outbox row."""
        self._filing = True
        if not self._to_file and len(self._recent) >= ROUND:
            self._begin_round(last_id)
        if self._to_file:
            # Faster than keys are added, so that rounds stay short.
            size = max(SLICE, 2 * len(self._added))
            rows = [_filed(each, *self._round[each]) for each in self._to_file[-size:]]
            insert_sorted(self._database, sql.ADD_KEYS, rows)
            del self._to_file[-size:]
            if not self._to_file:
                self._database.execute(sql.FILED_KEYS, (self._round_ends,))
                self._round = {}

    def _begin_round(self, last_id: int) -> None:
        self._round, self._recent = self._recent, {}
        self._round_ends = last_id
        self._to_file = sorted(self._round)

    def _load(self) -> None:
        """Read what is unfiled; a round that was under way begins anew."""
        self._round, self._to_file = {}, []
        self._recent = {
            (sender, key, number): (message_id, content_hash)
            for (packed,) in self._database.execute(sql.UNFILED_KEYS)
            for sender, key, number, message_id, content_hash in _decode(packed)
        }
        self._loaded = True


def _filed(identity: Identity, message_id: int, content_hash: bytes) -> _FiledRow:
    return id_ms(message_id) // DAY_MS, *identity, message_id, bytearray(content_hash)
