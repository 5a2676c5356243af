"""The tables, as numbered migrations; a database's `user_version` says how many it has had.

A conversation has a number of its own within the file: rows that belong to it are found by it, in
half the bytes of its id, and a conversation that is deleted and made again is another one. Rows
are clustered as they are read, so a page of history lies in a few neighbouring disk pages.
"""

import sqlite3

from tradewire.ports import StoreError

_FIRST = """
-- `body` is the Conversation as JSON, without what other columns and tables hold; `created` the id
-- of its making.
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    status TEXT NOT NULL,
    member_count INTEGER NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (tenant, conversation_id)
) STRICT;

-- `activity` is the id of the newest message, or of the making of the conversation; for one with
-- several messages within a slot, the slot's last id (see inbox.py). `moved` is the slot of the
-- newest message or change. `private` markers are told to their owner alone. `unread` says that
-- there may be unread messages: reads count them.
CREATE TABLE members (
    number INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    role TEXT NOT NULL,
    joined_at TEXT NOT NULL,
    last_read_id INTEGER NOT NULL,
    last_delivered_id INTEGER NOT NULL,
    read_change INTEGER NOT NULL DEFAULT 0,
    delivered_change INTEGER NOT NULL DEFAULT 0,
    private INTEGER NOT NULL DEFAULT 0,
    archived INTEGER NOT NULL DEFAULT 0,
    pinned INTEGER NOT NULL DEFAULT 0,
    hidden INTEGER NOT NULL DEFAULT 0,
    muted_until INTEGER,
    listing_id TEXT,
    created INTEGER NOT NULL,
    activity INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    unread INTEGER NOT NULL,
    PRIMARY KEY (number, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_activity
    ON members (tenant, user_id, archived, activity) WHERE hidden = 0;
CREATE INDEX members_by_creation
    ON members (tenant, user_id, archived, created) WHERE hidden = 0;
CREATE INDEX members_by_listing_activity
    ON members (tenant, user_id, listing_id, archived, activity)
    WHERE hidden = 0 AND listing_id IS NOT NULL;
CREATE INDEX members_by_listing_creation
    ON members (tenant, user_id, listing_id, archived, created)
    WHERE hidden = 0 AND listing_id IS NOT NULL;
CREATE INDEX members_unread
    ON members (tenant, user_id, archived, activity) WHERE hidden = 0 AND unread = 1;
CREATE INDEX members_by_change ON members (tenant, user_id, moved);
CREATE INDEX members_by_joining ON members (number, joined_at, user_id);
CREATE INDEX members_hidden ON members (number) WHERE hidden = 1;

-- `gone_at` is when a message reads as deleted (ms since 1970): 0 for one that is, NULL for never.
CREATE TABLE messages (
    number INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    sender_id TEXT NOT NULL,
    gone_at INTEGER,
    body BLOB NOT NULL,
    PRIMARY KEY (number, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_expiring ON messages (gone_at) WHERE gone_at > 0;

-- By day of the message, so that old keys go in whole ranges.
CREATE TABLE message_keys (
    day INTEGER NOT NULL,
    sender_id TEXT NOT NULL,
    key TEXT NOT NULL,
    number INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    content_hash BLOB NOT NULL,
    PRIMARY KEY (day, sender_id, key, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE message_edits (
    number INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    change_id INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (number, message_id, change_id)
) STRICT, WITHOUT ROWID;

-- What the members of a conversation must hear on resume besides messages and receipts.
CREATE TABLE changes (
    number INTEGER NOT NULL,
    change_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (number, change_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX changes_by_age ON changes (change_id);

-- What one user must hear on resume, a member or no longer one.
CREATE TABLE user_changes (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    change_id INTEGER NOT NULL,
    conversation_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (tenant, user_id, change_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_changes_by_age ON user_changes (change_id);

-- Domain events, one row a commit group; `last_id` is the greatest id that the group wrote. `keys`
-- are those of its messages; rows above `filed_keys` hold keys that are not in message_keys yet.
CREATE TABLE outbox (
    last_id INTEGER PRIMARY KEY,
    events BLOB NOT NULL,
    keys BLOB
) STRICT;
CREATE TABLE filed_keys (up_to INTEGER NOT NULL) STRICT;
INSERT INTO filed_keys (up_to) VALUES (0);

-- One row: up to which id the outbox was published.
CREATE TABLE relay (cursor INTEGER NOT NULL) STRICT;
INSERT INTO relay (cursor) VALUES (0);

CREATE TABLE handled (
    tenant TEXT NOT NULL,
    ce_id TEXT NOT NULL,
    handled_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, ce_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX handled_by_age ON handled (handled_at);

-- A product that was deleted before it was known has no card.
CREATE TABLE products (
    tenant TEXT NOT NULL,
    product_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    card TEXT,
    PRIMARY KEY (tenant, product_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE product_conversations (
    tenant TEXT NOT NULL,
    product_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    PRIMARY KEY (tenant, product_id, conversation_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX product_conversations_by_conversation
    ON product_conversations (tenant, conversation_id);
CREATE TABLE orders (
    tenant TEXT NOT NULL,
    order_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    card TEXT NOT NULL,
    PRIMARY KEY (tenant, order_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    blocked_id TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (tenant, user_id, blocked_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_by_blocked ON blocks (tenant, blocked_id, user_id);
CREATE TABLE suspensions (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    until INTEGER,
    reason TEXT,
    PRIMARY KEY (tenant, user_id)
) STRICT, WITHOUT ROWID;
-- Times in ms since 1970: older tokens of the user are refused, or that one token.
CREATE TABLE user_revocations (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE token_revocations (
    tenant TEXT NOT NULL,
    token_id TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, token_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_revocations_by_age ON token_revocations (revoked_at);
CREATE TABLE last_seen (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, user_id)
) STRICT, WITHOUT ROWID;

-- Numbers of deleted conversations whose rows are still to be removed.
CREATE TABLE purges (number INTEGER PRIMARY KEY) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Scripts in order; one that was released is never changed."""


def migrate(database: sqlite3.Connection) -> None:
    """Bring a database to the newest schema, each migration in a transaction of its own.

    Raises:
        StoreError: its schema is newer than this program.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version}, this program knows schema {len(MIGRATIONS)}: "
            "run the newer program, or restore an older copy."
        )
    for number in range(version, len(MIGRATIONS)):
        database.executescript(
            f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
        )
