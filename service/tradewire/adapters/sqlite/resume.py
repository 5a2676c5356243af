"""What a user missed: the oldest of it, from however many conversations."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from tradewire.adapters.sqlite import rows
from tradewire.adapters.sqlite import statements as sql
from tradewire.domain.ids import MAX_ID, slot_of
from tradewire.domain.types import Message
from tradewire.ports import Missed, MissedChange

_encode = msgspec.json.Encoder().encode

Item = tuple[int, str, str, str, str]
"""Id, conversation id, kind ("" for a message), subject, detail."""


def read_missed(
    database: sqlite3.Connection, tenant: str, user_id: str, after: int, limit: int, now: int
) -> Missed:
    """See ports.Conversations.missed.

    Looks into the conversations where something was missed, the one with the oldest first, each
    time as many as all before, and no further than the limit reached by then: what is read grows
    with the limit, hardly with the conversations.
    """
    user = {"tenant": tenant, "user_id": user_id, "after": after, "limit": limit + 1}
    items: list[Item] = database.execute(sql.MISSED_OWN, user).fetchall()
    heads = database.execute(sql.MISSED_HEADS, {**user, "slot": slot_of(after)}).fetchall()
    end = heads[limit][0] if len(heads) > limit else MAX_ID
    begun, step = 0, 1
    while begun < len(heads) and heads[begun][0] <= end:
        numbers = _encode([number for _, number in heads[begun : begun + step]]).decode()
        items += database.execute(sql.MISSED, {**user, "numbers": numbers, "end": end})
        items.sort()
        if len(items) > limit:
            del items[limit + 1 :]
            end = items[limit][0]
        begun, step = begun + step, step * 2
    kept = items[:limit]
    return Missed(
        _messages(database, tenant, [item for item in kept if not item[2]], now),
        _latest(item for item in kept if item[2]),
        truncated=len(items) > limit,
    )


def _messages(
    database: sqlite3.Connection, tenant: str, items: Sequence[Item], now: int
) -> list[Message]:
    if not items:
        return []
    ids = [(conversation_id, message_id) for message_id, conversation_id, *_ in items]
    return rows.messages_by_id(database, tenant, ids, now)


def _latest(items: Iterable[Item]) -> list[MissedChange]:
    """Of several changes of one kind and subject the last, in the order of ids."""
    latest: dict[tuple[str, str, str], MissedChange] = {}
    for change_id, conversation_id, kind, subject, detail in items:
        key = (conversation_id, kind, subject)
        latest.pop(key, None)
        latest[key] = MissedChange(change_id, conversation_id, kind, subject, detail)
    return list(latest.values())
