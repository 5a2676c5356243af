"""Writes to conversations and to who is in them."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tradewire.adapters.sqlite import statements as sql
from tradewire.adapters.sqlite.rows import decode_conversation, encode_conversation
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.adapters.sqlite.tracked import ALWAYS, ANYBODY, Tracked
from tradewire.domain import rules
from tradewire.domain.errors import NotFound
from tradewire.domain.ids import slot_of
from tradewire.domain.limits import RECEIPT_MEMBERS
from tradewire.domain.types import Conversation, Member, Role
from tradewire.domain.writes import (
    AddMember,
    CreateConversation,
    Creation,
    DeleteConversation,
    LinkOrder,
    OwnSettings,
    RemoveMember,
    ReviseConversation,
    SetOwnSettings,
    SetRole,
)

_encode = msgspec.json.Encoder().encode


def create(session: WriteSession, write: CreateConversation) -> Creation:
    """Apply a CreateConversation."""
    existing = session.find(write.tenant, write.conversation_id)
    if existing is not None:
        return _show_again(session, write, existing)
    conversation, database, members = write.conversation, session.database, write.members
    added = database.execute(
        sql.ADD_CONVERSATION,
        (
            write.tenant,
            write.conversation_id,
            conversation.status,
            len(members),
            write.change_id,
            encode_conversation(conversation),
        ),
    )
    tracked = Tracked(
        number=added.lastrowid or 0,
        newest=0,
        members=len(members),
        activity=write.change_id,
        moved=ALWAYS if len(members) > RECEIPT_MEMBERS else slot_of(write.change_id),
    )
    listing_id, product_id = conversation.listing_id, conversation.product_id
    rows = [
        _member_row(write.tenant, tracked, member, listing_id, write.change_id)
        for member in members
    ]
    database.executemany(sql.ADD_MEMBER, rows)
    if product_id is not None:
        shown = (write.tenant, product_id, write.conversation_id)
        database.execute(sql.SHOW_PRODUCT, shown)
    session.change(tracked, write.change_id, "ConversationCreated")
    return "created"


def revise(session: WriteSession, write: ReviseConversation) -> Conversation:
    """Apply a ReviseConversation."""
    tracked = session.tracked(write.tenant, write.conversation_id)
    conversation, _ = _conversation(session, tracked)
    revised = rules.revised(conversation, write)
    _keep(session, tracked, revised)
    session.change(tracked, write.change_id, "ConversationUpdated")
    return revised


def set_own(session: WriteSession, write: SetOwnSettings) -> OwnSettings:
    """Apply a SetOwnSettings."""
    tracked = session.tracked(write.tenant, write.conversation_id)
    settings = session.database.execute(
        sql.SET_OWN,
        {
            "number": tracked.number,
            "user_id": write.user_id,
            "archived": _given(write.archived),
            "pinned": _given(write.pinned),
            "hidden": _given(write.hidden),
            "mutes": write.muted_until is not UNSET,
            "muted_until": None if write.muted_until is UNSET else write.muted_until,
        },
    ).fetchone()
    if settings is None:
        raise NotFound(field="conversation_id")
    tracked.hidden = tracked.hidden or write.hidden is True
    kind = "ConversationDeleted" if write.hidden is True else "ConversationUpdated"
    _tell(session, write, write.user_id, kind)
    archived, pinned, muted_until = settings
    return OwnSettings(bool(archived), bool(pinned), muted_until)


def add_member(session: WriteSession, write: AddMember) -> bool:
    """Apply an AddMember."""
    tracked, member = session.tracked(write.tenant, write.conversation_id), write.member
    member_of = (tracked.number, member.user_id)
    if session.database.execute(sql.MARKERS, member_of).fetchone() is not None:
        return False
    conversation, created = _conversation(session, tracked)
    tracked.members += 1
    session.database.execute(
        sql.ADD_MEMBER,
        _member_row(write.tenant, tracked, member, conversation.listing_id, created),
    )
    session.database.execute(sql.COUNT_MEMBERS, (tracked.members, tracked.number))
    tracked.unmarked = ANYBODY
    session.change(tracked, write.change_id, "MemberAdded", member.user_id)
    return True


def remove_member(session: WriteSession, write: RemoveMember) -> Role | None:
    """Apply a RemoveMember."""
    tracked = session.find(write.tenant, write.conversation_id)
    if tracked is None:
        return None
    removed = session.database.execute(
        sql.REMOVE_MEMBER, (tracked.number, write.user_id)
    ).fetchone()
    if removed is None:
        return None
    role: Role = removed[0]
    tracked.members -= 1
    session.database.execute(sql.COUNT_MEMBERS, (tracked.members, tracked.number))
    session.change(tracked, write.change_id, "MemberRemoved", write.user_id)
    _tell(session, write, write.user_id, "MemberRemoved", write.user_id)
    return role


def set_role(session: WriteSession, write: SetRole) -> bool:
    """Apply a SetRole."""
    tracked = session.find(write.tenant, write.conversation_id)
    if tracked is None:
        return False
    changed = session.database.execute(sql.SET_ROLE, (write.role, tracked.number, write.user_id))
    if not changed.rowcount:
        return False
    session.change(tracked, write.change_id, "MemberRoleChanged", write.user_id)
    return True


def delete(session: WriteSession, write: DeleteConversation) -> list[str]:
    """Apply a DeleteConversation: nobody finds it any more; its rows go later, in small steps."""
    database = session.database
    tracked = session.find(write.tenant, write.conversation_id)
    if tracked is None:
        return []
    removed = database.execute(sql.REMOVE_MEMBERS, (tracked.number,)).fetchall()
    members = [user_id for (user_id,) in removed]
    database.execute(sql.REMOVE_CONVERSATION, (tracked.number,))
    database.execute(sql.UNSHOW_PRODUCTS, (write.tenant, write.conversation_id))
    database.execute(sql.ADD_PURGE, (tracked.number,))
    session.forget(write.tenant, write.conversation_id)
    for user_id in members:
        _tell(session, write, user_id, "ConversationDeleted")
    return members


def link_order(session: WriteSession, write: LinkOrder) -> bool:
    """Apply a LinkOrder."""
    order, database = write.order, session.database
    if database.execute(sql.ORDER, (write.tenant, order.order_id)).fetchone() is not None:
        return False
    tracked = session.tracked(write.tenant, write.conversation_id)
    row = (write.tenant, order.order_id, write.conversation_id, _encode(order).decode())
    database.execute(sql.ADD_ORDER, row)
    conversation, _ = _conversation(session, tracked)
    conversation.order_ids = [*(conversation.order_ids or ()), order.order_id]
    _keep(session, tracked, conversation)
    session.change(tracked, write.change_id, "OrderLinked", order.order_id)
    return True


def _show_again(session: WriteSession, write: CreateConversation, tracked: Tracked) -> Creation:
    shown = session.database.execute(sql.SHOW_AGAIN, (tracked.number, write.shown_to))
    if not shown.rowcount:
        return "known"
    _tell(session, write, write.shown_to, "ConversationCreated")
    return "shown"


def _conversation(session: WriteSession, tracked: Tracked) -> tuple[Conversation, int]:
    """A conversation as stored, and the id of its making."""
    body, members, created = session.database.execute(
        sql.CONVERSATION_BODY, (tracked.number,)
    ).fetchone()
    conversation = decode_conversation(body)
    conversation.member_count = members
    return conversation, created


def _keep(session: WriteSession, tracked: Tracked, conversation: Conversation) -> None:
    session.database.execute(
        sql.REVISE_CONVERSATION,
        (conversation.status, encode_conversation(conversation), tracked.number),
    )


def _member_row(
    tenant: str, tracked: Tracked, member: Member, listing_id: str | None, created: int
) -> tuple[Any, ...]:
    return (
        tracked.number,
        member.user_id,
        tenant,
        member.role,
        member.joined_at,
        int(member.last_read_id),
        int(member.last_delivered_id),
        listing_id,
        created,
        tracked.activity,
        tracked.moved,
        tracked.crowded or tracked.newest > int(member.last_read_id),
    )


def _tell(
    session: WriteSession,
    write: SetOwnSettings | RemoveMember | DeleteConversation | CreateConversation,
    user_id: str,
    kind: str,
    subject: str = "",
) -> None:
    session.database.execute(
        sql.ADD_USER_CHANGE,
        (write.tenant, user_id, write.change_id, write.conversation_id, kind, subject, ""),
    )


def _given(value: bool | UnsetType) -> bool | None:
    return None if value is UNSET else value
