"""The AsyncAPI 3.0 document of the WebSocket and of the topics (protocol §3, §7).

It refers to the schema files that stand beside it.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from tradewire.domain.commands import COMMANDS
from tradewire.domain.events import Reply
from tradewire.domain.incoming import INCOMING_TYPES
from tradewire.domain.outbox import DATA_TYPES
from tradewire.protocol import examples
from tradewire.protocol.cloudevents import JSON
from tradewire.protocol.frames import CODECS
from tradewire.protocol.routes import RESULTS

Document = dict[str, Any]

PUBLISHED = "chat.events.v1"
CONSUMED = {
    "commerce.orders.v1": ("OrderCreated", "OrderStatusChanged"),
    "commerce.products.v1": ("ProductUpdated", "ProductDeleted"),
    "commerce.users.v1": ("UserBlocked", "UserUnblocked"),
}
"""The topics that are consumed, and what comes by each."""

DEAD_LETTERS = "chat.dead-letters.v1"
DEAD_LETTER = "DeadLetter"
DEAD_LETTER_HEADERS = ("topic", "partition", "offset", "error", "attempts", "time")

SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
STRING = {"type": "string"}


def document() -> Document:
    """The whole document, as JSON values."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tradewire",
            "version": "1.0.0",
            "description": "Commands, replies and events by WebSocket; domain events by Kafka.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "servers": {
            "node": {"host": "localhost:8080", "protocol": "ws"},
            "kafka": {"host": "localhost:9092", "protocol": "kafka"},
        },
        "channels": {"chat": _chat(), **_topics()},
        "operations": {**_commands(), "events": _events(), **_consumption()},
        "components": {"messages": _messages()},
    }


def _chat() -> Document:
    parameters = {
        "token": {**STRING, "description": "A JWT, where no Authorization header can be sent."},
        "user_id": {**STRING, "description": "The token's sub."},
        "device_id": {**STRING, "description": "Left out: a device of its own."},
        "since": {**STRING, "description": "Resume: the greatest id or cursor seen; 0: all."},
        "conversations": {"type": "integer", "description": "So many of the inbox in Welcome."},
        "batch": {"enum": ["1"], "description": "The server may send arrays."},
    }
    return {
        "address": "/ws/chat",
        "description": f"Subprotocols {' and '.join(CODECS)}: the same objects in both.",
        "servers": [{"$ref": "#/servers/node"}],
        "messages": _refer(kind.__name__ for kind in _frames()),
        "bindings": {
            "ws": {"method": "GET", "query": {"type": "object", "properties": parameters}}
        },
    }


def _topics() -> Document:
    return {
        PUBLISHED: _topic(PUBLISHED, "What happened here.", map(_published, DATA_TYPES)),
        **{
            topic: _topic(topic, "What happened elsewhere.", map(_consumed, names))
            for topic, names in CONSUMED.items()
        },
        DEAD_LETTERS: _topic(DEAD_LETTERS, "What could not be handled.", [DEAD_LETTER]),
    }


def _topic(address: str, description: str, messages: Iterable[str]) -> Document:
    return {
        "address": address,
        "description": description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": _refer(messages),
    }


def _commands() -> Document:
    """Commands as the server receives them; `x-result` is what their reply holds."""
    return {
        command.__name__: {
            "action": "receive",
            "summary": (command.__doc__ or "").partition("\n")[0],
            "channel": {"$ref": "#/channels/chat"},
            "messages": [_in_channel("chat", command.__name__)],
            "reply": {
                "channel": {"$ref": "#/channels/chat"},
                "messages": [_in_channel("chat", Reply.__name__)],
            },
            "x-result": {"$ref": f"messages/{RESULTS[command].__name__}.json"},
        }
        for command in COMMANDS
    }


def _events() -> Document:
    told = (type(event).__name__ for event in examples.EVENTS if not isinstance(event, Reply))
    return _operation("send", "chat", told)


def _consumption() -> Document:
    return {
        "publish": _operation("send", PUBLISHED, map(_published, DATA_TYPES)),
        **{
            f"consume.{topic}": _operation("receive", topic, map(_consumed, names))
            for topic, names in CONSUMED.items()
        },
        "giveUp": _operation("send", DEAD_LETTERS, [DEAD_LETTER]),
    }


def _operation(action: str, channel: str, messages: Iterable[str]) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [_in_channel(channel, name) for name in messages],
    }


def _messages() -> Document:
    frames = {
        kind.__name__: _message(kind.__name__, "messages", examples.MESSAGES[kind])
        for kind in _frames()
    }
    published = {
        _published(name): _record(name, "conversation_id, or user_id of presence", example)
        for name, example in examples.PUBLISHED.items()
    }
    consumed = {
        _consumed(name): _record(name, INCOMING_TYPES[name].__struct_fields__[0], example)
        for name, example in examples.CONSUMED.items()
    }
    return {**frames, **published, **consumed, DEAD_LETTER: _dead_letter()}


def _message(name: str, folder: str, example: Struct) -> Document:
    return {
        "name": name,
        "payload": {
            "schemaFormat": SCHEMA_FORMAT,
            "schema": {"$ref": f"{folder}/{name}.json"},
        },
        "examples": [{"payload": examples.shown(example)}],
    }


def _record(name: str, key: str, example: Struct) -> Document:
    attributes = ("id", "source", "time", "subject", "tenant")
    return {
        **_message(name, "events", example),
        "contentType": JSON,
        "headers": {
            "type": "object",
            "properties": {
                "ce_specversion": {"const": "1.0"},
                "ce_type": {"const": name},
                **{f"ce_{attribute}": STRING for attribute in attributes},
                "content-type": {"const": JSON},
            },
            "required": ["ce_specversion", "ce_type", "ce_id", "ce_source"],
        },
        "bindings": {"kafka": {"key": {**STRING, "description": key}}},
    }


def _dead_letter() -> Document:
    return {
        "name": DEAD_LETTER,
        "summary": "A record as it came, byte for byte, and why it is here.",
        "headers": {
            "type": "object",
            "properties": {f"dlq_{name}": STRING for name in DEAD_LETTER_HEADERS},
        },
    }


def _frames() -> list[type[Struct]]:
    return [*COMMANDS, *map(type, examples.EVENTS)]


def _published(name: str) -> str:
    return f"published.{name}"


def _consumed(name: str) -> str:
    return f"consumed.{name}"


def _refer(names: Iterable[str]) -> Document:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _in_channel(channel: str, name: str) -> Document:
    return {"$ref": f"#/channels/{channel}/messages/{name}"}
