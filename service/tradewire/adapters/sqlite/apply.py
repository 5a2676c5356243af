"""Applies the writes that come one by one; the two that come in crowds are in sends.py."""

from collections.abc import Callable
from typing import Any

from tradewire.adapters.sqlite import apply_commerce as commerce
from tradewire.adapters.sqlite import apply_conversations as conversations
from tradewire.adapters.sqlite import apply_messages as messages
from tradewire.adapters.sqlite.session import WriteSession
from tradewire.domain import writes

_APPLY: dict[type[writes.Write], Callable[[WriteSession, Any], Any]] = {
    writes.EditMessage: messages.edit,
    writes.DeleteMessage: messages.delete,
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


def apply(session: WriteSession, write: writes.Write) -> Any:
    """Apply a write; returns its result. Raises what the write is documented to raise."""
    return _APPLY[type(write)](session, write)
