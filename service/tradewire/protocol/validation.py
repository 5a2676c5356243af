"""What the decoder found wrong, told with the name of the field (protocol §1, §6)."""

import json
import re
from typing import Any

import msgspec

from tradewire.domain.errors import InvalidField

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are no value at all. A ValidationError is one of them, to be
caught first: there, a value was read, but of another shape."""

MESSAGE_CHARACTERS = 200
"""Longer explanations are cut: they may quote what was sent."""

# msgspec ends its messages so, where the fault is not in the root: at `$.price.amount`,
# at `$.user_ids[3]`, at `$[...]` (a value of a mapping), at `key` in `$.metadata`.
_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`")


def field_path(error: msgspec.ValidationError) -> str | None:
    """Where the fault is, from the decoded object down: `text`, `items[0].price`; None: all of it.

    A missing field counts as being where it should be.
    """
    text = str(error)
    at = _PATH.search(text)
    missing = _MISSING.match(text)
    steps = [at["path"] if at else "", missing["name"] if missing else ""]
    return ".".join(filter(None, steps)) or None


def invalid_field(error: msgspec.ValidationError) -> InvalidField:
    """The error to answer; its field is the outermost one that is at fault."""
    path = field_path(error)
    field = re.split(r"[.\[]", path, maxsplit=1)[0] if path else None
    return InvalidField(explanation(error), field=field or None)


def explanation(error: msgspec.ValidationError) -> str:
    """What is wrong, without the place."""
    text = _PATH.sub("", str(error))
    return text if len(text) <= MESSAGE_CHARACTERS else text[: MESSAGE_CHARACTERS - 1] + "…"


def lone_surrogate(data: bytes) -> tuple[dict[str, Any], str] | None:
    """For JSON that cannot be decoded: the object and its field with a lone surrogate, if any.

    Half of a surrogate pair in an escape (what is left of an emoji cut in two) is no Unicode, so
    msgspec refuses all of it, while it is just a field with a wrong value.
    """
    try:
        decoded = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(decoded, dict):
        return None
    for field, value in decoded.items():
        try:
            json.dumps((field, value), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return decoded, field
    return None


def surrogate_refused(field: str) -> InvalidField:
    """The error for a field with a lone surrogate."""
    shown = field.encode(errors="replace").decode()
    return InvalidField("The text holds a lone surrogate.", field=shown)
