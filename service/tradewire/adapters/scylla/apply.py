"""Applies the units of a group to its draft: each whole, or not at all."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from tradewire.adapters.scylla import apply_commerce as commerce
from tradewire.adapters.scylla import apply_conversations as conversations
from tradewire.adapters.scylla import apply_messages as messages
from tradewire.adapters.scylla.draft import Draft
from tradewire.domain import writes
from tradewire.domain.errors import TradewireError, Unavailable
from tradewire.domain.ids import id_at
from tradewire.domain.outbox import domain_event
from tradewire.domain.packing import event_row

_log = structlog.get_logger(__name__)

Outcome = Sequence[Any] | TradewireError

_APPLY: dict[type[writes.Write], Callable[[Draft, Any], Any]] = {
    writes.NewMessage: messages.send,
    writes.EditMessage: messages.edit,
    writes.DeleteMessage: messages.delete,
    writes.MoveMarker: messages.move,
    writes.CreateConversation: conversations.create,
    writes.ReviseConversation: conversations.revise,
    writes.SetOwnSettings: conversations.set_own,
    writes.AddMember: conversations.add_member,
    writes.RemoveMember: conversations.remove_member,
    writes.SetRole: conversations.set_role,
    writes.DeleteConversation: conversations.delete,
    writes.LinkOrder: conversations.link_order,
    writes.SetOrderStatus: commerce.set_order_status,
    writes.PutProduct: commerce.put_product,
    writes.RetireProduct: commerce.retire_product,
    writes.TouchProduct: commerce.touch_product,
    writes.SetBlock: commerce.set_block,
    writes.SetSuspension: commerce.set_suspension,
    writes.Revoke: commerce.revoke,
    writes.SetLastSeen: commerce.set_last_seen,
}


def apply_unit(draft: Draft, unit: writes.Unit) -> Outcome:
    """The results of a unit, or what it was refused with; then it left nothing."""
    if unit.handles is None and len(unit.writes) == 1:
        # A single write refuses before it changes anything.
        return _guarded(draft, unit)
    draft.begin_unit()
    outcome = _guarded(draft, unit)
    if isinstance(outcome, TradewireError):
        draft.undo_unit()
    else:
        draft.end_unit()
    return outcome


def _guarded(draft: Draft, unit: writes.Unit) -> Outcome:
    try:
        if unit.handles is not None and not _handle(draft, *unit.handles):
            return ()
        return [_result(draft, write) for write in unit.writes]
    except TradewireError as error:
        return error
    except Exception as error:  # noqa: BLE001  # a unit must not harm the others
        _log.error("a unit could not be written", exc_info=error)
        failed = Unavailable()
        failed.__cause__ = error
        return failed


def _result(draft: Draft, write: writes.Write) -> Any:
    result = _APPLY[type(write)](draft, write)
    if not isinstance(write, writes.NewMessage):
        event = domain_event(write, result)
        if event is not None:
            draft.record(event_row(event))
    return result


def _handle(draft: Draft, tenant: str, ce_id: str) -> bool:
    """Mark an event of others as handled; False when it was."""
    key = ("handled", tenant, ce_id)
    if draft.get(key):
        return False
    draft.put(key, True)
    handled_at = id_at(draft.now)
    draft.emit("ADD_HANDLED", tenant, ce_id, handled_at, draft.timestamp(handled_at))
    return True
