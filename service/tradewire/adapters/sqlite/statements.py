"""Every statement that is run, by name; `schema.py` has the tables.

Parameters stand in the order of their columns here unless they are named. What is put together at
run time are names and numbers of this program, never what a caller said.
"""

# ruff: noqa: S608

from functools import cache

from tradewire.adapters.sqlite.tracked import SLOT_MASK
from tradewire.domain.ids import MAX_ID
from tradewire.domain.limits import (
    MEMBERS_SHOWN,
    RECEIPT_MEMBERS,
    UNREAD_CONVERSATIONS,
    UNREAD_PER_CONVERSATION,
)


def insert_rows(insert: str, columns: int, rows: int) -> str:
    """An INSERT of several rows: one step of SQLite, and one release of the interpreter lock."""
    row = f"({','.join('?' * columns)})"
    return f"{insert} VALUES {','.join([row] * rows)}"


# --- conversations and members ------------------------------------------------------------------

# What the writer remembers; the members' rows are alike in what is read of them here.
TRACK = """
SELECT c.number, coalesce((SELECT max(message_id) FROM messages WHERE number = c.number), 0),
    c.member_count, coalesce(m.activity, c.created), coalesce(m.moved, 0),
    EXISTS (SELECT 1 FROM members WHERE number = c.number AND hidden = 1)
FROM conversations c LEFT JOIN members m ON m.number = c.number
WHERE c.tenant = ? AND c.conversation_id = ? LIMIT 1
"""

ADD_CONVERSATION = """
INSERT INTO conversations (tenant, conversation_id, status, member_count, created, body)
VALUES (?, ?, ?, ?, ?, ?)
"""
CONVERSATION_BODY = "SELECT body, member_count, created FROM conversations WHERE number = ?"
REVISE_CONVERSATION = "UPDATE conversations SET status = ?, body = ? WHERE number = ?"
COUNT_MEMBERS = "UPDATE conversations SET member_count = ? WHERE number = ?"
REMOVE_CONVERSATION = "DELETE FROM conversations WHERE number = ?"

ADD_MEMBER = """
INSERT INTO members (number, user_id, tenant, role, joined_at, last_read_id, last_delivered_id,
    listing_id, created, activity, moved, unread)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
REMOVE_MEMBER = "DELETE FROM members WHERE number = ? AND user_id = ? RETURNING role"
SET_ROLE = "UPDATE members SET role = ? WHERE number = ? AND user_id = ?"
SHOW_AGAIN = "UPDATE members SET hidden = 0 WHERE number = ? AND user_id = ? AND hidden = 1"
SET_OWN = """
UPDATE members SET archived = coalesce(:archived, archived), pinned = coalesce(:pinned, pinned),
    hidden = coalesce(:hidden, hidden),
    muted_until = iif(:mutes, :muted_until, muted_until)
WHERE number = :number AND user_id = :user_id
RETURNING archived, pinned, muted_until
"""
ADD_PURGE = "INSERT INTO purges (number) VALUES (?)"
REMOVE_MEMBERS = "DELETE FROM members WHERE number = ? RETURNING user_id"

# A new message in a new slot of time, or the first after it: the members' place in the inbox.
TOUCH = """
UPDATE members SET activity = ?, moved = ?, unread = user_id IS NOT ? WHERE number = ?
"""
MARK_UNREAD = "UPDATE members SET unread = 1 WHERE number = ? AND user_id <> ? AND unread = 0"
MARK_CROWDED = "UPDATE members SET moved = ?, unread = 1 WHERE number = ?"
UNHIDE = "UPDATE members SET hidden = 0 WHERE number = ? AND hidden = 1"
MOVE = "UPDATE members SET moved = ? WHERE number = ?"

MARKERS = "SELECT last_read_id, last_delivered_id FROM members WHERE number = ? AND user_id = ?"
SENT = "UPDATE members SET last_read_id = max(last_read_id, ?) WHERE number = ? AND user_id = ?"
MOVE_READ = """
UPDATE members SET last_read_id = ?, last_delivered_id = max(last_delivered_id, ?),
    read_change = ?, private = ?
WHERE number = ? AND user_id = ?
"""
MOVE_DELIVERED = """
UPDATE members SET last_delivered_id = ?, delivered_change = ?, private = ?
WHERE number = ? AND user_id = ?
"""
UNMARK = "UPDATE members SET unread = 0 WHERE number = ? AND user_id = ? AND unread = 1"
COUNT_MARKED = """
SELECT count(*) FROM messages
WHERE number = ? AND message_id > ? AND message_id <= ? AND sender_id <> ?
    AND (gone_at IS NULL OR gone_at > ?)
