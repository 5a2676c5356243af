"""An example of every payload, made of the types themselves; the schemas carry them."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from tradewire.domain import commands, errors, events, incoming, limits, outbox, results
from tradewire.domain.types import (
    Conversation,
    Edit,
    Member,
    Message,
    Money,
    OrderCard,
    OrderItem,
    ProductCard,
    StatusChange,
    UserStatus,
)

CONVERSATION_ID = "8f14e45f-ceea-867a-9c1d-5a36ba1e0a2b"
MESSAGE_ID = "382195476971925504"
CHANGE_ID = "382195480209928192"
TIME = "2026-11-20T10:00:00.000Z"
LATER = "2026-11-20T10:05:00.000Z"
MOMENT = datetime(2026, 11, 20, 10, tzinfo=UTC)

PRICE = Money("24.50", "EUR")
ITEM = OrderItem(product_id="lamp-7", title="Desk lamp", quantity=2, unit_price=PRICE)
PRODUCT: dict[str, Any] = {
    "product_id": "lamp-7",
    "seller_id": "bob",
    "title": "Desk lamp",
    "price": PRICE,
    "url": "/products/lamp-7",
    "status": "active",
    "version": 3,
}
PRODUCT_CARD = ProductCard(**PRODUCT)
ORDER_CARD = OrderCard(
    order_id="order-1001",
    buyer_id="alice",
    seller_id="bob",
    items=[ITEM],
    total=Money("49.00", "EUR"),
    status="paid",
    created_at=TIME,
    history=[StatusChange("placed", TIME), StatusChange("paid", LATER)],
)
MESSAGE = Message(
    message_id=MESSAGE_ID,
    conversation_id=CONVERSATION_ID,
    sender_id="alice",
    content_type="text",
    created_at=TIME,
    status="sent",
    text="Is the lamp still available?",
    key="3f9c-1",
)
MEMBERS = [
    Member(user_id="alice", role="member", joined_at=TIME, last_read_id=MESSAGE_ID),
    Member(user_id="bob", role="member", joined_at=TIME),
]
CONVERSATION = Conversation(
    conversation_id=CONVERSATION_ID,
    kind="direct",
    status="open",
    created_at=TIME,
    created_by="alice",
    product_id="lamp-7",
    members=MEMBERS,
    member_count=2,
    last_message=MESSAGE,
    unread_count=0,
    archived=False,
    pinned=False,
)
STATUSES = [UserStatus("bob", "offline", TIME)]

_IN_CONVERSATION: dict[str, Any] = {"conversation_id": CONVERSATION_ID}
_OF_USER: dict[str, Any] = {**_IN_CONVERSATION, "user_id": "bob"}
_OF_MESSAGE: dict[str, Any] = {**_IN_CONVERSATION, "message_id": MESSAGE_ID}
_MARKER: dict[str, Any] = {**_OF_USER, "up_to": MESSAGE_ID}

COMMANDS: tuple[commands.Command, ...] = (
    commands.CreateConversation(id=1, product_id="lamp-7", seller_id="bob"),
    commands.GetConversation(id=2, **_IN_CONVERSATION),
    commands.GetUserConversations(id=3, unread=True, limit=50),
    commands.UpdateConversation(id=4, **_IN_CONVERSATION, status="closed"),
    commands.ArchiveConversation(id=5, **_IN_CONVERSATION, archived=True),
    commands.MuteConversation(id=6, **_IN_CONVERSATION, until=LATER),
    commands.PinConversation(id=7, **_IN_CONVERSATION, pinned=True),
    commands.DeleteConversation(id=8, **_IN_CONVERSATION, scope="everyone"),
    commands.AddMembers(id=9, **_IN_CONVERSATION, user_ids=["carol", "dave"]),
    commands.RemoveMember(id=10, **_OF_USER),
    commands.SetMemberRole(id=11, **_OF_USER, role="moderator"),
    commands.GetMembers(id=12, **_IN_CONVERSATION, limit=100),
    commands.SendMessage(id=13, **_IN_CONVERSATION, key="3f9c-1", text=MESSAGE.text),
    commands.EditMessage(id=14, **_OF_MESSAGE, text="Is the lamp still for sale?"),
    commands.DeleteMessage(id=15, **_OF_MESSAGE),
    commands.GetMessage(id=16, **_OF_MESSAGE),
    commands.GetMessageEdits(id=17, **_OF_MESSAGE),
    commands.GetMessages(id=18, **_IN_CONVERSATION, before=MESSAGE_ID, limit=100),
    commands.MarkMessagesAsRead(id=19, **_IN_CONVERSATION, up_to=MESSAGE_ID),
    commands.MarkMessagesAsDelivered(**_IN_CONVERSATION, up_to=MESSAGE_ID),
    commands.GetUnreadCount(id=20),
    commands.SetTypingIndicator(**_IN_CONVERSATION, typing=True),
    commands.GetTypingIndicators(id=21, **_IN_CONVERSATION),
    commands.SetOnlineStatus(id=22, status="away"),
    commands.GetOnlineStatus(id=23, user_ids=["bob"]),
    commands.WatchPresence(id=24, user_ids=["bob"]),
    commands.BlockUser(id=25, user_id="mallory"),
    commands.UnblockUser(id=26, user_id="mallory"),
    commands.GetBlockedUsers(id=27),
    commands.Revoke(id=28, user_id="mallory"),
    commands.RefreshToken(id=29, token="eyJhbGciOi..."),  # noqa: S106 - of no use to anyone
    commands.Ping(id=30),
)

RESULTS: tuple[Struct, ...] = (
    results.Nothing(),
    results.ConversationResult(CONVERSATION, created=True),
    results.ConversationsResult([CONVERSATION], next_cursor=None, unread_total=0),
    results.MembersResult(MEMBERS),
    results.MessageResult(MESSAGE, duplicate=False),
    results.MessagesResult([MESSAGE], has_more=True, next_cursor=MESSAGE_ID),
    results.EditsResult([Edit("Is the lamp stil available?", None, LATER)]),
    results.ReadResult(3, MESSAGE_ID),
    results.UnreadResult(3, {CONVERSATION_ID: 3}, capped=False),
    results.TypingResult(["bob"]),
    results.StatusesResult(STATUSES),
    results.BlockedUsersResult(["mallory"]),
    results.TokenResult(LATER),
    results.PongResult(CHANGE_ID, TIME),
)

EVENTS: tuple[events.Event, ...] = (
    events.Welcome(
        session_id="b7c1",
        user_id="alice",
        device_id="phone",
        server_time=TIME,
        heartbeat_s=30,
        protocol="chat.v1.json",
        cursor=CHANGE_ID,
        limits={
            "frame_bytes": limits.FRAME_BYTES,
            "text_characters": limits.TEXT_CHARACTERS,
            "metadata_bytes": limits.METADATA_BYTES,
            "attachments": limits.ATTACHMENTS,
            "page": limits.PAGE_MAX,
            "messages_per_second": 10,
            "commands_per_second": 100,
        },
    ),
    events.Reply(id=13, result=results.MessageResult(MESSAGE, duplicate=False)),
    events.MessageReceived(message=MESSAGE),
    events.MessageEdited(change_id=CHANGE_ID, message=MESSAGE),
    events.MessageDeleted(change_id=CHANGE_ID, message=MESSAGE),
    events.MessageDelivered(change_id=CHANGE_ID, **_MARKER),
    events.MessageRead(change_id=CHANGE_ID, **_MARKER),
    events.ConversationCreated(change_id=CHANGE_ID, conversation=CONVERSATION),
    events.ConversationUpdated(change_id=CHANGE_ID, conversation=CONVERSATION),
    events.ConversationDeleted(change_id=CHANGE_ID, **_IN_CONVERSATION),
    events.MemberAdded(change_id=CHANGE_ID, **_OF_USER, member=MEMBERS[1]),
    events.MemberRemoved(change_id=CHANGE_ID, **_OF_USER),
    events.MemberRoleChanged(change_id=CHANGE_ID, **_OF_USER, role="moderator"),
    events.OrderLinked(change_id=CHANGE_ID, **_IN_CONVERSATION, order=ORDER_CARD),
    events.OrderUpdated(change_id=CHANGE_ID, **_IN_CONVERSATION, order=ORDER_CARD),
    events.ProductUpdated(change_id=CHANGE_ID, **_IN_CONVERSATION, product=PRODUCT_CARD),
    events.UserBlocked(change_id=CHANGE_ID, user_id="mallory", blocked=True),
    events.TypingStarted(**_OF_USER),
    events.TypingStopped(**_OF_USER),
    events.UserOnline(user_id="bob", status="online"),
    events.UserOffline(user_id="bob", last_seen=TIME),
    events.SyncCompleted(cursor=CHANGE_ID, truncated=False),
    events.TokenExpiring(expires_at=LATER),
    events.Reconnect(after_ms=1_840),
)

ERROR = errors.ErrorBody("invalid_field", 400, "Expected `str`, got `int`", field="text")

MESSAGES: dict[type[Struct], Struct] = {
    type(example): example for example in (*COMMANDS, *RESULTS, *EVENTS, ERROR)
}
"""By the type of what goes over a WebSocket."""

PUBLISHED: dict[str, Struct] = {
    "MessageSent": outbox.MessageData(MESSAGE),
    "MessageEdited": outbox.MessageData(MESSAGE),
    "MessageDeleted": outbox.MessageDeletedData(CONVERSATION_ID, MESSAGE_ID, "alice"),
    "MessageDelivered": outbox.ReceiptData(CONVERSATION_ID, "bob", MESSAGE_ID),
    "MessageRead": outbox.ReceiptData(CONVERSATION_ID, "bob", MESSAGE_ID),
    "ConversationCreated": outbox.ConversationData(CONVERSATION),
    "ConversationUpdated": outbox.ConversationData(CONVERSATION),
    "MemberAdded": outbox.MemberData(CONVERSATION_ID, "carol", "member"),
    "MemberRemoved": outbox.MemberData(CONVERSATION_ID, "carol", "member"),
    "UserOnline": outbox.PresenceData("bob", TIME),
    "UserOffline": outbox.PresenceData("bob", TIME),
}
"""Data of what is published, by the type of the event."""

CONSUMED: dict[str, Struct] = {
    "OrderCreated": incoming.OrderCreated(
        order_id="order-1001",
        buyer_id="alice",
        seller_id="bob",
        items=[ITEM],
        total=Money("49.00", "EUR"),
        status="placed",
        created_at=MOMENT,
    ),
    "OrderStatusChanged": incoming.OrderStatusChanged(
        order_id="order-1001", status="paid", changed_at=MOMENT
    ),
    "ProductUpdated": incoming.ProductUpdated(**PRODUCT),
    "ProductDeleted": incoming.ProductDeleted(product_id="lamp-7", version=4),
    "UserBlocked": incoming.UserBlocked(user_id="mallory", blocked_by="alice", reason="spam"),
    "UserUnblocked": incoming.UserUnblocked(user_id="mallory", blocked_by="alice"),
}
"""Data of what is consumed, by the type of the event."""


def shown(example: Struct) -> dict[str, Any]:
    """An example as JSON has it, without the members that say nothing."""
    members: dict[str, Any] = msgspec.to_builtins(example)
    for field in msgspec.structs.fields(type(example)):
        made = field.default_factory is not msgspec.NODEFAULT
        default = field.default_factory() if made else field.default
        if members.get(field.encode_name, default) == default:
            members.pop(field.encode_name, None)
    return members
