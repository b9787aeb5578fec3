"""OpenAPI documents, made from the routes and their models: one of all functions, and one of each alone."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from asyouwere.errors import CODES
from asyouwere.service.http.routing import Route
from asyouwere.service.openapi.examples import Example, examples
from asyouwere.service.openapi.schemas import Schemas
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.version import __version__

__all__ = ["codes_of", "document", "document_of_all", "document_text", "operation_id"]

#: Where Supabase clients look for functions.
_SERVER: Final = "/functions/v1"

#: Codes that any request can meet, those that any with values in its path can, those that any with a body can.
_ALWAYS: Final = (
    "invalid_token",
    "not_signed_in",
    "rate_limited",
    "internal",
    "database_unavailable",
    "keys_unavailable",
    "timeout",
)
_WITH_PATH: Final = ("not_found", "method_not_allowed")
_WITH_BODY: Final = (
    "unsupported_media_type",
    "body_too_large",
    "request_timeout",
    "invalid_json",
    "invalid_request",
    "number_out_of_range",
    "nesting_too_deep",
)

_DESCRIPTION: Final = """\
Sessions of AI chats and agents that pick up exactly as they were: save a state or changes to it, restore it on any \
device, merge what two devices did, go back to any version.

JSON in, JSON out. Every call carries the access token of a signed-in user. Errors are problem details (RFC 9457) \
with a stable `code`. Every response has an `X-Request-Id`, which finds it in the log."""


@functools.cache
def document_text(function: str) -> bytes:
    """The document of one function as JSON."""
    return json.dumps(document(function), ensure_ascii=False, separators=(",", ":")).encode()


def document(function: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of one function. Raises KeyError for an unknown one."""
    routes: dict[str, list[Route]] = {route.pattern or "/": [] for route in FUNCTIONS[function].routes}
    for route in FUNCTIONS[function].routes:
        routes[route.pattern or "/"].append(route)
    return _document(f"asyouwere: {function}", f"{_SERVER}/{function}", routes)


def document_of_all() -> dict[str, Any]:
    """The OpenAPI 3.1 document of all functions, as they lie side by side in a Supabase project."""
    routes: dict[str, list[Route]] = {}
    for function, table in FUNCTIONS.items():
        for route in table.routes:
            routes.setdefault(f"/{function}{route.pattern}", []).append(route)
    return _document("asyouwere", _SERVER, routes)


def operation_id(route: Route) -> str:
    """The name of an operation: saveSnapshot."""
    first, *others = route.handler.__name__.split("_")
    return first + "".join(map(str.capitalize, others))


def codes_of(route: Route) -> list[str]:
    """Every code that a route can answer with."""
    codes = [*_ALWAYS, *route.errors]
    if "{" in route.pattern:
        codes += _WITH_PATH
    if route.takes_body:
        codes += _WITH_BODY
    if route.query is not None or "{" in route.pattern:
        codes.append("invalid_request")
    if route.audience == "service":
        codes.append("forbidden")
    return list(dict.fromkeys(codes))


def _document(title: str, server: str, routes: dict[str, list[Route]]) -> dict[str, Any]:
    every = [route for at in routes.values() for route in at]
    schemas = Schemas(every)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "tags": _tags(every),
        "security": [{"bearer": []}],
        "paths": {
            path: {route.method.lower(): _operation(route, schemas) for route in at} for path, at in routes.items()
        },
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token of the signed-in user, as Supabase Auth issues it.",
                }
            },
            "headers": {"RequestId": {"description": "Finds the request in the log.", "schema": {"type": "string"}}},
            "responses": {_name(status): _refusal(status, codes) for status, codes in _by_status(_ALWAYS).items()},
            "schemas": schemas.components,
        },
    }


# -- operations ----------------------------------------------------------------------------------------------


def _tag(route: Route) -> str:
    return route.handler.__module__.rpartition(".")[2]


