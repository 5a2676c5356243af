"""Reads all that a data folder holds, as plain values, a page at a time."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from tradewire.adapters.sqlite.folder import DataFolder
from tradewire.adapters.sqlite.rows import decode_conversation
from tradewire.adapters.sqlite.statements import NEWEST_ID
from tradewire.adapters.sqlite.tracked import SLOT_MASK
from tradewire.domain import snapshot
from tradewire.domain.ids import id_at, id_ms
from tradewire.domain.limits import KEY_HOURS
from tradewire.domain.snapshot import (
    ChangePage,
    ChangeSnapshot,
    Checksum,
    Contents,
    ConversationSnapshot,
    EditPage,
    EditSnapshot,
    Item,
    KeySnapshot,
    MemberSnapshot,
    MessagePage,
    MessageSnapshot,
    Position,
    Step,
)
from tradewire.ports import StoreError

PAGE = 500
"""Rows read at a time, or messages of one conversation."""

_KEY_MS = KEY_HOURS * 3_600_000

_CONVERSATIONS = """
SELECT number, tenant, created, body,
    coalesce((SELECT activity FROM members WHERE number = c.number LIMIT 1), created),
    coalesce((SELECT max(message_id) FROM messages WHERE number = c.number), created)
FROM conversations c WHERE number > ? ORDER BY number LIMIT ?
"""
_MEMBERS = """
SELECT user_id, role, joined_at, last_read_id, last_delivered_id, read_change, delivered_change,
    private, archived, pinned, hidden, muted_until
FROM members WHERE number = ? ORDER BY user_id
"""
_MESSAGES = """
SELECT message_id, sender_id, gone_at, body FROM messages WHERE number = ? ORDER BY message_id
"""
_EDITS = """
SELECT message_id, change_id, body FROM message_edits
WHERE number = ? ORDER BY message_id, change_id
"""
_CHANGES = """
SELECT change_id, kind, subject, detail FROM changes WHERE number = ? ORDER BY change_id
"""
_RECENT_KEYS = """
SELECT last_id, keys FROM outbox
WHERE last_id > ? AND last_id > (SELECT up_to FROM filed_keys) AND keys IS NOT NULL
ORDER BY last_id LIMIT 1
"""
_OF_KEY = """
SELECT tenant, conversation_id, json_extract(body, '$.kind') FROM conversations WHERE number = ?
"""
_COUNTS = """
SELECT (SELECT count(*) FROM members WHERE number = :number),
    (SELECT count(*) FROM message_edits WHERE number = :number),
    (SELECT count(*) FROM changes WHERE number = :number)
