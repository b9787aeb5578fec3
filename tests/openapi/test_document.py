"""spec/openapi.json: valid, made from the routes, and fit for generators of clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from asyouwere.errors import CODES
from asyouwere.service.openapi import document, document_of_all
from asyouwere.service.openapi.components import PROBLEM_MEMBERS
from asyouwere.service.routes.registry import FUNCTIONS

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "spec" / "openapi.json").read_text())


def operations() -> Iterator[dict[str, Any]]:
    for methods in DOCUMENT["paths"].values():
        yield from methods.values()


def within(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a value; examples are no part of it."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in ("example", "examples"):
                yield from within(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from within(inner)


def test_spec__is_valid_and_up_to_date() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert document_of_all() == DOCUMENT, "run `make generate` and commit what it wrote"


def test_spec__has_every_operation_of_every_function() -> None:
    assert {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods} == {
        (route.method.lower(), f"/{function}{route.pattern}")
        for function, table in FUNCTIONS.items()
        for route in table.routes
    }
    names = [operation["operationId"] for operation in operations()]
    assert len(set(names)) == len(names)
    assert {"saveSnapshot", "restoreSnapshot", "createSession", "updateSession"} < set(names)


def test_spec__each_function_has_the_same_part() -> None:
    for function in FUNCTIONS:
        for path, methods in document(function)["paths"].items():
            assert methods == DOCUMENT["paths"][f"/{function}{path}".rstrip("/")]


def test_spec__says_something_about_everything() -> None:
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    for operation in operations():
        assert operation["summary"], operation
        assert operation["description"], operation
        assert set(operation["tags"]) <= tags


def test_spec__nothing_that_may_be_left_out_has_a_default() -> None:
    with_default = [schema for schema in within(DOCUMENT["components"]["schemas"]) if "default" in schema]
    for operation in operations():
        with_default += [schema for schema in within(operation["parameters"]) if "default" in schema]
    assert with_default == []
    update = DOCUMENT["components"]["schemas"]["UpdateSession"]
    assert "required" not in update
    assert "By default" not in json.dumps([field.get("description", "") for name, field in update["properties"].items()
                                           if name != "archived"])  # fmt: skip


def test_spec__every_error_is_a_plain_problem() -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    count = 0
    for operation in operations():
        for status, response in operation["responses"].items():
            if "$ref" in response:
                response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
            if status >= "400":
                count += 1
                assert response["content"] == problem
                assert {CODES[code].status for code in response["x-codes"]} == {int(status)}
    assert count > 200


def test_problem__has_the_members_of_every_code() -> None:
    named = {name for entry in CODES.values() for name in entry.detail}
    assert named == set(PROBLEM_MEMBERS)
    described = DOCUMENT["components"]["schemas"]["Problem"]["properties"]
    for code, entry in CODES.items():
        for name in entry.detail:
            assert code in described[name]["description"]
    assert DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"] == sorted(CODES)


def test_content__has_types() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for model, member, name in (
        ("Restored", "state", "State"),
        ("SaveRequest", "changes", "Changes"),
        ("Saved", "others", "Delta"),
        ("Saved", "existing", "JsonObject"),
        ("ChangesSince", "changes", "Delta"),
        ("Session", "metadata", "JsonObject"),
    ):
        assert f"#/components/schemas/{name}" in json.dumps(schemas[model]["properties"][member])
