"""Between rows and domain values."""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import structs

from tradewire.adapters.sqlite import statements as sql
from tradewire.domain import rules
from tradewire.domain.ids import timestamp
from tradewire.domain.packing import unpack_message
from tradewire.domain.types import Conversation, Member, Message

_ROWS = 256
"""Rows in the longest INSERT; the rest goes in powers of two, so few statements are ever made."""

_encode = msgspec.json.Encoder().encode
_decode_conversation = msgspec.json.Decoder(Conversation).decode
_decode_members = msgspec.json.Decoder(list[Member]).decode


def insert_sorted(database: sqlite3.Connection, insert: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows in the order of their table, which keeps to fewer of its pages.

    A statement takes many: the interpreter lock is given up and taken once for all of them.
    """
    rows.sort()
    start, size = 0, _ROWS
    while start < len(rows):
        while size > len(rows) - start:
            size >>= 1
        values = list(chain.from_iterable(rows[start : start + size]))
        database.execute(sql.insert_rows(insert, len(rows[0]), size), values)
        start += size


def encode_conversation(conversation: Conversation) -> str:
    """A conversation as its row's `body`: what no other row says."""
    own = structs.replace(conversation, members=None, member_count=0, last_message=None)
    return _encode(own).decode()


def decode_conversation(body: str) -> Conversation:
    """A conversation from its row's `body`."""
    return _decode_conversation(body)


def decode_members(members: str) -> list[Member]:
    """Members from a JSON array."""
    return _decode_members(members)


def messages(conversation_id: str, rows: Iterable[tuple[int, bytes]], now: int) -> list[Message]:
    """Messages of one conversation, as they read at a time (ms)."""
    return [
        rules.as_of(unpack_message(conversation_id, message_id, body), now)
        for message_id, body in rows
    ]


def messages_by_id(
    database: sqlite3.Connection, tenant: str, ids: Sequence[tuple[str, int]], now: int
) -> list[Message]:
    """Messages by (conversation_id, message_id), in that order, as they read at a time (ms)."""
    asked = {"tenant": tenant, "ids": _encode(ids).decode()}
    return [
        rules.as_of(unpack_message(conversation_id, message_id, body), now)
        for conversation_id, message_id, body in database.execute(sql.MESSAGES, asked)
    ]


def conversation_view(row: Sequence[Any], now: int) -> Conversation:
    """A row of `statements.VIEWS`."""
    _, body, count, archived, pinned, muted_until, unread, message_id, message, members = row
    view = _decode_conversation(body)
    view.member_count = count
    view.members = _decode_members(members)
    if message is not None:
        view.last_message = messages(view.conversation_id, [(message_id, message)], now)[0]
    if archived is not None:
        view.unread_count = unread
        view.archived, view.pinned = bool(archived), bool(pinned)
        if muted_until is not None and muted_until > now:
            view.muted_until = timestamp(muted_until)
    return view
