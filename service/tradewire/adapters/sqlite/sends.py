"""The two writes that come in crowds, new messages and markers: gathered, then written together."""

from typing import Any

from msgspec import Struct

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.keys import Identity
from tradewire.adapters.sqlite.rows import insert_sorted
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.adapters.sqlite.tracked import ALWAYS, NOBODY, Tracked
from tradewire.domain import rules
from tradewire.domain.errors import KeyReused, NotFound
from tradewire.domain.ids import id_ms, parse_timestamp
from tradewire.domain.packing import pack_message, sent_row, unpack_message
from tradewire.domain.types import Message
from tradewire.domain.writes import Moved, MoveMarker, NewMessage, Stored


class Move(Struct):
    """A marker to be moved, with what was true when its turn came in the order of appending.

    Attributes:
        newest: the newest message by then.
        sent: the user's own newest message gathered by then.
        outcome: set when the gathered writes are written.
    """

    write: MoveMarker
    tracked: Tracked
    newest: int
    sent: int
    outcome: Moved | NotFound | None = None


class Sends:
    """New messages and moves of markers that wait to be written in a few statements.

    Whatever reads or writes the same tables calls `flush` first.
    """

    def __init__(self, session: WriteSession) -> None:
        self._session = session
        self._messages: list[tuple[Any, ...]] = []
        self._touched: dict[int, tuple[Tracked, str | None]] = {}
        self._unmarked: list[tuple[int, str]] = []
        self._hidden: list[tuple[int]] = []
        self._crowded: list[tuple[int, int]] = []
        self._products: list[tuple[str, str, str]] = []
        self._sent: dict[tuple[int, str], int] = {}
        self._moves: list[Move] = []

    def send(self, write: NewMessage) -> Stored:
        """Gather a new message.

        Raises:
            NotFound, KeyReused: see NewMessage; nothing was gathered.
        """
        message = write.message
        tracked = self._session.tracked(write.tenant, write.conversation_id)
        message_id, sender, number = write.message_id, message.sender_id, tracked.number
        if message.key is not None:
            first = self._first(write, (sender, message.key, number))
            if first is not None:
                return Stored(first, duplicate=True)
        body = pack_message(message)
        gone_at = None if message.expires_at is None else parse_timestamp(message.expires_at)
        self._session.record_event(sent_row(write.tenant, write.conversation_id, message_id, body))
        # Of bytes, unlike of an array, sqlite3 asks each time whether they have an adapter.
        self._messages.append((number, message_id, sender, gone_at, bytearray(body)))
        if message.key is not None:
            self._session.keys.add((sender, message.key, number), message_id, write.content_hash)
        if message.content_type == "product":
            self._show_product(write)
        self._place(tracked, message_id, sender, broadcast=write.broadcast)
        self._sent[number, sender] = message_id
        return Stored(message, duplicate=False)

    def move(self, write: MoveMarker) -> Move:
        """Gather a move of a marker; its outcome is there after `flush`.

        Raises:
            NotFound: the conversation is gone.
        """
        tracked = self._session.tracked(write.tenant, write.conversation_id)
        sent = self._sent.get((tracked.number, write.user_id), 0)
        move = Move(write, tracked, tracked.newest, sent)
        self._moves.append(move)
        return move

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._messages and not self._moves:
            return
        insert_sorted(self._session.database, sql.ADD_MESSAGES, self._messages)
        self._messages.clear()
        self._update_members()
        for move in self._moves:
            move.outcome = self._moved(move)
        self._moves.clear()
        sent = ((message_id, *member) for member, message_id in self._sent.items())
        self._session.database.executemany(sql.SENT, sent)
        self._sent.clear()

    def _first(self, write: NewMessage, identity: Identity) -> Message | None:
        """The message that was sent with this key before, if there is one."""
        now = id_ms(write.message_id)
        known = self._session.keys.find(identity, now, fresh=write.fresh)
        if known is None:
            return None
        message_id, content_hash = known
        if content_hash != write.content_hash:
            raise KeyReused(field="key")
        self.flush()
        stored = (identity[2], message_id)
        (body,) = self._session.database.execute(sql.MESSAGE, stored).fetchone()
        message = unpack_message(write.conversation_id, message_id, body)
        return rules.as_of(message, self._session.now_ms())

    def _show_product(self, write: NewMessage) -> None:
        product_id = (write.message.metadata or {}).get("product_id")
        if isinstance(product_id, str):
            self._products.append((write.tenant, product_id, write.conversation_id))

    def _place(self, tracked: Tracked, message_id: int, sender: str, *, broadcast: bool) -> None:
        """Note what a message changes at the members: their inbox order, marks, hiding."""
        if tracked.is_settled(message_id, sender):
            tracked.newest = message_id
            return
        number = tracked.number
        if tracked.hidden:
            tracked.hidden = False
            self._hidden.append((number,))
        if broadcast or tracked.crowded:
            tracked.newest = message_id
            if tracked.moved != ALWAYS:
                tracked.moved, tracked.unmarked = ALWAYS, NOBODY
                self._crowded.append((ALWAYS, number))
            return
        touched = self._touched.get(number)
        if not tracked.advance(message_id) and touched is None:
            if not tracked.marked(sender):
                self._unmarked.append((number, sender))
                tracked.mark(sender)
        elif touched is None:
            self._touched[number] = (tracked, sender)
            tracked.unmarked = sender
        elif touched[1] != sender:
            self._touched[number] = (tracked, None)
            tracked.unmarked = NOBODY

    def _update_members(self) -> None:
        database = self._session.database
        for statement, rows in (
            (sql.UNHIDE, self._hidden),
            (sql.MARK_CROWDED, self._crowded),
            (sql.MARK_UNREAD, self._unmarked),
            (sql.SHOW_PRODUCT, self._products),
        ):
            if rows:
                database.executemany(statement, rows)
                rows.clear()
        if self._touched:
            database.executemany(
                sql.TOUCH,
                [
                    (tracked.activity, tracked.moved, sender, number)
                    for number, (tracked, sender) in self._touched.items()
                ],
            )
            self._touched.clear()

    def _moved(self, move: Move) -> Moved | NotFound:
        write, number = move.write, move.tracked.number
        markers = self._session.database.execute(sql.MARKERS, (number, write.user_id)).fetchone()
        if markers is None:
            return NotFound(field="conversation_id")
        read = max(markers[0], move.sent)
        before = read if write.read else max(read, markers[1])
        up_to = min(write.up_to, move.newest)
        if up_to <= before:
            return Moved(before, 0, moved=False)
        marked = self._mark_read(move, before, up_to) if write.read else 0
        if not write.read:
            self._session.database.execute(
                sql.MOVE_DELIVERED,
                (up_to, write.change_id, not write.public, number, write.user_id),
            )
        self._session.move(move.tracked, write.change_id)
        moved = Moved(up_to, marked, moved=True)
        self._session.record(write, moved)
        return moved

    def _mark_read(self, move: Move, before: int, up_to: int) -> int:
        """Write a read marker; how many messages it passed."""
        database, write, tracked = self._session.database, move.write, move.tracked
        member = (tracked.number, write.user_id)
        database.execute(sql.MOVE_READ, (up_to, up_to, write.change_id, not write.public, *member))
        if up_to >= tracked.newest and tracked.moved != ALWAYS:
            database.execute(sql.UNMARK, member)
            tracked.unmark(write.user_id)
        passed = (tracked.number, before, up_to, write.user_id, self._session.now_ms())
        count: int = database.execute(sql.COUNT_MARKED, passed).fetchone()[0]
        return count