"""

# --- messages -----------------------------------------------------------------------------------

ADD_MESSAGES = "INSERT INTO messages (number, message_id, sender_id, gone_at, body)"
ADD_KEYS = """
INSERT OR IGNORE INTO message_keys (day, sender_id, key, number, message_id, content_hash)
"""
# A key lives 48 h: the days of a message and of the two before it.
FIND_KEY = """
SELECT message_id, content_hash FROM message_keys
WHERE day IN (?, ?, ?) AND sender_id = ? AND key = ? AND number = ?
ORDER BY message_id DESC LIMIT 1
"""
FILED_KEYS = "UPDATE filed_keys SET up_to = ?"
UNFILED_KEYS = """
SELECT keys FROM outbox
WHERE last_id > (SELECT up_to FROM filed_keys) AND keys IS NOT NULL ORDER BY last_id
"""
MESSAGE = "SELECT body FROM messages WHERE number = ? AND message_id = ?"
REWRITE_MESSAGE = "UPDATE messages SET gone_at = ?, body = ? WHERE number = ? AND message_id = ?"
ADD_EDIT = "INSERT INTO message_edits (number, message_id, change_id, body) VALUES (?, ?, ?, ?)"
REMOVE_EDITS = "DELETE FROM message_edits WHERE number = ? AND message_id = ?"

# --- changes and events -------------------------------------------------------------------------

ADD_CHANGE = "INSERT INTO changes (number, change_id, kind, subject, detail) VALUES (?, ?, ?, ?, ?)"
ADD_USER_CHANGE = """
INSERT INTO user_changes (tenant, user_id, change_id, conversation_id, kind, subject, detail)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
ADD_EVENTS = "INSERT INTO outbox (last_id, events, keys) VALUES (?, ?, ?)"
EVENTS = "SELECT events FROM outbox WHERE last_id > ? ORDER BY last_id"
RELAY_CURSOR = "SELECT cursor FROM relay"
MOVE_RELAY = "UPDATE relay SET cursor = max(cursor, ?)"
NEWEST_ID = "SELECT coalesce(max(last_id), 0) FROM outbox"
WAS_HANDLED = "SELECT 1 FROM handled WHERE tenant = ? AND ce_id = ?"
ADD_HANDLED = "INSERT INTO handled (tenant, ce_id, handled_at) VALUES (?, ?, ?)"

# --- products, orders, people -------------------------------------------------------------------

PRODUCT = "SELECT version, card FROM products WHERE tenant = ? AND product_id = ?"
PUT_PRODUCT = """
INSERT INTO products (tenant, product_id, version, card) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET version = excluded.version, card = excluded.card
"""
SHOW_PRODUCT = """
INSERT OR IGNORE INTO product_conversations (tenant, product_id, conversation_id) VALUES (?, ?, ?)
"""
UNSHOW_PRODUCTS = "DELETE FROM product_conversations WHERE tenant = ? AND conversation_id = ?"
SHOWING_PRODUCT = """
SELECT conversation_id FROM product_conversations
WHERE tenant = ? AND product_id = ? AND conversation_id > ? ORDER BY conversation_id LIMIT ?
"""
PRODUCTS = """
SELECT product_id, card FROM products
WHERE tenant = ? AND product_id IN (SELECT value FROM json_each(?)) AND card IS NOT NULL
"""
ORDER = "SELECT conversation_id, card FROM orders WHERE tenant = ? AND order_id = ?"
ADD_ORDER = "INSERT INTO orders (tenant, order_id, conversation_id, card) VALUES (?, ?, ?, ?)"
PUT_ORDER = "UPDATE orders SET card = ? WHERE tenant = ? AND order_id = ?"
ORDERS = """
SELECT order_id, card FROM orders
WHERE tenant = ? AND order_id IN (SELECT value FROM json_each(?))
"""

