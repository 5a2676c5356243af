"""The limits a client meets, named once; `Welcome` tells them (protocol §3, §4)."""

FRAME_BYTES = 65_536
FRAME_COMMANDS = 1_000
TEXT_CHARACTERS = 10_000
METADATA_BYTES = 8_192
ATTACHMENTS = 10
KEY_CHARACTERS = 128
TITLE_CHARACTERS = 200
NESTING = 16

PAGE = 50
PAGE_MAX = 200
INBOX_PAGE = 20
INBOX_PAGE_MAX = 100
MEMBERS_PAGE = 50
MEMBERS_PAGE_MAX = 200
EVENTS_PAGE = 100
EVENTS_PAGE_MAX = 1_000

MEMBERS_PER_REQUEST = 100
"""User ids one AddMembers or CreateConversation may name."""

MEMBERS_PER_GROUP = 1_000
"""Members of a group; a channel may have any number."""

MEMBERS_SHOWN = 50
"""Members a conversation carries itself; the rest come from GetMembers."""

RECEIPT_MEMBERS = 200
"""Past this many members, receipts, typing and inbox order by activity stay with their owner."""

PRESENCE_USERS = 200
"""User ids one presence command may name, and users one connection may watch."""

UNREAD_PER_CONVERSATION = 100
UNREAD_CONVERSATIONS = 1_000
"""Where counting stops: totals beyond it are lower bounds, marked `capped`."""

RESUME_EVENTS = 5_000
RESUME_OVERLAP_MS = 10_000
TYPING_MS = 5_000
KEY_HOURS = 48
CHANGES_DAYS = 30
REVOCATION_DAYS = 400
