"""The OpenAPI 3.1 document of the HTTP interface, made from the table of routes."""

from collections.abc import Iterable

import msgspec

from tradewire.domain.errors import InvalidField
from tradewire.domain.incoming import INCOMING_TYPES
from tradewire.protocol import eventlog, examples
from tradewire.protocol.cloudevents import BATCH, JSON, STRUCTURED, Attributes
from tradewire.protocol.components import Schema, components
from tradewire.protocol.problem import MEDIA_TYPE, Problem
from tradewire.protocol.routes import ENVELOPE, RESULTS, ROUTES, Route

REFERENCE = "#/components/schemas/{name}"


def document() -> Schema:
    """The whole document, as JSON values."""
    schemas = _schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tradewire",
            "version": "1.0.0",
            "summary": "Conversations between buyers and sellers of a marketplace.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": _paths(schemas),
        "components": {
            "schemas": schemas,
            "responses": {"Problem": _problem()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _schemas() -> dict[str, Schema]:
    """Those of all bodies; a command's without what the frame or the path gives."""
    bodies = {route.command: route for route in ROUTES if route.has_body}
    answers = (RESULTS[route.command] for route in ROUTES)
    log = (eventlog.EventsPage, eventlog.EventsHandled, Attributes, *INCOMING_TYPES.values())
    found = components([*bodies, *answers, *log, Problem], REFERENCE)
    for command, route in bodies.items():
        found[command.__name__] = _without(
            found[command.__name__], ENVELOPE.union(route.path_fields)
        )
    return found


def _without(schema: Schema, names: Iterable[str]) -> Schema:
    left_out = frozenset(names)
    required = [name for name in schema["required"] if name not in left_out]
    return {
        **{name: value for name, value in schema.items() if name != "required"},
        "properties": {
            name: value for name, value in schema["properties"].items() if name not in left_out
        },
        **({"required": required} if required else {}),
    }


def _paths(schemas: dict[str, Schema]) -> dict[str, Schema]:
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return paths | {eventlog.PATH: _event_log(), **_operations()}


def _operation(route: Route, schemas: dict[str, Schema]) -> Schema:
    operation: Schema = {
        "operationId": route.command.__name__,
        "summary": _summary(route.command),
        "parameters": _parameters(route),
        "responses": {
            "200": _answer(RESULTS[route.command]),
            **({"201": _answer(RESULTS[route.command], "Made.")} if route.creates else {}),
            **_failures(),
        },
    }
    if route.has_body:
        operation["requestBody"] = _body(route, required="required" in schemas[_name(route)])
    return operation


def _parameters(route: Route) -> list[Schema]:
    schema = components([route.command], REFERENCE)[_name(route)]
    members = schema["properties"]
    found: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": members[name]}
        for name in route.path_fields
    ]
    if not route.has_body:
        required = schema["required"]
        found += [
            _query_parameter(name, members[name], required=name in required)
            for name in route.free_fields
        ]
    if route.key_header:
        key = _not_null(members["key"])
        found.append({"name": "Idempotency-Key", "in": "header", "schema": key})
    return found


def _query_parameter(name: str, schema: Schema, *, required: bool = False) -> Schema:
    lists = {"style": "form", "explode": False} if schema.get("type") == "array" else {}
    return {
        "name": name,
        "in": "query",
        **({"required": True} if required else {}),
        **lists,
        "schema": _not_null(schema),
    }


def _not_null(schema: Schema) -> Schema:
    """The schema of a parameter, which is left out rather than null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else schema


def _body(route: Route, *, required: bool) -> Schema:
    example = examples.shown(examples.MESSAGES[route.command])
    return {
        "required": required,
        "content": {
            JSON: {
                "schema": {"$ref": REFERENCE.format(name=_name(route))},
                "example": {
                    name: value for name, value in example.items() if name in route.free_fields
                },
            }
        },
    }


def _answer(result: type[msgspec.Struct], description: str = "Done.") -> Schema:
    content: Schema = {"schema": {"$ref": REFERENCE.format(name=result.__name__)}}
    if result in examples.MESSAGES:
        content["example"] = examples.shown(examples.MESSAGES[result])
    return {"description": description, "content": {JSON: content}}


def _failures() -> Schema:
    problem = {"$ref": "#/components/responses/Problem"}
    return {"4XX": problem, "5XX": problem}


def _problem() -> Schema:
    error = InvalidField("Expected `str`, got `int`", field="text")
    return {
        "description": "Refused, or not possible now; `code` says why.",
        "headers": {
            "Retry-After": {
                "description": "Seconds to wait, where a retry may succeed.",
                "schema": {"type": "integer"},
            }
        },
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": REFERENCE.format(name=Problem.__name__)},
                "example": examples.shown(Problem.of(error.body())),
            }
        },
    }


def _event_log() -> Schema:
    query = components([eventlog.EventsQuery], REFERENCE)[eventlog.EventsQuery.__name__]
    return {
        "get": {
            "operationId": "ReadEvents",
            "summary": "A page of the log of domain events, for a token with the role service.",
            "parameters": [
                _query_parameter(name, schema) for name, schema in query["properties"].items()
            ],
            "responses": {"200": _answer(eventlog.EventsPage), **_failures()},
        },
        "post": {
            "operationId": "HandleEvents",
            "summary": "Handles CloudEvents of other services: one, an array, or binary mode.",
            "requestBody": {
                "required": True,
                "content": {
                    STRUCTURED: {"schema": _incoming()},
                    BATCH: {"schema": {"type": "array", "items": _incoming()}},
                    JSON: {"schema": {}},
                },
            },
            "responses": {"200": _answer(eventlog.EventsHandled), **_failures()},
        },
    }


def _incoming() -> Schema:
    data = [{"$ref": REFERENCE.format(name=kind.__name__)} for kind in INCOMING_TYPES.values()]
    return {
        "allOf": [{"$ref": REFERENCE.format(name=Attributes.__name__)}],
        "properties": {"data": {"anyOf": data}},
        "required": ["data"],
    }


def _operations() -> Schema:
    return {
        "/healthz": _open("Health", "Whether the process lives.", JSON),
        "/readyz": _open("Readiness", "Whether it takes traffic; says what is away.", JSON, 503),
        "/metrics": _open("Metrics", "Metrics in the exposition format.", "text/plain"),
        "/openapi.json": _open("Interface", "This document.", JSON),
    }


def _open(name: str, summary: str, media_type: str, *others: int) -> Schema:
    answer = {"description": summary, "content": {media_type: {"schema": {}}}}
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "security": [],
            "responses": {str(status): answer for status in (200, *others)},
        }
    }


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _name(route: Route) -> str:
    return route.command.__name__
