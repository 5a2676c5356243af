"""What a user interface would show, built from events and from pages that were read.

Events may come twice, late, and out of order; the result is the same as in order, for of two
changes of one thing the one with the greater id stands.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, ClassVar

from tradewire.client.codec import Json
from tradewire.client.cursor import TIME_SHIFT

TYPING_S = 5.0
_KEY_MS = 48 * 3_600_000
"""How long a key stands for one message."""
_DERIVED_OF_MESSAGE = frozenset({"status", "reply_count", "reactions"})
_DERIVED_OF_CONVERSATION = frozenset({"members", "member_count", "last_message", "unread_count"})
_MAY_BE_EMPTY = frozenset({"title", "metadata"})
_OWN_MAY_BE_EMPTY = frozenset({"muted_until"})
_MARKERS = frozenset({"last_read_id", "last_delivered_id"})


@dataclass
class Latest:
    """A value and the id of the change that made it."""

    value: Any
    change_id: int = 0

    def set(self, value: Any, change_id: int) -> None:
        """Take a value, unless a later change is known."""
        if change_id >= self.change_id:
            self.value, self.change_id = value, change_id


@dataclass
class MessageState:
    """One message: its content, reactions and pin change independently.

    Until the content is known there is nothing to show.
    """

    content: Latest = field(default_factory=lambda: Latest(None))
    reactions: Latest = field(default_factory=lambda: Latest({}))
    pinned: Latest = field(default_factory=lambda: Latest(value=False))

    def show(self) -> Json:
        """The message with the reactions it has now."""
        shown: Json = dict(self.content.value)
        if self.reactions.value:
            shown["reactions"] = self.reactions.value
        return shown


@dataclass
class MemberState:
    """One user in a conversation; markers are kept of those who left, too."""

    present: Latest = field(default_factory=lambda: Latest(value=False))
    details: dict[str, Latest] = field(default_factory=dict)
    last_read_id: int = 0
    last_delivered_id: int = 0

    def join(self, member: Json, change_id: int) -> None:
        """The user is a member, with what is known of the membership."""
        self.present.set(value=True, change_id=change_id)
        _merge(self.details, member, _MARKERS, change_id)
        self.move(int(member.get("last_read_id") or 0), int(member.get("last_delivered_id") or 0))

    def move(self, read: int = 0, delivered: int = 0) -> None:
        """Move the markers; they only go forward."""
        self.last_read_id = max(self.last_read_id, read)
        self.last_delivered_id = max(self.last_delivered_id, delivered)

    def show(self) -> Json:
        """The member as the server would tell of it."""
        markers = {
            "last_read_id": str(self.last_read_id),
            "last_delivered_id": str(self.last_delivered_id),
        }
        return {name: latest.value for name, latest in self.details.items()} | markers


class ConversationState:
    """One conversation as a user interface shows it.

    Left out is what the server derives: of messages `status` and `reply_count`, of the conversation
    `member_count`, `last_message` and `unread_count`.
    """

    def __init__(self, conversation_id: str, now: Callable[[], float] = time.monotonic) -> None:
        self.conversation_id = conversation_id
        self._now = now
        self._fields: dict[str, Latest] = {}
        self._messages: dict[int, MessageState] = {}
        self._members: dict[str, MemberState] = {}
        self._typing_until: dict[str, float] = {}
        self._hidden = Latest(value=False)
        self._left = Latest(value=False)

    @property
    def hidden(self) -> bool:
        """Whether it was deleted, for the user or for all, or the user is no member any more."""
        return bool(self._hidden.value or self._left.value)

    @property
    def fields(self) -> Json:
        """The conversation's own fields."""
        told = sorted(self._fields.items())
        return {name: latest.value for name, latest in told if latest.value is not None}

    @property
    def messages(self) -> list[Json]:
        """The messages in the order of their ids."""
        return [state.show() for _, state in self._shown()]

    @property
    def pinned(self) -> list[str]:
        """The ids of the pinned messages, in order."""
        return [str(message_id) for message_id, state in self._shown() if state.pinned.value]

    @property
    def members(self) -> dict[str, Json]:
        """The members by `user_id`."""
        present = ((name, m) for name, m in self._members.items() if m.present.value)
        return {name: member.show() for name, member in sorted(present)}

    @property
    def typing(self) -> set[str]:
        """Who is typing; a sign of it lasts five seconds."""
        now = self._now()
        return {name for name, until in self._typing_until.items() if until > now}

    def view(self) -> Json:
        """All that lasts, as plain values, to compare two states by."""
        return {
            "conversation": self.fields,
            "messages": self.messages,
            "pinned": self.pinned,
            "members": self.members,
        }

    def apply(self, event: Json) -> None:
        """Take an event of this conversation; one of an unknown type changes nothing."""
        handler = self._HANDLERS.get(event["type"])
        if handler is not None:
            handler(self, event, int(event.get("change_id", 0)))

    def seed_conversation(self, conversation: Json, change_id: int = 0) -> None:
        """Take a conversation that was read, or that a change of this id tells of.

        A field that may be empty and is left out is empty; of the user's own settings only where
        they are told at all.
        """
        empty = _MAY_BE_EMPTY | _OWN_MAY_BE_EMPTY if "archived" in conversation else _MAY_BE_EMPTY
        conversation = dict.fromkeys(empty) | conversation
        _merge(self._fields, conversation, _DERIVED_OF_CONVERSATION, change_id)
        for member in conversation.get("members", ()):
            self._member(member["user_id"]).join(member, change_id)

    def seed_messages(self, messages: Iterable[Json]) -> None:
        """Take a page that was read. What a change is known of keeps that change."""
        for message in messages:
            self._put(message, int(message["message_id"]))

    def hide(self, *, hidden: bool, change_id: int) -> None:
        """Take the conversation out of sight, or back into it, as a newer message does."""
        self._hidden.set(hidden, change_id)

    def leave(self, *, left: bool, change_id: int) -> None:
        """The user is no member any more, or one again; messages change nothing of it."""
        self._left.set(left, change_id)

    def _receive(self, event: Json, _: int) -> None:
        message = event["message"]
        message_id, sender = int(message["message_id"]), message["sender_id"]
        if self._message(message_id).content.value is None:
            self._put(message, message_id)
        self._member(sender).move(read=message_id, delivered=message_id)
        self._typing_until.pop(sender, None)
        self.hide(hidden=False, change_id=message_id)

    def _change_message(self, event: Json, change_id: int) -> None:
        self._put(event["message"], change_id)

    def _put(self, message: Json, change_id: int) -> None:
        state = self._message(int(message["message_id"]))
        content = {k: v for k, v in message.items() if k not in _DERIVED_OF_MESSAGE}
        state.content.set(content, change_id)
        if "reactions" in message:
            state.reactions.set(message["reactions"], 0)

    def _react(self, event: Json, change_id: int) -> None:
        self._message(int(event["message_id"])).reactions.set(event["reactions"], change_id)

    def _pin(self, event: Json, change_id: int) -> None:
        self._message(int(event["message_id"])).pinned.set(event["pinned"], change_id)

    def _read(self, event: Json, _: int) -> None:
        up_to = int(event["up_to"])
        self._member(event["user_id"]).move(read=up_to, delivered=up_to)

    def _deliver(self, event: Json, _: int) -> None:
        self._member(event["user_id"]).move(delivered=int(event["up_to"]))

    def _start_typing(self, event: Json, _: int) -> None:
        self._typing_until[event["user_id"]] = self._now() + TYPING_S

    def _stop_typing(self, event: Json, _: int) -> None:
        self._typing_until.pop(event["user_id"], None)

    def _create(self, event: Json, change_id: int) -> None:
        self._change_conversation(event, change_id)
        self.hide(hidden=False, change_id=change_id)
        self.leave(left=False, change_id=change_id)

    def _change_conversation(self, event: Json, change_id: int) -> None:
        self.seed_conversation(event["conversation"], change_id)

    def _delete(self, _: Json, change_id: int) -> None:
        self.hide(hidden=True, change_id=change_id)

    def _join(self, event: Json, change_id: int) -> None:
        self._member(event["user_id"]).join(event["member"], change_id)

    def _leave(self, event: Json, change_id: int) -> None:
        self._member(event["user_id"]).present.set(value=False, change_id=change_id)

    def _change_role(self, event: Json, change_id: int) -> None:
        _merge(self._member(event["user_id"]).details, {"role": event["role"]}, (), change_id)

    def _member(self, user_id: str) -> MemberState:
        return self._members.setdefault(user_id, MemberState())

    def _message(self, message_id: int) -> MessageState:
        return self._messages.setdefault(message_id, MessageState())

    def _shown(self) -> list[tuple[int, MessageState]]:
        """What is known of messages, in the order of ids. Of several with one sender and key the
        last is shown, as pages show it: it was sent again because nobody had acknowledged those
        before it.
        """
        shown: list[tuple[int, MessageState]] = []
        last: dict[tuple[str, str], int] = {}
        for message_id, state in sorted(self._messages.items(), key=itemgetter(0), reverse=True):
            content = state.content.value
            if not content:
                continue
            if key := content.get("key"):
                after = last.get((content["sender_id"], key), message_id)
                if 0 < after - message_id <= _KEY_MS << TIME_SHIFT:
                    continue
                last[content["sender_id"], key] = message_id
            shown.append((message_id, state))
        return shown[::-1]

    _HANDLERS: ClassVar[dict[str, Callable[["ConversationState", Json, int], None]]] = {
        "MessageReceived": _receive,
        "MessageEdited": _change_message,
        "MessageDeleted": _change_message,
        "MessageRead": _read,
        "MessageDelivered": _deliver,
        "ReactionChanged": _react,
        "MessagePinned": _pin,
        "TypingStarted": _start_typing,
        "TypingStopped": _stop_typing,
        "ConversationCreated": _create,
        "ConversationUpdated": _change_conversation,
        "ConversationDeleted": _delete,
        "MemberAdded": _join,
        "MemberRemoved": _leave,
        "MemberRoleChanged": _change_role,
    }


