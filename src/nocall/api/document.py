"""The OpenAPI 3.1 document, from what each route says of itself.

Schemas come from the same structs that read and write the bodies, so they cannot drift apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler

from nocall import __version__
from nocall.api import wire
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
_ANY_TOKEN = (401, 429, 500, 503)
_SCHEMAS = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Doc:
    scope: Scope | str | None
    summary: str
    success: type[msgspec.Struct]
    codes: tuple[int, ...]
    body: type[msgspec.Struct] | None
    query: Mapping[str, Mapping[str, Any]]
    headers: Mapping[str, str]
    success_code: int


def route(
    scope: Scope | str | None,
    summary: str,
    success: type[msgspec.Struct],
    *codes: int,
    body: type[msgspec.Struct] | None = None,
    query: Mapping[str, Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    success_code: int = 200,
) -> dict[str, Any]:
    """What a route handler is given so that the guard and the document know about it."""
    doc = Doc(scope, summary, success, codes, body, query or {}, headers or {}, success_code)
    return {"opt": {"scope": scope, "doc": doc}, "status_code": success_code}


def build(handlers: Iterable[HTTPRouteHandler]) -> dict[str, Any]:
    """The whole document as a JSON object."""
    documented = [handler for handler in handlers if "doc" in handler.opt]
    structs: list[type] = [wire.Problem]
    for handler in documented:
        doc: Doc = handler.opt["doc"]
        structs += [kind for kind in (doc.success, doc.body) if kind]
    unique = list(dict.fromkeys(structs))
    _, components = msgspec.json.schema_components(unique, ref_template=_SCHEMAS)
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
            "content": {"application/json": {"schema": _ref(doc.body), **_example(doc.body)}},
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
    for name, schema in doc.query.items():
        kept = {key: value for key, value in schema.items() if key != "description"}
        required = bool(kept.pop("required", False))
        parameter = {"name": name, "in": "query", "required": required, "schema": kept}
        if "description" in schema:
            parameter["description"] = schema["description"]
        parameters.append(parameter)
    for name, description in doc.headers.items():
        parameters.append(
            {
                "name": name,
                "in": "header",
                "required": False,
                "description": description,
                "schema": {"type": "string"},
            }
        )
    return parameters


def _responses(doc: Doc) -> dict[str, Any]:
    codes = [*doc.codes, *(_ANY_TOKEN if doc.scope is not None else (500,))]
    responses: dict[str, Any] = {
        str(doc.success_code): {
            "description": "Done.",
            "content": {"application/json": {"schema": _ref(doc.success), **_example(doc.success)}},
        }
    }
    for code in sorted(set(codes)):
        schema = doc.success if code < 400 else wire.Problem
        responses[str(code)] = {
            "description": _FAILURES[code],
            "content": {"application/json": {"schema": _ref(schema)}},
        }
    return responses


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(name=kind.__name__)}


_EXAMPLES: dict[type, object] = {
    wire.AddBody: {
        "phoneNumber": "12125550123",
        "batchId": "6924a1b2c3d4e5f601234567",
        "requestUUID": "5f0c9d1e-2b7a-4c3d-9e8f-0a1b2c3d4e5f",
        "type": "customer_request",
    },
    wire.AddReply: {
        "message": "Phone number added to DNC successfully",
        "status": True,
        "code": 200,
        "errorMessage": "",
        "data": {"_id": "6924a1b2c3d4e5f601234568"},
    },
    wire.Done: {
        "message": "DNC record deleted successfully",
        "status": True,
        "code": 200,
        "errorMessage": "",
    },
    wire.SwitchBody: {"enable": True},
    wire.CheckManyBody: {"phoneNumbers": ["12125550123", "+44 20 7946 0123"]},
    wire.BatchBody: {"batchName": "Autumn", "callingNumbers": ["6924a1b2c3d4e5f601234569"]},
    wire.CallsBody: {
        "batchId": "6924a1b2c3d4e5f601234567",
        "call_data": [{"phoneNumber": "12125550123", "firstName": "Ada"}],
    },
    wire.ReportBody: {
        "batchId": "6924a1b2c3d4e5f601234567",
        "phoneNumber": "12125550123",
        "callStatus": "completed",
        "callDuration": 42,
    },
    wire.OrgBody: {"name": "Example Ltd", "adminEmail": "admin@example.com", "region": "US"},
    wire.OrgChangeBody: {"adminEmail": "new@example.com"},
    wire.TokenBody: {"name": "dialer", "scopes": ["dnc:read"]},
}


def _example(kind: type) -> dict[str, object]:
    return {"example": _EXAMPLES[kind]} if kind in _EXAMPLES else {}
