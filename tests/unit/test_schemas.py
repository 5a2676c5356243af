"""The contracts for machines are current, valid, and say what the server decodes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openapi_spec_validator
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from msgspec import Struct

from tradewire.adapters.kafka import dead_letters, topics
from tradewire.domain.commands import COMMANDS
from tradewire.domain.events import Event
from tradewire.domain.incoming import INCOMING_TYPES
from tradewire.domain.outbox import DATA_TYPES
from tradewire.protocol import asyncapi, examples
from tradewire.protocol.routes import ROUTES
from tradewire.protocol.schemas import documents

FOLDER = Path(__file__).parents[2] / "schemas"
DOCUMENTS: dict[str, Any] = {path: json.loads(text) for path, text in documents().items()}
SCHEMAS = [path for path in DOCUMENTS if "/" in path]
DATA = {**DATA_TYPES, **INCOMING_TYPES}
EXAMPLES: dict[str, tuple[type[Struct], Struct]] = {
    **{
        f"messages/{kind.__name__}.json": (kind, example)
        for kind, example in examples.MESSAGES.items()
    },
    **{
        f"events/{name}.json": (DATA[name], example)
        for name, example in {**examples.PUBLISHED, **examples.CONSUMED}.items()
    },
}


def test_the_files_are_those_that_the_types_give() -> None:
    found = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in FOLDER.rglob("*.json")
    }
    assert found.keys() == documents().keys()
    stale = [path for path, text in documents().items() if found[path] != text]
    assert not stale, "run `make docs`"


def test_every_command_event_and_domain_event_has_a_schema() -> None:
    named = {kind.__name__ for kind in (*COMMANDS, *_concrete(Event))}
    assert {f"messages/{name}.json" for name in named} <= DOCUMENTS.keys()
    assert {f"events/{name}.json" for name in DATA} <= DOCUMENTS.keys()


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_schema_is_valid_and_so_are_its_examples(path: str) -> None:
    schema = DOCUMENTS[path]
    Draft202012Validator.check_schema(schema)
    checker = Draft202012Validator(schema, format_checker=FormatChecker())
    assert schema["examples"]
    for example in schema["examples"]:
        checker.validate(example)


@pytest.mark.parametrize("path", SCHEMAS)
def test_an_example_comes_back_from_the_decoder_as_it_was(path: str) -> None:
    kind, example = EXAMPLES[path]
    (written,) = DOCUMENTS[path]["examples"]
    decoded = msgspec.json.decode(json.dumps(written), type=kind)
    assert msgspec.to_builtins(decoded) == msgspec.to_builtins(example)


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_schema_refuses_what_the_decoder_refuses_as_missing(path: str) -> None:
    kind, _ = EXAMPLES[path]
    schema = DOCUMENTS[path]
    (example,) = schema["examples"]
    checker = Draft202012Validator(schema)
    required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    assert required <= set(schema.get("required", ()))
    for name in required:
        without = {member: value for member, value in example.items() if member != name}
        assert not checker.is_valid(without)
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert(without, kind)


def test_a_card_may_be_a_product_or_an_order() -> None:
    message = msgspec.to_builtins(examples.MESSAGE)
    checker = Draft202012Validator(DOCUMENTS["messages/MessageReceived.json"])
    for card in (examples.PRODUCT_CARD, examples.ORDER_CARD):
        event = {
            "type": "MessageReceived",
            "message": {**message, "card": msgspec.to_builtins(card)},
        }
        checker.validate(event)
    assert not checker.is_valid({"type": "MessageReceived", "message": {**message, "card": 1}})


def test_the_openapi_document_is_valid() -> None:
    openapi_spec_validator.validate(DOCUMENTS["openapi.json"])


def test_the_openapi_document_has_every_route() -> None:
    paths = DOCUMENTS["openapi.json"]["paths"]
    for route in ROUTES:
        operation = paths[route.path][route.method.lower()]
        assert operation["operationId"] == route.command.__name__
        assert ("201" in operation["responses"]) == route.creates
        assert ("requestBody" in operation) == route.has_body


def test_examples_in_the_openapi_document_fit_their_schemas() -> None:
    document = DOCUMENTS["openapi.json"]
    contents = list(_contents(document))
    assert len(contents) > len(ROUTES)
    for content in contents:
        schema = {**content["schema"], "components": document["components"]}
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(content["example"])


def test_a_body_asks_neither_for_what_the_path_says_nor_for_what_a_frame_has() -> None:
    schemas = DOCUMENTS["openapi.json"]["components"]["schemas"]
    assert schemas["EditMessage"]["properties"].keys() == {"text", "metadata"}
    assert schemas["SendMessage"]["required"] == ["conversation_id"]


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = DOCUMENTS["asyncapi.json"]
    references = [value for name, value in _members(document) if name == "$ref"]
    assert len(references) > len(COMMANDS)
    for reference in references:
        if reference.startswith("#/"):
            assert isinstance(_at(document, reference), dict)
        else:
            assert reference in DOCUMENTS


def test_the_asyncapi_document_has_every_command_event_and_topic() -> None:
    document = DOCUMENTS["asyncapi.json"]
    receives = {name for name, operation in document["operations"].items() if "reply" in operation}
    assert receives == {command.__name__ for command in COMMANDS}
    sends = {_last(message) for message in document["operations"]["events"]["messages"]}
    assert sends == {kind.__name__ for kind in _concrete(Event)} - {"Reply"}
    assert {name for names in asyncapi.CONSUMED.values() for name in names} == set(INCOMING_TYPES)
    assert {channel["address"] for channel in document["channels"].values()} == {
        "/ws/chat",
        "chat.events.v1",
        "chat.dead-letters.v1",
        *asyncapi.CONSUMED,
    }


def test_keys_of_the_asyncapi_document_are_of_the_form_that_it_asks_for() -> None:
    document = DOCUMENTS["asyncapi.json"]
    for part in (document["channels"], document["operations"], document["components"]["messages"]):
        assert all(re.fullmatch(r"[\w.\-]+", name) for name in part)


def test_the_topics_are_those_of_the_kafka_adapter() -> None:
    assert topics.EVENTS.name == asyncapi.PUBLISHED
    assert list(asyncapi.CONSUMED) == [topic.name for topic in topics.CONSUMED]
    assert topics.DEAD_LETTERS.name == asyncapi.DEAD_LETTERS
    assert [f"dlq_{name}" for name in asyncapi.DEAD_LETTER_HEADERS] == list(dead_letters.NAMES)


def _concrete(kind: type[Event]) -> Iterator[type[Event]]:
    for child in kind.__subclasses__():
        if child.__subclasses__():
            yield from _concrete(child)
        else:
            yield child


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _members(member)


def _contents(document: Any) -> Iterator[dict[str, Any]]:
    for name, value in _members(document):
        if name == "content":
            yield from (content for content in value.values() if "example" in content)


def _at(document: Any, reference: str) -> Any:
    for step in reference.removeprefix("#/").split("/"):
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


def _last(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]