def _tags(routes: Iterable[Route]) -> list[dict[str, str]]:
    """The modules of the handlers: what their docstrings say after the function's name."""
    modules = {_tag(route): sys.modules[route.handler.__module__] for route in routes}
    said = {tag: (module.__doc__ or "").partition("\n")[0].partition(": ")[2] for tag, module in modules.items()}
    return [{"name": tag, "description": text[:1].upper() + text[1:]} for tag, text in said.items()]


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    name = operation_id(route)
    shown = examples(name)
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [_tag(route)],
        "summary": route.summary,
        "description": " ".join((route.handler.__doc__ or "").split()),
        "parameters": _parameters(route, schemas, shown),
    }
    if route.audience == "service":
        operation["description"] += " Only for tokens of the service role."
    if route.body is not None:
        content: dict[str, Any] = {"schema": schemas.of(route.body)}
        if shown:
            content["examples"] = {example.name: {"value": example.request} for example in shown}
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": content},
        }
    operation["responses"] = {**_successes(route, schemas, shown), **_refusals(route)}
    return operation


def _parameters(route: Route, schemas: Schemas, shown: list[Example]) -> list[dict[str, Any]]:
    numbers: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": numbers if name == "number" else {"type": "string", "format": "uuid"},
            **_example([example.path[name] for example in shown]),
        }
        for name in re.findall(r"\{(\w+)\}", route.pattern)
    ]
    if route.query is not None:
        for name, required, schema in schemas.parameters(route.query):
            sent = [example.query[name] for example in shown if name in example.query]
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": required,
                    "description": schema.pop("description", ""),
                    "schema": schema,
                    **_example(sent),
                }
            )
    if route.body is not None and "idempotency_key" in route.body.model_fields:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same as the member idempotency_key; send one of them.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    return parameters


def _example(values: list[Any]) -> dict[str, Any]:
    return {"example": values[0]} if values else {}


# -- responses -----------------------------------------------------------------------------------------------

_HEADERS: Final = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}


def _successes(route: Route, schemas: Schemas, shown: list[Example]) -> dict[str, Any]:
    found = {str(route.status): _success(route, schemas, shown, route.status)}
    if route.status_if_there is not None:
        there = _success(route, schemas, shown, route.status_if_there)
        found[str(route.status_if_there)] = {**there, "description": "It was there already."}
    return dict(sorted(found.items()))


def _success(route: Route, schemas: Schemas, shown: list[Example], status: int) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if route.response is not None:
        schema = schemas.of(route.response, "serialization")
        if route.other_responses:
            others = [schemas.of(other, "serialization") for other in route.other_responses]
            schema = {"anyOf": [schema, *others]}
        if route.or_null:
            schema = {"anyOf": [schema, {"type": "null"}]}
        content["application/json"] = {"schema": schema}
    for media_type, other in route.media_types.items():
        content[media_type] = {"schema": dict(other)}
    got = {example.name: {"value": example.response} for example in shown if example.status == status}
    if got and "application/json" in content:
        content["application/json"]["examples"] = got
    description = " ".join((route.response.__doc__ or "").split()) if route.response else "Done."
    if route.or_null:
        description += " Null: there is none."
    return {"description": description, "headers": _HEADERS, **({"content": content} if content else {})}


def _by_status(codes: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code in codes:
        found.setdefault(CODES[code].status, []).append(code)
    return dict(sorted(found.items()))


def _refusals(route: Route) -> dict[str, Any]:
    shared = _by_status(_ALWAYS)
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"}
        if shared.get(status) == codes
        else _refusal(status, codes)
        for status, codes in _by_status(codes_of(route)).items()
    }


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _refusal(status: int, codes: list[str]) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_HEADERS)
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if status in (429, 503, 504):
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
    return {
        "description": "\n".join(f"- {code}: {CODES[code].sentence}" for code in codes),
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "x-codes": codes,
    }
