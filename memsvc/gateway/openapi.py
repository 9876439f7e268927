"""The OpenAPI document, made of the routes and the API's definition."""

import re
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata

from google.protobuf.descriptor import Descriptor

from memsvc.gateway.descriptions import descriptions
from memsvc.gateway.forwarded import REQUEST_ID, TIMEOUT
from memsvc.gateway.problems import MEDIA_TYPE
from memsvc.gateway.routes import ROUTES, WHOLE, Route
from memsvc.gateway.schemas import Schema, Schemas

_IN_PATH = re.compile(r"{(\w+)}")
_PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "reason", "requestId"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "The status in gRPC."},
        "reason": {"type": "string", "description": "Stable, for programs."},
        "field": {"type": "string", "description": "Path of the field that is wrong."},
        "retryAfter": {"type": "number", "description": "Seconds after which to try again."},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "requestId": {"type": "string"},
    },
}
_HEADERS: tuple[Schema, ...] = (
    {
        "name": TIMEOUT,
        "in": "header",
        "description": "The call's deadline: up to eight digits and a unit (H, M, S, m, u or n).",
        "schema": {"type": "string", "pattern": "^[0-9]{1,8}[HMSmun]$"},
    },
    {
        "name": REQUEST_ID,
        "in": "header",
        "description": "Names the request in the server's logs; the answer has it too.",
        "schema": {"type": "string", "pattern": r"^[\w.:/+=-]{1,128}$"},
    },
)
_HEALTH: Schema = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "enum": ["SERVING", "NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"]}},
}


def document() -> Schema:
    """Return the document."""
    said = descriptions()
    schemas = Schemas(said)
    schemas.components["Problem"] = _PROBLEM
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route, said, schemas)
    paths["/v1/health"] = {"get": _health("health", "Whether calls are served now.")}
    paths["/v1/health/live"] = {"get": _health("live", "Whether the process answers.")}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "memsvc",
            "version": metadata.version("memsvc"),
            "description": "A memory for agents and RAG pipelines. Each call is one of the gRPC API's, in protobuf's "
            "JSON mapping: 64-bit integers are strings, and may be sent as numbers.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"credential": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"credential": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, said: Mapping[str, str], schemas: Schemas) -> Schema:
    names = _IN_PATH.findall(route.path)
    found: Schema = {
        "operationId": route.call,
        "description": said[route.method.full_name],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            *_query(route, names, schemas),
            *_HEADERS,
        ],
        "responses": {
            "200": _content("text/event-stream" if route.streams else "application/json", schemas.of(route.answers)),
            "default": _content(MEDIA_TYPE, {"$ref": "#/components/schemas/Problem"}, "It failed."),
        },
    }
    if route.streams:
        found["responses"]["200"]["description"] = "Server-sent events; the schema is that of each one's data."
    if route.body == WHOLE:
        body = schemas.whole(route.asks, {route.place(name) for name in names})
        found["requestBody"] = {"content": {"application/json": {"schema": body}}}
    elif route.body:
        body = schemas.field(route.asks.fields_by_name[route.body])
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _query(route: Route, names: list[str], schemas: Schemas) -> Iterator[Schema]:
    if route.body == WHOLE:
        return
    elsewhere = {route.body, *map(route.place, names)}
    for name, schema in _flat(route.asks, schemas, elsewhere):
        yield {"name": name, "in": "query", "description": schema.pop("description", ""), "schema": schema}


def _flat(kind: Descriptor, schemas: Schemas, without: Collection[str]) -> Iterator[tuple[str, Schema]]:
    """Yield what a query can set: paths of fields, and their schemas."""
    for field in kind.fields:
        schema = schemas.field(field)
        if field.name in without:
            continue
        if field.message_type is None or "$ref" not in schema:
            yield field.json_name, schema
        else:
            inside = _flat(field.message_type, schemas, ())
            yield from ((f"{field.json_name}.{name}", each) for name, each in inside)


def _health(name: str, description: str) -> Schema:
    return {
        "operationId": name,
        "description": description,
        "security": [{}],
        "responses": {
            "200": _content("application/json", _HEALTH, "It is well."),
            "503": _content("application/json", _HEALTH, "It is not."),
        },
    }


def _content(media_type: str, schema: Schema, description: str = "It is done.") -> Schema:
    return {"description": description, "content": {media_type: {"schema": schema}}}