class ChatState:
    """All conversations of one user, as that user's interface shows them.

    What this connection sends comes back as a result, not as an event: apply it as
    `{"type": "MessageReceived", "message": result["message"]}`. After a truncated resume begin with
    a new state and seed it.
    """

    def __init__(self, user_id: str, now: Callable[[], float] = time.monotonic) -> None:
        self._user_id = user_id
        self._now = now
        self._conversations: dict[str, ConversationState] = {}

    @property
    def conversations(self) -> dict[str, ConversationState]:
        """The conversations that are neither deleted nor left, by id."""
        return {name: state for name, state in self._conversations.items() if not state.hidden}

    def conversation(self, conversation_id: str) -> ConversationState:
        """One conversation, empty if nothing is known of it yet."""
        return self._conversations.setdefault(
            conversation_id, ConversationState(conversation_id, self._now)
        )

    def view(self) -> Json:
        """All that lasts, as plain values, to compare two states by."""
        return {name: state.view() for name, state in sorted(self.conversations.items())}

    def apply(self, event: Json) -> None:
        """Take any event; one that belongs to no conversation changes nothing."""
        conversation_id = _conversation_of(event)
        if conversation_id is None:
            return
        conversation = self.conversation(conversation_id)
        conversation.apply(event)
        if event["type"] in _OWN_MEMBERSHIP and event["user_id"] == self._user_id:
            left = event["type"] == "MemberRemoved"
            conversation.leave(left=left, change_id=int(event["change_id"]))

    def seed_conversation(self, conversation: Json) -> None:
        """Take the result of GetConversation, or one of an inbox page."""
        self.conversation(conversation["conversation_id"]).seed_conversation(conversation)

    def seed_messages(self, messages: Iterable[Json]) -> None:
        """Take the messages of GetMessages."""
        for message in messages:
            self.conversation(message["conversation_id"]).seed_messages([message])


_OWN_MEMBERSHIP = frozenset({"MemberAdded", "MemberRemoved"})


def _merge(known: dict[str, Latest], values: Json, left_out: Iterable[str], change_id: int) -> None:
    """Take those values whose latest change this is."""
    for name, value in values.items():
        if name not in left_out:
            known.setdefault(name, Latest(value)).set(value, change_id)


def _conversation_of(event: Json) -> str | None:
    for part in (event, event.get("message", {}), event.get("conversation", {})):
        if "conversation_id" in part:
            return str(part["conversation_id"])
    return None