ADD_BLOCK = "INSERT OR IGNORE INTO blocks (tenant, user_id, blocked_id, since) VALUES (?, ?, ?, ?)"
REMOVE_BLOCK = "DELETE FROM blocks WHERE tenant = ? AND user_id = ? AND blocked_id = ?"
BLOCKED_BY = """
SELECT blocked_id, since FROM blocks WHERE tenant = ? AND user_id = ? ORDER BY blocked_id
"""
BLOCK_RELATIONS = """
SELECT blocked_id FROM blocks WHERE tenant = :tenant AND user_id = :user_id
UNION SELECT user_id FROM blocks WHERE tenant = :tenant AND blocked_id = :user_id
"""
SUSPEND = "INSERT OR REPLACE INTO suspensions (tenant, user_id, until, reason) VALUES (?, ?, ?, ?)"
LIFT_SUSPENSION = "DELETE FROM suspensions WHERE tenant = ? AND user_id = ?"
SUSPENSION = "SELECT until, reason FROM suspensions WHERE tenant = ? AND user_id = ?"
REVOKE_USER = """
INSERT INTO user_revocations (tenant, user_id, revoked_at) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at)
"""
REVOKE_TOKEN = """
INSERT INTO token_revocations (tenant, token_id, revoked_at) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at)
"""  # noqa: S105 - a statement
USER_REVOCATION = "SELECT revoked_at FROM user_revocations WHERE tenant = ? AND user_id = ?"
TOKEN_REVOCATION = """
SELECT 1 FROM token_revocations WHERE tenant = ? AND token_id = ?
"""  # noqa: S105 - a statement
SEE = "INSERT OR REPLACE INTO last_seen (tenant, user_id, at) VALUES (?, ?, ?)"
LAST_SEEN = """
SELECT user_id, at FROM last_seen
WHERE tenant = ? AND user_id IN (SELECT value FROM json_each(?))
"""

# --- reads of conversations ---------------------------------------------------------------------

_MEMBER = """
json_object('user_id', user_id, 'role', role, 'joined_at', joined_at,
    'last_read_id', CAST(last_read_id AS TEXT),
    'last_delivered_id', CAST(max(last_read_id, last_delivered_id) AS TEXT))
"""

ACCESS = """
SELECT c.body, c.member_count,
    (SELECT json_group_object(user_id, role) FROM members WHERE number = c.number)
FROM conversations c WHERE tenant = ? AND conversation_id = ?
"""
NUMBER = "SELECT number FROM conversations WHERE tenant = ? AND conversation_id = ?"

# Messages that are unread for the member `m`, and how many of them are told.
_UNREAD = """
    SELECT 1 FROM messages WHERE number = m.number AND message_id > m.last_read_id
        AND sender_id <> m.user_id AND (gone_at IS NULL OR gone_at > :now)
"""
_UNREAD_COUNT = f"(SELECT count(*) FROM ({_UNREAD} LIMIT {UNREAD_PER_CONVERSATION}))"

# Whole conversations as one user sees them: the settings are NULL for one who is no member.
VIEWS = f"""
SELECT c.number, c.body, c.member_count, m.archived, m.pinned, m.muted_until, {_UNREAD_COUNT},
    l.message_id, l.body,
    (SELECT json_group_array(json(member)) FROM (
        SELECT {_MEMBER} AS member FROM members WHERE number = c.number
        ORDER BY joined_at, user_id LIMIT {MEMBERS_SHOWN}))
FROM json_each(:numbers) JOIN conversations c ON c.number = value
LEFT JOIN members m ON m.number = c.number AND m.user_id = :user_id
LEFT JOIN messages l ON l.number = c.number
    AND l.message_id = (SELECT max(message_id) FROM messages WHERE number = c.number)
"""

MEMBERS = f"""
SELECT json_group_array(json(member)) FROM (
    SELECT {_MEMBER} AS member FROM members
    WHERE number = (
        SELECT number FROM conversations WHERE tenant = ? AND conversation_id = ?)
        AND user_id > ?
    ORDER BY user_id LIMIT ?)
"""
MEMBERS_NAMED = f"""
SELECT json_group_array(json(member)) FROM (
    SELECT {_MEMBER} AS member FROM members
    WHERE number = (
        SELECT number FROM conversations WHERE tenant = ? AND conversation_id = ?)
        AND user_id IN (SELECT value FROM json_each(?)))
"""
# Of all members, or none when they are more than the limit.
RECEIPTS = """
SELECT json_group_array(
    json_array(user_id, last_read_id, max(last_read_id, last_delivered_id))) FROM members
WHERE number = (
    SELECT number FROM conversations
    WHERE tenant = ? AND conversation_id = ? AND member_count <= ?)
"""


