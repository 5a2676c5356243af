"""Counts afresh what is kept beside the messages: inbox order, marks, keys; reads only."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tradewire.adapters.sqlite.folder import DataFolder
from tradewire.adapters.sqlite.schema import MIGRATIONS
from tradewire.adapters.sqlite.tracked import ALWAYS, SLOT_MASK
from tradewire.domain.ids import slot_of
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.domain.recount import Recount
from tradewire.ports import StoreError

PAGE = 200
"""Conversations looked at in one transaction, so that the log of a running server stays short."""

_CONVERSATIONS = """
SELECT number, tenant, conversation_id, status, member_count, created,
    json_extract(body, '$.status'), json_extract(body, '$.listing_id'),
    coalesce((SELECT max(change_id) FROM changes WHERE number = c.number), 0)
FROM conversations c
WHERE number > :after AND (:tenant IS NULL OR tenant = :tenant) ORDER BY number LIMIT :limit
"""
_NEWEST_TWO = """
SELECT message_id FROM messages WHERE number = ? ORDER BY message_id DESC LIMIT 2
"""
_MEMBERS = """
SELECT user_id, tenant, listing_id, created, activity, moved, unread, read_change, delivered_change,
    EXISTS (SELECT 1 FROM messages WHERE number = m.number AND message_id > m.last_read_id
        AND sender_id <> m.user_id AND (gone_at IS NULL OR gone_at > :now))
FROM members m WHERE number = :number ORDER BY user_id
"""
_LOST_KEYS = """
SELECT c.tenant, c.conversation_id, k.sender_id, k.key, k.message_id
FROM message_keys k JOIN conversations c ON c.number = k.number
LEFT JOIN messages m ON m.number = k.number AND m.message_id = k.message_id
WHERE (m.message_id IS NULL OR m.sender_id <> k.sender_id)
    AND (:tenant IS NULL OR c.tenant = :tenant)
"""
_LOST_MEMBERS = """
SELECT number, tenant, user_id FROM members
WHERE number NOT IN (SELECT number FROM conversations) AND (:tenant IS NULL OR tenant = :tenant)
"""


class Row(NamedTuple):
    """A conversation, with what its body says of status and listing and its newest change."""

    number: int
    tenant: str
    conversation_id: str
    status: str
    member_count: int
    created: int
    status_in_body: str
    listing_id: str | None
    changed: int


class MemberRow(NamedTuple):
    """A member; `has_unread` counted afresh."""

    user_id: str
    tenant: str
    listing_id: str | None
    created: int
    activity: int
    moved: int
    unread: int
    read_change: int
    delivered_change: int
    has_unread: int


def recounts(path: Path, tenant: str | None, now: int) -> Iterator[Recount]:
    """What is found in a data folder, which a server may be using; `now` in ms since 1970.

    Raises:
        StoreError: it cannot be read.
    """
    with _opened(path) as database:
        yield from _of_conversations(database, tenant, now)
        yield _lost(database, tenant)


def size(path: Path, tenant: str | None) -> int:
    """How many conversations there are. Raises as `recounts` does."""
    query = "SELECT count(*) FROM conversations WHERE ?1 IS NULL OR tenant = ?1"
    with _opened(path) as database:
        found: int = database.execute(query, (tenant,)).fetchone()[0]
    return found


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    folder = DataFolder(path)
    if not folder.database.is_file():
        raise StoreError(f"There is no data in {path}: {folder.database} is missing.")
    try:
        database = folder.connect_reader()
        try:
            _check_schema(database, path)
            yield database
        finally:
            database.close()
    except sqlite3.Error as error:
        raise StoreError(f"{folder.database} cannot be read: {error}.") from error


def _check_schema(database: sqlite3.Connection, path: Path) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != len(MIGRATIONS):
        raise StoreError(
            f"{path} has schema {version}, this program needs schema {len(MIGRATIONS)}:"
            " see `tradewire migrate status`."
        )


def _of_conversations(
    database: sqlite3.Connection, tenant: str | None, now: int
) -> Iterator[Recount]:
    after = 0
    while True:
        asked = {"after": after, "tenant": tenant, "limit": PAGE}
        with _snapshot(database):
            rows = [Row(*row) for row in database.execute(_CONVERSATIONS, asked)]
            found = [_recount(database, row, now) for row in rows]
        if not rows:
            return
        yield from found
        after = rows[-1].number


@contextmanager
def _snapshot(database: sqlite3.Connection) -> Iterator[None]:
    """What is read within is of one moment."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("ROLLBACK")


def _recount(database: sqlite3.Connection, row: Row, now: int) -> Recount:
    asked = {"number": row.number, "now": now}
    members = [MemberRow(*found) for found in database.execute(_MEMBERS, asked)]
    newest = [message_id for (message_id,) in database.execute(_NEWEST_TWO, (row.number,))]
    name = f"{row.tenant} {row.conversation_id}"
    moved = _moved(row, members, newest)
    whole = (f"{name}: {found}" for found in _of_row(row, members))
    of_members = (
        f"{name}: member {member.user_id}: {found}"
        for member in members
        for found in _of_member(row, member, _place(row, newest), moved)
    )
    return Recount(1, len(members), [*whole, *of_members])


def _of_row(row: Row, members: list[MemberRow]) -> Iterator[str]:
    if row.member_count != len(members):
        yield f"counts {row.member_count} members, there are {len(members)}"
    if row.status != row.status_in_body:
        yield f"is listed as {row.status}, but is {row.status_in_body}"


def _of_member(row: Row, member: MemberRow, place: int, moved: int) -> Iterator[str]:
    if (member.tenant, member.created) != (row.tenant, row.created):
        yield f"made {member.created} of {member.tenant}, the conversation {row.created}"
    if member.listing_id != row.listing_id:
        yield f"listed under {member.listing_id}, the conversation under {row.listing_id}"
    # A conversation that has ever been crowded keeps the place that it had before.
    if member.moved != ALWAYS and member.activity != place:
        yield f"stands at {member.activity} in the inbox, the messages say {place}"
    if member.moved < moved:
        yield f"resume looks up to slot {member.moved}, something happened in {moved}"
    if member.has_unread and not member.unread:
        yield "is not marked as unread, but has unread messages"


def _place(row: Row, newest: list[int]) -> int:
    """Where the inbox must have a conversation (see inbox.py)."""
    if not newest:
        return row.created
    alone = len(newest) == 1 or slot_of(newest[1]) < slot_of(newest[0])
    return newest[0] if alone else newest[0] | SLOT_MASK


def _moved(row: Row, members: list[MemberRow], newest: list[int]) -> int:
    """The slot up to which resume has to look."""
    if len(members) > RECEIPT_MEMBERS:
        return ALWAYS
    receipts = chain.from_iterable((each.read_change, each.delivered_change) for each in members)
    return slot_of(max([row.created, row.changed, *newest, *receipts]))


def _lost(database: sqlite3.Connection, tenant: str | None) -> Recount:
    asked: dict[str, Any] = {"tenant": tenant}
    keys = [
        f"{of_tenant} {conversation_id}: key {key} of {sender} is for {message_id}, no message"
        " of that sender"
        for of_tenant, conversation_id, sender, key, message_id in database.execute(
            _LOST_KEYS, asked
        )
    ]
    members = [
        f"{of_tenant}: {user_id} is a member of number {number}, no conversation"
        for number, of_tenant, user_id in database.execute(_LOST_MEMBERS, asked)
    ]
    return Recount(0, 0, keys + members)
