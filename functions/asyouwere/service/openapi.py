"""The OpenAPI document of a function, made from its routes and its models."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from asyouwere.errors import CODES
from asyouwere.service.http.responses import PROBLEM_TYPE
from asyouwere.service.http.routing import Route
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.version import __version__

__all__ = ["document", "document_text"]

_REF: Final = "#/components/schemas/{model}"

#: Codes that any request can meet, and those that any request with a body can.
_ALWAYS: Final = (
    "invalid_token",
    "not_signed_in",
    "not_found",
    "method_not_allowed",
    "rate_limited",
    "internal",
    "database_unavailable",
    "keys_unavailable",
    "timeout",
)
_WITH_BODY: Final = (
    "unsupported_media_type",
    "body_too_large",
    "request_timeout",
    "invalid_json",
    "invalid_request",
    "number_out_of_range",
    "nesting_too_deep",
)


@functools.cache
def document_text(function: str) -> bytes:
    """The document of one function as JSON."""
    return json.dumps(document(function), ensure_ascii=False, separators=(",", ":")).encode()


def document(function: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of one function. Raises KeyError for an unknown one."""
    routes = FUNCTIONS[function].routes
    schemas, definitions = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.pattern or "/", {})[route.method.lower()] = _operation(
            function, route, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"asyouwere: {function}",
            "version": __version__,
            "description": "Sessions that pick up where they left off. JSON in, JSON out; errors are "
            "problem details (RFC 9457) with a stable member 'code'. Every answer carries X-Request-Id.",
        },
        "servers": [{"url": f"/functions/v1/{function}"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {**definitions, "Problem": _problem_schema()},
        },
    }


def _schemas(routes: Iterable[Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], Literal["validation", "serialization"]], None] = {}
    for route in routes:
        if route.body is not None:
            wanted[route.body, "validation"] = None
        if route.query is not None:
            wanted[route.query, "validation"] = None
        for model in (route.answer, route.other_answer):
            if model is not None:
                wanted[model, "serialization"] = None
    schemas, top = models_json_schema(list(wanted), ref_template=_REF)
    return schemas, top.get("$defs", {})


def _operation(function: str, route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    name = route.handler.__name__
    operation: dict[str, Any] = {
        "operationId": f"{function.replace('-', '_')}_{name}",
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {
            **{str(status): _success(route, schemas) for status in (route.status_if_there, route.status) if status},
            **_refusals(route),
        },
    }
    if route.audience == "service":
        operation["description"] += " Only for tokens of the service role."
    if route.body is not None:
        operation["requestBody"] = {
            "required": any(info.is_required() for info in route.body.model_fields.values()),
            "content": {"application/json": {"schema": schemas[route.body, "validation"]}},
        }
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    kinds: dict[str, dict[str, Any]] = {"number": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": kinds.get(name, {"type": "string", "format": "uuid"}),
        }
        for name in re.findall(r"\{(\w+)\}", route.pattern)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema()
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": part.pop("description", ""),
            "schema": part,
        }
        for name, part in schema["properties"].items()
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    headers: list[dict[str, Any]] = [
        {
            "name": "X-Request-Id",
            "description": "Up to 64 of A-Z a-z 0-9 . _ - come back in the answer; all else is replaced.",
            "schema": {"type": "string"},
        }
    ]
    if route.body is not None and "idempotency_key" in route.body.model_fields:
        headers.append(
            {"name": "Idempotency-Key", "schema": {"type": "string", "minLength": 1, "maxLength": 255}}
        )
    return [{"in": "header", "required": False, **header} for header in headers]


def _success(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if route.answer is not None:
        schema = schemas[route.answer, "serialization"]
        if route.other_answer is not None:
            schema = {"anyOf": [schema, schemas[route.other_answer, "serialization"]]}
        content["application/json"] = {"schema": schema}
    for media_type, meaning in route.answers_with.items():
        content[media_type] = {"schema": {"description": meaning}}
    return {"description": "Done.", "headers": _ANSWER_HEADERS, **({"content": content} if content else {})}


_ANSWER_HEADERS: Final = {"X-Request-Id": {"schema": {"type": "string"}}}


def codes_of(route: Route) -> list[str]:
    """Every code that a route can answer with."""
    codes = [*_ALWAYS, *route.errors]
    if route.takes_body:
        codes += _WITH_BODY
    if route.query is not None or "{" in route.pattern:
        codes.append("invalid_request")
    if route.audience == "service":
        codes.append("forbidden")
    return list(dict.fromkeys(codes))


def _refusals(route: Route) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes_of(route):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {str(status): _refusal(codes) for status, codes in sorted(by_status.items())}


def _refusal(codes: list[str]) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_ANSWER_HEADERS)
    status = CODES[codes[0]].status
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"const": "Bearer"}}
    if status in (429, 503, 504):
        headers["Retry-After"] = {"schema": {"type": "integer"}}
    return {
        "description": "; ".join(f"{code}: {CODES[code].sentence}" for code in codes),
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"properties": {"code": {"enum": codes}, "status": {"const": status}}},
                    ]
                }
            }
        },
    }


def _problem_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "RFC 9457. Further members depend on the code, such as 'addresses' of a conflict.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "pattern": f"^{PROBLEM_TYPE}[a-z_]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"enum": sorted(CODES)},
        },
    }
