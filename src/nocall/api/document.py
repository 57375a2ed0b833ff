"""The OpenAPI 3.1 document, from what each route says of itself.

Schemas come from the same structs that read and write the bodies, so they cannot drift apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import UnsetType

from nocall import __version__
from nocall.api import wire
from nocall.api.example import EXAMPLES
from nocall.api.guard import OPERATOR
from nocall.model import Scope

_FAILURES = {
    207: "Some chunks failed; `data.failedChunks` says which.",
    400: "A field, parameter or header is missing, malformed or outside its limits.",
    401: "The token is missing, malformed, unknown, expired or revoked.",
    403: "The token lacks the scope, or the thing belongs to another organization.",
    404: "No such thing in this organization.",
    409: "The thing is not in a state that allows this.",
    413: "The body is larger than the service takes.",
    422: "The Idempotency-Key was used with another body.",
    429: "The token asks too often; see `Retry-After`.",
    500: "An unexpected error.",
    503: "The database does not answer. Nothing was changed, nothing is callable.",
}
_ANY_TOKEN = (401, 403, 429, 500, 503)
_ANY_OPERATOR = (401, 500, 503)
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: {
        "Retry-After": {
            "required": True,
            "description": "Seconds.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}
_BETWEEN_FIELDS: dict[type, dict[str, Any]] = {
    wire.AddBody: {
        "anyOf": [
            {"required": ["source"], "properties": {"source": {"type": "string"}}},
            {
                "required": ["batchId", "requestUUID"],
                "properties": {"batchId": {"type": "string"}, "requestUUID": {"type": "string"}},
            },
        ]
    },
    wire.CallsBody: {"anyOf": [{"required": ["call_data"]}, {"required": ["callData"]}]},
}
"""What a body's fields ask of each other."""
_SCHEMAS = "#/components/schemas/{name}"


Parameters = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Doc:
    scope: Scope | str | None
    summary: str
    success: type[msgspec.Struct] | None
    """What a success answers; None where it is no JSON of ours, or where there is none."""
    codes: tuple[int, ...]
    body: type[msgspec.Struct] | None
    query: Parameters
    headers: Parameters
    success_code: int
    media_type: str | None
    """Of a success; None where the route only ever refuses."""
    example: object
    """Of a success; None for the one of its kind."""


def route(
    scope: Scope | str | None,
    summary: str,
    success: type[msgspec.Struct],
    *codes: int,
    body: type[msgspec.Struct] | None = None,
    query: Parameters | None = None,
    headers: Parameters | None = None,
    success_code: int = 200,
    example: object = None,
) -> dict[str, Any]:
    """What a route handler is given so that the guard and the document know about it."""
    doc = Doc(
        scope,
        summary,
        success,
        codes,
        body,
        query or {},
        headers or {},
        success_code,
        "application/json",
        example,
    )
    return {"opt": {"scope": scope, "doc": doc}, "status_code": success_code}


def text_route(
    scope: Scope | str | None, summary: str, media_type: str, *codes: int
) -> dict[str, Any]:
    """Like `route`, for what answers with something else than an envelope."""
    doc = Doc(scope, summary, None, codes, None, {}, {}, 200, media_type, None)
    return {"opt": {"scope": scope, "doc": doc}, "status_code": 200}


def refusing_route(scope: Scope | str | None, summary: str, *codes: int) -> dict[str, Any]:
    """Like `route`, for what is there to say what is missing."""
    doc = Doc(scope, summary, None, codes, None, {}, {}, 200, None, None)
    return {"opt": {"scope": scope, "doc": doc}, "status_code": 200}