@cache
def inbox_walk(sort: str, compare: str, *, listing: bool, unread: bool) -> str:
    """Conversations of a user in the order of an index, beyond `:start`, with what `inbox.py` says
    of open ones. A filter that is NULL lets all through.
    """
    column = "activity" if sort == "last_activity" else "created"
    index = "members_by_activity" if column == "activity" else "members_by_creation"
    conditions = ""
    if listing:
        index = index.replace("by", "by_listing")
        conditions = "AND listing_id = :listing_id"
    elif unread and column == "activity":
        index, conditions = "members_unread", "AND unread = 1"
    return f"""
    SELECT {column}, number,
        (:muted IS NULL OR (coalesce(muted_until, 0) > :now) = :muted)
        AND (:status IS NULL OR :status = (
            SELECT status FROM conversations WHERE number = m.number))
        AND (:unread IS NULL OR :unread = (unread = 1 AND EXISTS ({_UNREAD}))),
        iif('{column}' = 'activity' AND activity & {SLOT_MASK} = {SLOT_MASK},
            (SELECT max(message_id) FROM messages WHERE number = m.number), NULL)
    FROM members m INDEXED BY {index}
    WHERE tenant = :tenant AND user_id = :user_id {conditions} AND archived = :archived
        AND hidden = 0 AND {column} {compare} :start
    ORDER BY {column} {"DESC" if compare == "<" else ""}
    """


# Conversations that may hold unread messages, the newest first.
UNREAD = f"""
SELECT c.conversation_id, m.activity, {_UNREAD_COUNT}
FROM members m INDEXED BY members_unread CROSS JOIN conversations c ON c.number = m.number
WHERE m.tenant = :tenant AND m.user_id = :user_id AND m.archived = :archived
    AND m.hidden = 0 AND m.unread = 1
ORDER BY m.activity DESC
"""
UNREAD_TOTAL = f"""
SELECT coalesce(sum(count), 0) FROM (
    SELECT {_UNREAD_COUNT} AS count FROM members m INDEXED BY members_unread
    WHERE tenant = :tenant AND user_id = :user_id AND archived = 0
        AND hidden = 0 AND unread = 1
        AND coalesce(muted_until, 0) <= :now AND EXISTS ({_UNREAD})
    ORDER BY activity DESC LIMIT {UNREAD_CONVERSATIONS})
"""

# --- resume -------------------------------------------------------------------------------------

MISSED_OWN = """
SELECT change_id, conversation_id, kind, subject, detail FROM user_changes
WHERE tenant = :tenant AND user_id = :user_id AND change_id > :after
ORDER BY change_id LIMIT :limit
"""
# Conversations with something above `:after`, and the least id of it. Of receipts a user hears
# those of all members, in a conversation with too many members only the own.
MISSED_HEADS = f"""
SELECT * FROM (
    SELECT min(
        coalesce((SELECT min(message_id) FROM messages
            WHERE number = m.number AND message_id > :after), {MAX_ID}),
        coalesce((SELECT min(change_id) FROM changes
            WHERE number = m.number AND change_id > :after), {MAX_ID}),
        iif(m.read_change > :after, m.read_change, {MAX_ID}),
        iif(m.delivered_change > :after, m.delivered_change, {MAX_ID}),
        iif(c.member_count > {RECEIPT_MEMBERS}, {MAX_ID}, coalesce(
            (SELECT min(iif(read_change > :after, read_change, delivered_change)) FROM members
                WHERE number = m.number AND NOT private
                AND (read_change > :after OR delivered_change > :after)), {MAX_ID}))
    ) AS head, m.number
    FROM members m INDEXED BY members_by_change JOIN conversations c ON c.number = m.number
    WHERE m.tenant = :tenant AND m.user_id = :user_id AND m.moved >= :slot)
WHERE head < {MAX_ID} ORDER BY head
"""
_HEARD = f"""
FROM json_each(:numbers) JOIN conversations c ON c.number = value
JOIN members r ON r.number = c.number AND (
    r.user_id = :user_id OR (c.member_count <= {RECEIPT_MEMBERS} AND NOT r.private))
"""
# What was missed in some conversations up to `:end`; no more than `:limit` messages of each.
MISSED = f"""
SELECT m.message_id, c.conversation_id, '', '', ''
FROM json_each(:numbers) JOIN conversations c ON c.number = value
JOIN messages m ON m.number = c.number AND m.message_id > :after AND m.message_id <= coalesce(
    (SELECT message_id FROM messages
        WHERE number = c.number AND message_id > :after AND message_id <= :end
        ORDER BY message_id LIMIT 1 OFFSET :limit), :end)
UNION ALL
SELECT h.change_id, c.conversation_id, h.kind, h.subject, h.detail
FROM json_each(:numbers) JOIN conversations c ON c.number = value
JOIN changes h ON h.number = c.number AND h.change_id > :after AND h.change_id <= :end
UNION ALL
SELECT r.read_change, c.conversation_id, 'MessageRead', r.user_id, CAST(r.last_read_id AS TEXT)
{_HEARD} AND r.read_change > :after AND r.read_change <= :end
UNION ALL
SELECT r.delivered_change, c.conversation_id, 'MessageDelivered', r.user_id,
    CAST(max(r.last_delivered_id, r.last_read_id) AS TEXT)
{_HEARD} AND r.delivered_change > :after AND r.delivered_change <= :end
ORDER BY 1 LIMIT :limit
"""

