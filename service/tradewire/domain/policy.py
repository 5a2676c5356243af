"""Who may do what in a conversation: the table of protocol §4, and nothing else decides."""

from collections.abc import Collection
from typing import Literal

from tradewire.domain.caller import Caller
from tradewire.domain.errors import Blocked, ConversationClosed, Forbidden, NotFound, ReadOnly
from tradewire.domain.types import Conversation, Role

Action = Literal[
    "read",
    "send",
    "edit_own",
    "delete_others",
    "revise",
    "add_members",
    "set_roles",
    "delete_conversation",
]

RANK: dict[Role, int] = {"member": 0, "moderator": 1, "admin": 2, "owner": 3}

LEAST_ROLE: dict[Action, Role] = {
    "read": "member",
    "send": "member",
    "edit_own": "member",
    "delete_others": "moderator",
    "revise": "admin",
    "add_members": "admin",
    "set_roles": "owner",
    "delete_conversation": "owner",
}
"""The least role in a group or channel for each action."""

LEAST_ROLE_TO_REMOVE: dict[Role, Role] = {
    "member": "moderator",
    "moderator": "admin",
    "admin": "owner",
    "owner": "owner",
}
"""The least role that may remove a member of the given one."""

DIRECT: frozenset[Action] = frozenset({"read", "send", "edit_own", "revise"})
"""What both members of a direct conversation may do; it has no roles."""

WRITING: frozenset[Action] = frozenset({"send", "edit_own"})
"""What nobody does in a closed conversation."""

MODERATOR: frozenset[Action] = frozenset({"read", "delete_others"})
"""What a token with the role `moderator` may do in every conversation of its tenant."""


def require(caller: Caller, conversation: Conversation, role: Role | None, action: Action) -> None:
    """Raise unless the caller may do this; `role` is the caller's in it, None for no member.

    Raises:
        NotFound: nothing of the conversation may be seen.
        Forbidden: the role is not enough.
        ReadOnly: a member would write in a channel.
        ConversationClosed: writing in a closed conversation.
    """
    if not _allowed(caller, conversation, role, action):
        if role is None and not _allowed(caller, conversation, role, "read"):
            raise NotFound(field="conversation_id")
        raise ReadOnly if action == "send" and conversation.kind == "channel" else Forbidden
    if action in WRITING and conversation.status == "closed":
        raise ConversationClosed


def require_no_block(
    conversation: Conversation, members: Collection[str], blocked: frozenset[str]
) -> None:
    """Raise Blocked where a block stands between the two of a direct conversation.

    `blocked`: users with a block between them and the caller. In groups and channels a block stops
    typing, receipts and presence between the two; what they write there is for all.
    """
    if conversation.kind == "direct" and not blocked.isdisjoint(members):
        raise Blocked


def require_removal(
    caller: Caller, conversation: Conversation, role: Role | None, target: Role
) -> None:
    """Raise unless the caller may remove a member of the role `target`."""
    require(caller, conversation, role, "read")
    if conversation.kind == "direct":
        raise Forbidden("A direct conversation keeps its two members.")
    if "admin" in caller.roles:
        return
    if role is None or RANK[role] < RANK[LEAST_ROLE_TO_REMOVE[target]]:
        raise Forbidden


def _allowed(caller: Caller, conversation: Conversation, role: Role | None, action: Action) -> bool:
    if "admin" in caller.roles:
        return conversation.kind != "direct" or action not in {"add_members", "set_roles"}
    if "moderator" in caller.roles and action in MODERATOR:
        return True
    if role is None:
        return False
    if conversation.kind == "direct":
        return action in DIRECT
    if conversation.kind == "channel" and action == "send":
        return RANK[role] >= RANK["moderator"]
    return RANK[role] >= RANK[LEAST_ROLE[action]]