def build(handlers: Iterable[HTTPRouteHandler]) -> dict[str, Any]:
    """The whole document as a JSON object."""
    documented = [handler for handler in handlers if "doc" in handler.opt]
    bodies = {handler.opt["doc"].body for handler in documented} - {None}
    replies = {handler.opt["doc"].success for handler in documented} - {None}
    structs = sorted(bodies | replies, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(
        [wire.Problem, wire.CallView, *structs], ref_template=_SCHEMAS
    )
    for name, schema in components.items():
        kind = getattr(wire, name, None)
        if kind is None:
            continue
        if kind in bodies:
            schema.update(_BETWEEN_FIELDS.get(kind, {}))
        else:
            _require_what_is_there(kind, schema)
    paths: dict[str, dict[str, Any]] = {}
    for handler in documented:
        for path in handler.paths:
            for method in handler.http_methods:
                shown = _path(path)
                paths.setdefault(shown, {})[method.lower()] = _operation(handler, shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nocall",
            "version": __version__,
            "summary": "The Do-Not-Call list, the gate in front of the dialer, and the proof.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "nocall_…"},
                "operator": {"type": "http", "scheme": "bearer", "description": "nocallop_…"},
            },
        },
    }


def _require_what_is_there(kind: type[msgspec.Struct], schema: dict[str, Any]) -> None:
    """A reply has each of its fields but those that may be left out, whatever their defaults."""
    if not issubclass(kind, msgspec.Struct):
        return  # one of the enumerations that wire imports
    schema["required"] = [
        one.encode_name
        for one in msgspec.structs.fields(kind)
        if UnsetType not in getattr(one.type, "__args__", ())
    ]
    for about in schema["properties"].values():
        about.pop("default", None)


def _path(path: str) -> str:
    """Litestar writes `{name:type}`, OpenAPI `{name}`."""
    return "/".join(
        part.split(":")[0] + "}" if part.startswith("{") else part for part in path.split("/")
    )


def _operation(handler: HTTPRouteHandler, path: str) -> dict[str, Any]:
    doc: Doc = handler.opt["doc"]
    operation: dict[str, Any] = {
        "operationId": handler.handler_name,
        "summary": doc.summary,
        "tags": [path.split("/")[2] if path.startswith("/api/") else "service"],
        "parameters": _parameters(doc, path),
        "responses": _responses(doc),
    }
    if handler.fn.__doc__:
        operation["description"] = " ".join(handler.fn.__doc__.split())
    if doc.scope is not None:
        operation["security"] = [{"operator" if doc.scope == OPERATOR else "token": []}]
        need = "an operator token" if doc.scope == OPERATOR else f"scope `{doc.scope}`"
        operation["description"] = f"{operation.get('description', '')} Needs {need}.".strip()
    if doc.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _ref(doc.body), "example": EXAMPLES[doc.body]}
            },
        }
    return operation


def _parameters(doc: Doc, path: str) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": part[1:-1],
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
            "example": "6924a1b2c3d4e5f601234567",
        }
        for part in path.split("/")
        if part.startswith("{")
    ]
    for place, named in (("query", doc.query), ("header", doc.headers)):
        for name, schema in named.items():
            kept = {key: value for key, value in schema.items() if key != "description"}
            required = bool(kept.pop("required", False))
            parameter = {"name": name, "in": place, "required": required, "schema": kept}
            if "description" in schema:
                parameter["description"] = schema["description"]
            parameters.append(parameter)
    return parameters


def _responses(doc: Doc) -> dict[str, Any]:
    codes = {500, *doc.codes}
    if doc.scope is not None:
        codes.update(_ANY_OPERATOR if doc.scope == OPERATOR else _ANY_TOKEN)
    responses: dict[str, Any] = {}
    if doc.media_type is not None:
        responses[str(doc.success_code)] = {
            "description": "Done.",
            "content": {doc.media_type: _success(doc)},
        }
    for code in sorted(codes):
        schema = doc.success if code < 400 and doc.success else wire.Problem
        responses[str(code)] = {
            "description": _FAILURES[code],
            "content": {"application/json": {"schema": _ref(schema)}},
        }
        if code in _HEADERS:
            responses[str(code)]["headers"] = _HEADERS[code]
    return responses


def _success(doc: Doc) -> dict[str, Any]:
    if doc.success is None:
        return {"schema": {"type": "object" if doc.media_type == "application/json" else "string"}}
    example = EXAMPLES.get(doc.success) if doc.example is None else doc.example
    return {"schema": _ref(doc.success), "example": example}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(name=kind.__name__)}