"""

_decode_keys = msgspec.msgpack.Decoder(list[tuple[str, str, int, int, bytes]]).decode


class Table(NamedTuple):
    """A table that is read in the order of its key, whose columns come first in `columns`.

    Attributes:
        make: the value of a row, None for one that is not moved.
    """

    name: str
    key: tuple[str, ...]
    columns: str
    make: Callable[..., Item | None]
    source: str = ""

    def page(self, database: sqlite3.Connection, after: Position) -> list[tuple[Any, ...]]:
        """The rows after a key, those of the first page after an empty one."""
        key = ", ".join(self.key)
        beyond = f"WHERE ({key}) > ({', '.join('?' * len(self.key))})" if after else ""
        query = (
            f"SELECT {self.columns} FROM {self.source or self.name} {beyond}"  # noqa: S608 - own names
            f" ORDER BY {key} LIMIT {PAGE}"
        )
        return database.execute(query, after).fetchall()


def _plain(name: str, key: tuple[str, ...], more: str, make: Callable[..., Item]) -> Table:
    columns = ", ".join(filter(None, (*key, more)))
    return Table(name, key, columns, make)


_TENANT_USER = ("tenant", "user_id")

TABLES: dict[Step, Table] = {
    "changes of users": _plain(
        "user_changes",
        (*_TENANT_USER, "change_id"),
        "conversation_id, kind, subject, detail",
        snapshot.UserChangeSnapshot,
    ),
    "blocks": _plain("blocks", (*_TENANT_USER, "blocked_id"), "since", snapshot.BlockSnapshot),
    "suspensions": _plain(
        "suspensions", _TENANT_USER, "until, reason", snapshot.SuspensionSnapshot
    ),
    "revocations of users": _plain(
        "user_revocations", _TENANT_USER, "revoked_at", snapshot.UserRevocationSnapshot
    ),
    "revocations of tokens": _plain(
        "token_revocations", ("tenant", "token_id"), "revoked_at", snapshot.TokenRevocationSnapshot
    ),
    "last seen": _plain("last_seen", _TENANT_USER, "at", snapshot.LastSeenSnapshot),
    "products": _plain(
        "products", ("tenant", "product_id"), "version, card", snapshot.ProductSnapshot
    ),
    "products shown": _plain(
        "product_conversations",
        ("tenant", "product_id", "conversation_id"),
        "",
        snapshot.ShownProductSnapshot,
    ),
    "orders": _plain(
        "orders", ("tenant", "order_id"), "conversation_id, card", snapshot.OrderSnapshot
    ),
    "handled events": _plain(
        "handled", ("tenant", "ce_id"), "handled_at", snapshot.HandledSnapshot
    ),
    "events": _plain("outbox", ("last_id",), "events", snapshot.EventsSnapshot),
}


class Export:
    """A data folder that is read, locked as long as it is open.

    Attributes:
        path: the folder.
        newest: the greatest id in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = DataFolder(path)
        self.newest = 0

    def __enter__(self) -> Self:
        """Lock the folder.

        Raises:
            StoreError: it cannot be used, or there is nothing in it.
        """
        if not self._folder.database.is_file():
            raise StoreError(
                f"There is no data in {self.path}: {self._folder.database} is missing."
            )
        self._folder.open()
        self._database = self._folder.connect_reader()
        self.newest = self._one(NEWEST_ID)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()
        self._folder.close()

    def size(self, step: Step, after: Position) -> int:
        """How much of a step is beyond a position: conversations, or rows."""
        if step == "conversations":
            query = "SELECT count(*) FROM conversations WHERE number > ?"
            return self._one(query, *(after or [0]))
        if step == "recent keys":
            return self._one("SELECT count(*) FROM outbox WHERE keys IS NOT NULL")
        table = self._table(step).name
        return self._one(f"SELECT count(*) FROM {table}")  # noqa: S608 - own names

    def items(self, step: Step, after: Position) -> Iterator[tuple[Position, Item]]:
        """What a step moves, beyond a position; each with a position before it.

        The things of a page have the same position, and so have a conversation and its pages:
        going on from there does some of them again.
        """
        if step == "conversations":
            return self._conversations(after)
        if step == "recent keys":
            return self._recent_keys(after)
        return self._rows(self._table(step), after)

    def conversations(self, after: int = 0) -> Iterator[ConversationSnapshot]:
        """All conversations with a number above `after`, without their pages."""
        while rows := self._all(_CONVERSATIONS, after, PAGE):
            for number, tenant, created, body, activity, newest in rows:
                # What the inbox calls open stands at its newest message (inbox.py).
                place = newest if activity & SLOT_MASK == SLOT_MASK else activity
                yield ConversationSnapshot(
                    number=number,
                    tenant=tenant,
                    created=created,
                    conversation=decode_conversation(body),
                    place=place,
                    members=[_member(row) for row in self._all(_MEMBERS, number)],
                )
            after = rows[-1][0]

    def contents(self, number: int) -> Contents:
        """How much a conversation holds."""
        checksum = Checksum()
        for message_id, _, _, body in self._database.execute(_MESSAGES, (number,)):
            checksum.add(message_id, body)
        members, edits, changes = self._database.execute(_COUNTS, {"number": number}).fetchone()
        return Contents(
            members=members,
            messages=checksum.messages,
            checksum=checksum.text(),
            edits=edits,
            changes=changes,
        )

    def edited(self, number: int) -> list[int]:
        """The messages of a conversation that have former texts."""
        query = "SELECT DISTINCT message_id FROM message_edits WHERE number = ?"
        return [message_id for (message_id,) in self._all(query, number)]

    def changed(self, number: int) -> list[int]:
        """The ids of a conversation's changes."""
        query = "SELECT change_id FROM changes WHERE number = ?"
        return [change_id for (change_id,) in self._all(query, number)]

    def _conversations(self, after: Position) -> Iterator[tuple[Position, Item]]:
        number = int(after[0]) if after else 0
        for conversation in self.conversations(number):
            before: Position = [number]
            yield before, conversation
            number = conversation.number
            for messages in self._pages(_MESSAGES, number, MessageSnapshot):
                yield before, MessagePage(conversation, messages)
            for edits in self._pages(_EDITS, number, EditSnapshot):
                yield before, EditPage(conversation, edits)
            for changes in self._pages(_CHANGES, number, ChangeSnapshot):
                yield before, ChangePage(conversation, changes)

    def _pages(self, query: str, number: int, make: Callable[..., Any]) -> Iterator[list[Any]]:
        found = self._database.execute(query, (number,))
        while page := [make(*row) for row in islice(found, PAGE)]:
            yield page

    def _rows(self, table: Table, after: Position) -> Iterator[tuple[Position, Item]]:
        while rows := table.page(self._database, after):
            for row in rows:
                item = table.make(*row)
                if item is not None:
                    yield after, item
            after = list(rows[-1][: len(table.key)])

    def _recent_keys(self, after: Position) -> Iterator[tuple[Position, Item]]:
        """Keys that are not in their table yet (keys.py)."""
        while rows := self._all(_RECENT_KEYS, *(after or [0])):
            [(last_id, packed)] = rows
            for sender, key, number, message_id, content_hash in _decode_keys(packed):
                of = self._database.execute(_OF_KEY, (number,)).fetchone() or (None,) * 3
                item = self._key(0, sender, key, number, *of, message_id, content_hash)
                if item is not None:
                    yield after, item
            after = [last_id]

    def _table(self, step: Step) -> Table:
        if step != "keys":
            return TABLES[step]
        return Table(
            "message_keys",
            ("day", "sender_id", "key", "k.number"),
            "day, sender_id, key, k.number, tenant, conversation_id, json_extract(body, '$.kind'),"
            " message_id, content_hash",
            self._key,
            "message_keys k LEFT JOIN conversations c ON c.number = k.number",
        )

    def _key(self, _day: int, sender: str, key: str, _number: int, *row: Any) -> KeySnapshot | None:
        tenant, conversation_id, kind, message_id, content_hash = row
        if tenant is None or not self._is_valid(message_id):
            return None
        return KeySnapshot(tenant, conversation_id, kind, sender, key, message_id, content_hash)

    def _is_valid(self, message_id: int) -> bool:
        """Whether a key was used late enough to be known still."""
        return message_id >= id_at(id_ms(self.newest) - _KEY_MS)

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._database.execute(query, values).fetchall()

    def _one(self, query: str, *values: Any) -> int:
        found: int = self._database.execute(query, values).fetchone()[0]
        return found


def _member(row: tuple[Any, ...]) -> MemberSnapshot:
    user_id, role, joined_at, read, delivered, read_change, delivered_change, *flags, muted = row
    private, archived, pinned, hidden = map(bool, flags)
    return MemberSnapshot(
        *(user_id, role, joined_at, read, delivered, read_change, delivered_change),
        *(private, archived, pinned, hidden, muted),
    )
