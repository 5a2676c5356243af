"""The commands of a load other than ``SendMessage``, and what their results must be."""

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from loadtest.messages import Message, Result
from loadtest.plan import Connection, Conversation, Kind, Page, Plan

Check = Callable[[Result], str]
"""What is wrong with a result; "" when nothing is."""


class Command(NamedTuple):
    """What is asked: the fields of the command, its twin over HTTP, and the check of its result."""

    fields: Mapping[str, object]
    path: str
    check: Check


def page(kind: Kind, plan: Plan, connection: Connection, conversation: Conversation) -> Command:
    """A page that a connection reads: of its inbox, or of a conversation."""
    if kind == "inbox":
        return inbox(connection.chats, plan.inbox_page)
    return history(conversation, plan.page)


def history(conversation: Conversation, size: int) -> Command:
    """One of the pages of a conversation, at random."""
    page = random.choice(conversation.pages)
    query: dict[str, object] = {"limit": size}
    if page.before:
        query["before"] = page.before
    target = {"conversation_id": conversation.conversation_id}

    def check(result: Result) -> str:
        return page_fault(result.messages or [], conversation.conversation_id, page, size)

    path = f"/v1/conversations/{conversation.conversation_id}/messages?{urlencode(query)}"
    return Command({"type": "GetMessages", **target, **query}, path, check)


def page_fault(messages: list[Message], conversation_id: str, page: Page, size: int) -> str:
    """What is wrong with a page: it must be full, in order, and begin where it should."""
    ids = [int(message.message_id) for message in messages]
    if len(ids) != size:
        return "history: not a full page"
    if page.first and messages[0].message_id != page.first:
        return "history: another page"
    if any(message.conversation_id != conversation_id for message in messages):
        return "history: another conversation"
    if any(ids[at] >= ids[at + 1] for at in range(size - 1)):
        return "history: out of order"
    return ""


def inbox(chats: int, size: int) -> Command:
    """The first page of an inbox of so many conversations."""

    def check(result: Result) -> str:
        shown = result.conversations or []
        if len({chat.conversation_id for chat in shown}) != len(shown):
            return "inbox: a conversation twice"
        return "" if len(shown) == min(chats, size) else "inbox: not a full page"

    query = {"limit": size}
    path = f"/v1/conversations?{urlencode(query)}"
    return Command({"type": "GetUserConversations", **query}, path, check)


def read(conversation: Conversation, up_to: int) -> Command:
    """The receipt of everything up to a message, of all when there was none yet."""
    marker: dict[str, object] = {"up_to": str(up_to)} if up_to else {"all": True}
    target = {"conversation_id": conversation.conversation_id}
    return Command({"type": "MarkMessagesAsRead", **target, **marker}, "", anything)


def typing(conversation: Conversation) -> Command:
    """The sign that somebody is typing."""
    target = {"conversation_id": conversation.conversation_id}
    return Command({"type": "SetTypingIndicator", **target, "typing": True}, "", anything)


def anything(_result: Result) -> str:
    """A result of which nothing is expected."""
    return ""
