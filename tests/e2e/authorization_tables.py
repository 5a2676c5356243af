"""Who may what, as protocol §4 has it: a table for each kind of conversation, and one of the rest.

Rows are commands, with what they are about where that makes a difference: `own` and `other` say
whose message, or which member, `me` and `all` the scope. Columns are callers:

    owner, admin, mod, member   by their role in the conversation; a member of a channel is a reader
    other                       the second member of a direct conversation
    blocked, blocker            members with a block between them, in a direct conversation its two
    banned                      a member who is suspended on the platform
    stranger                    no member; was one, where the row is about a message of their own
    service, ADMIN, MOD         no members, with a token of the role service, admin, moderator
    tenant                      a user of another tenant, with the name of the member
    anon                        no token
"""

from dataclasses import dataclass

OUTCOMES = {
    "+": "allowed",
    "B": "blocked",
    "C": "conflict",
    "F": "forbidden",
    "N": "not_found",
    "R": "read_only",
    "U": "unauthenticated",
}

GROUP = """
                        owner admin mod member blocked banned stranger service tenant anon ADMIN MOD
GetConversation         +     +     +   +      +       B      N        N       N      U    +     +
UpdateConversation      +     +     F   F      F       B      N        N       N      U    +     F
ArchiveConversation     +     +     +   +      +       B      N        N       N      U    N     N
MuteConversation        +     +     +   +      +       B      N        N       N      U    N     N
PinConversation         +     +     +   +      +       B      N        N       N      U    N     N
DeleteConversation me   +     +     +   +      +       B      N        N       N      U    N     N
DeleteConversation all  +     F     F   F      F       B      N        N       N      U    +     F
AddMembers              +     +     F   F      F       B      N        N       N      U    +     F
RemoveMember own        C     +     +   +      +       B      N        N       N      U    N     N
RemoveMember other      +     +     +   F      F       B      N        N       N      U    +     F
RemoveMember mod        +     +     F   F      F       B      N        N       N      U    +     F
RemoveMember admin      +     F     F   F      F       B      N        N       N      U    +     F
RemoveMember owner      +     F     F   F      F       B      N        N       N      U    +     F
SetMemberRole own       C     F     F   F      F       B      N        N       N      U    N     F
SetMemberRole other     +     F     F   F      F       B      N        N       N      U    +     F
GetMembers              +     +     +   +      +       B      N        N       N      U    +     +
SendMessage             +     +     +   +      +       B      N        N       N      U    +     F
EditMessage own         +     +     +   +      +       B      N        N       N      U    +     F
EditMessage other       F     F     F   F      F       B      N        N       N      U    F     F
DeleteMessage own       +     +     +   +      +       B      N        N       N      U    +     +
DeleteMessage other     +     +     +   F      F       B      N        N       N      U    +     +
GetMessage              +     +     +   +      +       B      N        N       N      U    +     +
GetMessageEdits         +     +     +   +      +       B      N        N       N      U    +     +
GetMessages             +     +     +   +      +       B      N        N       N      U    +     +
MarkMessagesAsRead      +     +     +   +      +       B      N        N       N      U    N     N
MarkMessagesAsDelivered +     +     +   +      +       B      N        N       N      U    N     N
SetTypingIndicator      +     +     +   +      +       B      N        N       N      U    +     F
GetTypingIndicators     +     +     +   +      +       B      N        N       N      U    +     +
"""

CHANNEL = """
                        owner admin mod member blocked banned stranger service tenant anon ADMIN MOD
GetConversation         +     +     +   +      +       B      N        N       N      U    +     +
UpdateConversation      +     +     F   F      F       B      N        N       N      U    +     F
ArchiveConversation     +     +     +   +      +       B      N        N       N      U    N     N
MuteConversation        +     +     +   +      +       B      N        N       N      U    N     N
PinConversation         +     +     +   +      +       B      N        N       N      U    N     N
DeleteConversation me   +     +     +   +      +       B      N        N       N      U    N     N
DeleteConversation all  +     F     F   F      F       B      N        N       N      U    +     F
AddMembers              +     +     F   F      F       B      N        N       N      U    +     F
RemoveMember own        C     +     +   +      +       B      N        N       N      U    N     N
RemoveMember other      +     +     +   F      F       B      N        N       N      U    +     F
RemoveMember mod        +     +     F   F      F       B      N        N       N      U    +     F
RemoveMember admin      +     F     F   F      F       B      N        N       N      U    +     F
RemoveMember owner      +     F     F   F      F       B      N        N       N      U    +     F
SetMemberRole own       C     F     F   F      F       B      N        N       N      U    N     F
SetMemberRole other     +     F     F   F      F       B      N        N       N      U    +     F
GetMembers              +     +     +   +      +       B      N        N       N      U    +     +
SendMessage             +     +     +   R      R       B      N        N       N      U    +     R
EditMessage own         +     +     +   +      +       B      N        N       N      U    +     F
EditMessage other       F     F     F   F      F       B      N        N       N      U    F     F
DeleteMessage own       +     +     +   +      +       B      N        N       N      U    +     +
DeleteMessage other     +     +     +   F      F       B      N        N       N      U    +     +
GetMessage              +     +     +   +      +       B      N        N       N      U    +     +
GetMessageEdits         +     +     +   +      +       B      N        N       N      U    +     +
GetMessages             +     +     +   +      +       B      N        N       N      U    +     +
MarkMessagesAsRead      +     +     +   +      +       B      N        N       N      U    N     N
MarkMessagesAsDelivered +     +     +   +      +       B      N        N       N      U    N     N
SetTypingIndicator      +     +     +   R      R       B      N        N       N      U    +     R
GetTypingIndicators     +     +     +   +      +       B      N        N       N      U    +     +
"""

