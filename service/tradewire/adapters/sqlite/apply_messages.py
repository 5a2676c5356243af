"""Edits and deletions of messages."""

import msgspec

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.adapters.sqlite.tracked import Tracked
from tradewire.domain import rules
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import id_ms, parse_timestamp
from tradewire.domain.packing import pack_message, unpack_message
from tradewire.domain.types import Message
from tradewire.domain.writes import Deleted, DeleteMessage, EditMessage


def edit(session: WriteSession, write: EditMessage) -> Message:
    """Apply an EditMessage."""
    tracked = session.tracked(write.tenant, write.conversation_id)
    message = _message(session, tracked, write)
    if rules.as_of(message, id_ms(write.change_id)).deleted:
        raise NotFound(field="message_id")
    after, former = rules.edited(message, write)
    expires = None if after.expires_at is None else parse_timestamp(after.expires_at)
    _rewrite(session, tracked, after, expires)
    session.database.execute(
        sql.ADD_EDIT,
        (
            tracked.number,
            write.message_id,
            write.change_id,
            msgspec.json.encode(former).decode(),
        ),
    )
    session.change(tracked, write.change_id, "MessageEdited", str(write.message_id))
    return after


def delete(session: WriteSession, write: DeleteMessage) -> Deleted:
    """Apply a DeleteMessage."""
    tracked = session.tracked(write.tenant, write.conversation_id)
    message = _message(session, tracked, write)
    if message.deleted:
        return Deleted(message, changed=False)
    after = rules.deleted(message)
    _rewrite(session, tracked, after, 0)
    session.database.execute(sql.REMOVE_EDITS, (tracked.number, write.message_id))
    session.change(tracked, write.change_id, "MessageDeleted", str(write.message_id))
    return Deleted(after, changed=True)


def _message(
    session: WriteSession, tracked: Tracked, write: EditMessage | DeleteMessage
) -> Message:
    row = session.database.execute(sql.MESSAGE, (tracked.number, write.message_id)).fetchone()
    if row is None:
        raise NotFound(field="message_id")
    return unpack_message(write.conversation_id, write.message_id, row[0])


def _rewrite(
    session: WriteSession, tracked: Tracked, message: Message, gone_at: int | None
) -> None:
    session.database.execute(
        sql.REWRITE_MESSAGE, (gone_at, pack_message(message), tracked.number, message.id)
    )