# --- reads of messages --------------------------------------------------------------------------

MESSAGES = """
SELECT c.conversation_id, m.message_id, m.body
FROM json_each(:ids) i
JOIN conversations c
    ON c.tenant = :tenant AND c.conversation_id = json_extract(i.value, '$[0]')
JOIN messages m ON m.number = c.number AND m.message_id = json_extract(i.value, '$[1]')
ORDER BY i.key
"""
MESSAGES_BEFORE = """
SELECT message_id, body FROM messages
WHERE number = (SELECT number FROM conversations WHERE tenant = ? AND conversation_id = ?)
    AND message_id < ?
ORDER BY message_id DESC LIMIT ?
"""
MESSAGES_AFTER = """
SELECT message_id, body FROM messages
WHERE number = (SELECT number FROM conversations WHERE tenant = ? AND conversation_id = ?)
    AND message_id > ?
ORDER BY message_id LIMIT ?
"""
EDITS = """
SELECT e.body FROM conversations c
JOIN messages m ON m.number = c.number AND m.message_id = :message_id
    AND (m.gone_at IS NULL OR m.gone_at > :now)
JOIN message_edits e ON e.number = c.number AND e.message_id = m.message_id
WHERE c.tenant = :tenant AND c.conversation_id = :conversation_id
ORDER BY e.change_id
"""
EXPIRED = """
SELECT c.tenant, c.conversation_id, m.message_id
FROM messages m INDEXED BY messages_expiring CROSS JOIN conversations c ON c.number = m.number
WHERE m.gone_at > 0 AND m.gone_at <= ? ORDER BY m.gone_at LIMIT ?
"""

# --- maintenance --------------------------------------------------------------------------------

CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"

# Each removes a bounded number of rows: (limit of age, or conversation; rows).
SWEEP_KEYS = """
DELETE FROM message_keys WHERE (day, sender_id, key, number) IN (
    SELECT day, sender_id, key, number FROM message_keys WHERE day < ? LIMIT ?)
"""
SWEEP_CHANGES = """
DELETE FROM changes WHERE (number, change_id) IN (
    SELECT number, change_id FROM changes WHERE change_id < ? LIMIT ?)
"""
SWEEP_USER_CHANGES = """
DELETE FROM user_changes WHERE (tenant, user_id, change_id) IN (
    SELECT tenant, user_id, change_id FROM user_changes WHERE change_id < ? LIMIT ?)
"""
SWEEP_HANDLED = """
DELETE FROM handled WHERE (tenant, ce_id) IN (
    SELECT tenant, ce_id FROM handled WHERE handled_at < ? LIMIT ?)
"""
SWEEP_TOKEN_REVOCATIONS = """
DELETE FROM token_revocations WHERE (tenant, token_id) IN (
    SELECT tenant, token_id FROM token_revocations WHERE revoked_at < ? LIMIT ?)
"""  # noqa: S105 - a statement
# The last row stays: it tells the newest id.
SWEEP_OUTBOX = """
DELETE FROM outbox WHERE last_id IN (
    SELECT last_id FROM outbox
    WHERE last_id < ? AND last_id < (SELECT max(last_id) FROM outbox) LIMIT ?)
"""
PURGES = "SELECT number FROM purges"
PURGE_MESSAGES = """
DELETE FROM messages WHERE (number, message_id) IN (
    SELECT number, message_id FROM messages WHERE number = ? LIMIT ?)
"""
PURGE_EDITS = """
DELETE FROM message_edits WHERE (number, message_id, change_id) IN (
    SELECT number, message_id, change_id FROM message_edits WHERE number = ? LIMIT ?)
"""
PURGE_CHANGES = """
DELETE FROM changes WHERE (number, change_id) IN (
    SELECT number, change_id FROM changes WHERE number = ? LIMIT ?)
"""
END_PURGE = "DELETE FROM purges WHERE number = ?"
