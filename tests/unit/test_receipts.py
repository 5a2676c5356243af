"""The status of messages, from the receipts of all members."""

import pytest

from tradewire.domain.receipts import Receipt, add_status
from tradewire.domain.types import SYSTEM, Message

IDS = (10, 20, 30)
ALL = ("read", "read", "read")
NONE = ("sent", "sent", "sent")


def messages(sender: str) -> list[Message]:
    return [
        Message(
            message_id=str(message_id),
            conversation_id="c",
            sender_id=sender,
            content_type="text",
            created_at="2026-11-20T10:00:00.000Z",
            status="sent",
        )
        for message_id in IDS
    ]


@pytest.mark.parametrize(
    ("receipts", "sender", "expected"),
    [
        pytest.param([("a", 0, 0), ("b", 20, 20)], "a", ("read", "read", "sent"), id="the other"),
        pytest.param([("a", 0, 0), ("b", 20, 20)], "b", NONE, id="not the sender's own"),
        pytest.param(
            [("a", 30, 30), ("b", 10, 20), ("c", 20, 30)],
            "a",
            ("read", "delivered", "sent"),
            id="the last of the others",
        ),
        pytest.param(
            [("a", 30, 30), ("b", 0, 10), ("c", 10, 0)],
            "b",
            ("read", "sent", "sent"),
            id="least in one of two",
        ),
        pytest.param(
            [("a", 0, 0), ("b", 10, 10), ("c", 10, 10)],
            "b",
            NONE,
            id="another has nothing",
        ),
        pytest.param([("a", 10, 10), ("b", 10, 10)], "b", ("read", "sent", "sent"), id="equal"),
        pytest.param([("a", 30, 30), ("b", 30, 30)], SYSTEM, ALL, id="no member sent it"),
        pytest.param(
            [("a", 30, 30), ("b", 10, 30)],
            "gone",
            ("read", "delivered", "delivered"),
            id="no longer a member",
        ),
        pytest.param([("a", 30, 30)], "a", NONE, id="alone"),
        pytest.param([], "a", NONE, id="too many for receipts"),
    ],
)
def test_a_message_is_read_when_all_but_its_sender_have_read_it(
    receipts: list[tuple[str, int, int]], sender: str, expected: tuple[str, ...]
) -> None:
    found = messages(sender)
    add_status(found, [Receipt(*receipt) for receipt in receipts])
    assert tuple(message.status for message in found) == expected


def test_each_message_of_a_page_has_its_own_sender() -> None:
    page = [*messages("a"), *messages("b")]
    add_status(page, [Receipt("a", 20, 30), Receipt("b", 10, 10)])
    assert [message.status for message in page] == [
        *("read", "sent", "sent"),
        *("read", "read", "delivered"),
    ]
