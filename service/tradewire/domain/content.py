"""What a message, a title or metadata may hold; checks that a type alone cannot express."""

import math
from hashlib import blake2b
from typing import Any

import msgspec

from tradewire.domain import limits
from tradewire.domain.commands import SendMessage
from tradewire.domain.errors import InvalidField, TextTooLong, TooLarge
from tradewire.domain.types import Metadata

_encode = msgspec.json.encode
_pack = msgspec.msgpack.Encoder(order="deterministic").encode


def check_text(text: str, field: str = "text") -> None:
    """Raise unless the text can be kept exactly as sent.

    Raises:
        TextTooLong: more than 10,000 code points.
        InvalidField: a NUL or a lone surrogate in it.
    """
    if len(text) > limits.TEXT_CHARACTERS:
        raise TextTooLong(field=field)
    if "\0" in text or not _encodable(text):
        raise InvalidField(f"{field} holds a NUL or a lone surrogate.", field=field)


def check_metadata(metadata: Metadata) -> None:
    """Raise unless the metadata is the same in JSON and MessagePack, and small enough.

    Raises:
        InvalidField: nested too deep, or of a type or range that JSON cannot carry.
        TooLarge: more than 8 KiB as JSON.
    """
    _check_value(metadata, limits.NESTING - 1)
    if len(_encode(metadata)) > limits.METADATA_BYTES:
        raise TooLarge(f"metadata is over {limits.METADATA_BYTES} bytes.", field="metadata")


def content_hash(command: SendMessage) -> bytes:
    """16 bytes that tell whether a key is reused for other content."""
    content = (
        command.content_type,
        command.text,
        command.metadata,
        command.attachment_ids,
        command.reply_to,
        command.language,
        command.expires_in_s,
    )
    return blake2b(_pack(content), digest_size=16).digest()


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_value(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth == 0:
            raise InvalidField(f"metadata nests over {limits.NESTING} deep.", field="metadata")
        for item in value if isinstance(value, list) else (*value, *value.values()):
            _check_value(item, depth - 1)
        if isinstance(value, list) or all(isinstance(key, str) for key in value):
            return
    elif _is_portable(value):
        return
    raise InvalidField("metadata holds a value that JSON cannot carry.", field="metadata")


def _is_portable(value: Any) -> bool:
    """Whether a scalar is the same in JSON and MessagePack."""
    match value:
        case None | bool():
            return True
        case str():
            return "\0" not in value and _encodable(value)
        case int():
            return -(1 << 63) <= value < 1 << 64
        case float():
            return math.isfinite(value)
        case _:
            return False
