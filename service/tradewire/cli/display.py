"""What a person reads of messages and events."""

import unicodedata
from typing import Any

Json = dict[str, Any]

_BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(text: str) -> str:
    """Text that cannot steer the terminal: control and direction characters become `?`.

    Line breaks stay, and what follows them is indented.
    """
    return "\n  ".join("".join(map(_plain, line)) for line in text.splitlines())


def _plain(character: str) -> str:
    if character == "\t":
        return " "
    steers = unicodedata.category(character) == "Cc" or character in _BIDI_OVERRIDES
    return "?" if steers else character


def content(message: Json) -> str:
    """What a message says: its text, or what kind of thing it is."""
    if message.get("deleted"):
        return "(deleted)"
    if text := message.get("text"):
        return plain(text)
    subject = _subject(message.get("metadata") or {})
    status = (message.get("card") or {}).get("status")
    said = " ".join(plain(str(part)) for part in (message["content_type"], subject, status) if part)
    return f"({said})"


def _subject(metadata: Json) -> Any:
    return metadata.get("order_id") or metadata.get("product_id")


def line(event: Json) -> str:
    """An event on one line: where, who, what."""
    message = event.get("message")
    if isinstance(message, dict):
        said = f"{message['sender_id']}: {content(message)}".replace("\n ", "")
        what = "" if event["type"] == "MessageReceived" else f"{event['type']} "
        return f"[{message['conversation_id']}] {what}{said}"
    where = event.get("conversation_id") or event.get("conversation", {}).get("conversation_id")
    told = [f"[{where}]"] if where else []
    told.append(event["type"])
    told += [f"{name}={plain(str(value))}" for name, value in event.items() if _told(name, value)]
    return " ".join(told)


def _told(name: str, value: object) -> bool:
    return isinstance(value, str | int) and name not in {"type", "conversation_id", "change_id"}
