"""What a person sees and types: keys become lines, and no message steers the terminal."""

from typing import Any

import pytest

from tradewire.cli.display import content, line, plain
from tradewire.cli.terminal import LineEditor


@pytest.mark.parametrize(
    ("keys", "lines", "left"),
    [
        ("hello\n", ["hello"], ""),
        ("one\rtwo\nthr", ["one", "two"], "thr"),
        ("cat\x7fr\n", ["car"], ""),
        ("\x7f\x7fa\b", [], ""),
        ("wrong\x15right\n", ["right"], ""),
        ("a\x1b[Db\x1bOCc\x1b[1;5Dd\n", ["abcd"], ""),
        ("a\x00\x07b\n", ["ab"], ""),
        ("grüß dich 🙂\n", ["grüß dich 🙂"], ""),
        ("\n", [""], ""),
    ],
)
def test_keys_become_lines(keys: str, lines: list[str], left: str) -> None:
    editor = LineEditor()
    assert editor.type(keys) == lines
    assert (editor.text, editor.ended) == (left, False)


def test_keys_may_come_in_any_pieces() -> None:
    editor = LineEditor()
    assert [editor.type(key) for key in "hi\n"] == [[], [], ["hi"]]


def test_the_end_key_ends_only_an_empty_line() -> None:
    editor = LineEditor()
    assert editor.type("a\x04\n") == ["a"]
    assert not editor.ended
    assert editor.type("b\n\x04c\n") == ["b"]
    assert editor.ended


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("a\x1b[2Jb\x07", "a?[2Jb?"),
        ("\x9b31mred", "?31mred"),
        ("a\rb", "a\n  b"),
        ("one\ntwo", "one\n  two"),
        ("safe\u202egnp.exe", "safe?gnp.exe"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("a\tb", "a b"),
        ("", ""),
    ],
)
def test_text_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"content_type": "text", "text": "hi"}, "hi"),
        ({"content_type": "text", "text": "hi", "deleted": True}, "(deleted)"),
        (
            {
                "content_type": "order",
                "metadata": {"order_id": "o-1"},
                "card": {"status": "pa\x1bid"},
            },
            "(order o-1 pa?id)",
        ),
        ({"content_type": "product", "metadata": {"product_id": "p-1"}}, "(product p-1)"),
        ({"content_type": "image"}, "(image)"),
    ],
)
def test_every_kind_of_message_has_words(message: dict[str, Any], shown: str) -> None:
    assert content(message) == shown


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            {
                "type": "MessageReceived",
                "message": {
                    "conversation_id": "c",
                    "sender_id": "bob",
                    "content_type": "text",
                    "text": "hi\nyou",
                },
            },
            "[c] bob: hi you",
        ),
        (
            {
                "type": "MessageDeleted",
                "change_id": "7",
                "message": {
                    "conversation_id": "c",
                    "sender_id": "bob",
                    "content_type": "text",
                    "deleted": True,
                },
            },
            "[c] MessageDeleted bob: (deleted)",
        ),
        (
            {
                "type": "MessageRead",
                "change_id": "7",
                "conversation_id": "c",
                "user_id": "bob",
                "up_to": "5",
            },
            "[c] MessageRead user_id=bob up_to=5",
        ),
        (
            {
                "type": "ConversationCreated",
                "change_id": "7",
                "conversation": {"conversation_id": "c", "kind": "direct"},
            },
            "[c] ConversationCreated",
        ),
        (
            {"type": "SyncCompleted", "cursor": "9", "truncated": False},
            "SyncCompleted cursor=9 truncated=False",
        ),
    ],
)
def test_every_event_is_one_line(event: dict[str, Any], shown: str) -> None:
    assert line(event) == shown
