"""Fills a data folder with conversations of one user, past the store and many at once."""

import sqlite3
from pathlib import Path

from tradewire.adapters.sqlite.folder import DataFolder
from tradewire.adapters.sqlite.rows import encode_conversation
from tradewire.domain.ids import id_ms, slot_of, timestamp
from tradewire.domain.packing import pack_message
from tradewire.domain.types import Conversation, Message

MEMBER_COLUMNS = """number, user_id, tenant, role, joined_at, last_read_id, last_delivered_id,
    listing_id, created, activity, moved, unread"""


def conversation_id(number: int) -> str:
    """The id of the conversation that was made as the n-th, from 1."""
    return f"00000000-0000-4000-8000-{number:012x}"


def seed(data: Path, owner: str, conversations: int, start: int) -> list[int]:
    """Conversations of `owner`, each with one unread message; ids of the messages, ascending.

    Ids begin at `start` and lie one sequence number apart: all are of a few moments.
    """
    folder = DataFolder(data)
    folder.open()
    try:
        database = folder.connect()
        try:
            return _fill(database, owner, conversations, start)
        finally:
            database.close()
    finally:
        folder.close()


def _fill(database: sqlite3.Connection, owner: str, conversations: int, start: int) -> list[int]:
    at = timestamp(id_ms(start))
    numbers = range(1, conversations + 1)
    ids = [start + 2 * number + 1 for number in numbers]
    template = Conversation(
        conversation_id=conversation_id(0),
        kind="direct",
        status="open",
        created_at=at,
        created_by=owner,
    )
    body = encode_conversation(template)
    message = pack_message(
        Message(
            message_id="1",
            conversation_id=conversation_id(0),
            sender_id="buyer",
            content_type="text",
            created_at=at,
            status="sent",
            text="Is this still available?",
        )
    )
    database.execute("BEGIN")
    database.executemany(
        "INSERT INTO conversations (tenant, conversation_id, status, member_count, created, body) "
        "VALUES ('t1', ?, 'open', 2, ?, ?)",
        (
            (
                conversation_id(number),
                start + 2 * number,
                body.replace(conversation_id(0), conversation_id(number)),
            )
            for number in numbers
        ),
    )
    database.executemany(
        f"INSERT INTO members ({MEMBER_COLUMNS}) "
        "VALUES (?, ?, 't1', 'member', ?, 0, 0, NULL, ?, ?, ?, ?)",
        (
            (number, user, at, start + 2 * number, ids[number - 1], slot_of(start), user == owner)
            for number in numbers
            for user in (owner, f"buyer{number}")
        ),
    )
    database.executemany(
        "INSERT INTO messages (number, message_id, sender_id, body) VALUES (?, ?, 'buyer', ?)",
        ((number, ids[number - 1], message) for number in numbers),
    )
    database.execute("INSERT INTO outbox (last_id, events) VALUES (?, x'90')", (ids[-1],))
    database.execute("COMMIT")
    return ids