DIRECT = """
                        member other blocked blocker banned stranger service tenant anon ADMIN MOD
GetConversation         +      +     +       +       B      N        N       N      U    +     +
UpdateConversation      +      +     B       B       B      N        N       N      U    +     F
ArchiveConversation     +      +     +       +       B      N        N       N      U    N     N
MuteConversation        +      +     +       +       B      N        N       N      U    N     N
PinConversation         +      +     +       +       B      N        N       N      U    N     N
DeleteConversation me   +      +     +       +       B      N        N       N      U    N     N
DeleteConversation all  F      F     F       F       B      N        N       N      U    +     F
AddMembers              F      F     F       F       B      N        N       N      U    F     F
RemoveMember own        F      F     F       F       B      N        N       N      U    F     F
RemoveMember other      F      F     F       F       B      N        N       N      U    F     F
SetMemberRole own       F      F     F       F       B      N        N       N      U    F     F
SetMemberRole other     F      F     F       F       B      N        N       N      U    F     F
GetMembers              +      +     +       +       B      N        N       N      U    +     +
SendMessage             +      +     B       B       B      N        N       N      U    +     F
EditMessage own         +      +     B       B       B      N        N       N      U    +     F
EditMessage other       F      F     F       F       B      N        N       N      U    F     F
DeleteMessage own       +      +     +       +       B      N        N       N      U    +     +
DeleteMessage other     F      F     F       F       B      N        N       N      U    +     +
GetMessage              +      +     +       +       B      N        N       N      U    +     +
GetMessageEdits         +      +     +       +       B      N        N       N      U    +     +
GetMessages             +      +     +       +       B      N        N       N      U    +     +
MarkMessagesAsRead      +      +     +       +       B      N        N       N      U    N     N
MarkMessagesAsDelivered +      +     +       +       B      N        N       N      U    N     N
SetTypingIndicator      +      +     +       +       B      N        N       N      U    +     F
GetTypingIndicators     +      +     +       +       B      N        N       N      U    +     +
"""

# About the caller alone. `other` has blocked `blocked`, so these two begin nothing new.
PERSONAL = """
                        owner admin mod member blocked banned stranger service tenant anon ADMIN MOD
CreateConversation      +     +     +   +      B       B      +        +       +      U    +     +
CreateConversation grp  +     +     +   +      B       B      +        +       +      U    +     +
CreateConversation chn  +     +     +   +      B       B      +        +       +      U    +     +
GetUserConversations    +     +     +   +      +       B      +        +       +      U    +     +
GetUnreadCount          +     +     +   +      +       B      +        +       +      U    +     +
SetOnlineStatus         +     +     +   +      +       B      +        +       +      U    +     +
GetOnlineStatus         +     +     +   +      +       B      +        +       +      U    +     +
WatchPresence           +     +     +   +      +       B      +        +       +      U    +     +
BlockUser               +     +     +   +      +       B      +        +       +      U    +     +
UnblockUser             +     +     +   +      +       B      +        +       +      U    +     +
GetBlockedUsers         +     +     +   +      +       B      +        +       +      U    +     +
Revoke user             F     F     F   F      F       B      F        +       F      U    +     F
Revoke token            F     F     F   F      F       B      F        +       F      U    +     F
RefreshToken own        +     +     +   +      +       B      +        +       +      U    +     +
RefreshToken other      U     U     U   U      U       B      U        U       U      U    U     U
Ping                    +     +     +   +      +       B      +        +       +      U    +     +
GetEvents               F     F     F   F      F       B      F        +       F      U    F     F
TakeEvents              F     F     F   F      F       B      F        +       F      U    F     F
"""


@dataclass(frozen=True)
class Row:
    """What a command does for each caller; `label` as in the table."""

    kind: str
    label: str
    outcomes: dict[str, str]

    @property
    def command(self) -> str:
        """The command's name."""
        return self.label.partition(" ")[0]


def rows(kind: str, table: str) -> list[Row]:
    """The rows of a table."""
    header, *lines = table.strip("\n").splitlines()
    callers = header.split()
    return [_row(kind, callers, line.split()) for line in lines]


def _row(kind: str, callers: list[str], words: list[str]) -> Row:
    label, cells = words[: -len(callers)], words[-len(callers) :]
    outcomes = [OUTCOMES[cell] for cell in cells]
    return Row(kind, " ".join(label), dict(zip(callers, outcomes, strict=True)))


CONVERSATION_ROWS = [
    *rows("group", GROUP),
    *rows("channel", CHANNEL),
    *rows("direct", DIRECT),
]
PERSONAL_ROWS = rows("personal", PERSONAL)
