"""The examples of the document: each is sent to the functions as it stands, and what comes back is what it says."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from asyouwere.service.openapi import document_of_all
from asyouwere.service.openapi.examples import story
from tests.functions.api import BASE, serving, settings_for, token_for
from tests.support.database import Db

DOCUMENT = document_of_all()
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
#: Those of the first requests of the story, and of people: always the same.
FIXED = ("0192f0c1-2a00-7000-8000-00000000c0de",)


def test_examples__there_is_one_of_every_operation() -> None:
    assert {example.operation for example in story()} == set(OPERATIONS)
    names = [(example.operation, example.name) for example in story()]
    assert len(set(names)) == len(names)


def test_examples__are_in_the_document_and_fit_its_schemas() -> None:
    for name, (_, _, operation) in OPERATIONS.items():
        shown = [example for example in story() if example.operation == name]
        for example in shown:
            if example.request is not None:
                content = operation["requestBody"]["content"]["application/json"]
                assert content["examples"][example.name] == {"value": example.request}
                check(content["schema"], example.request)
            response = operation["responses"][str(example.status)]
            if example.response is not None:
                content = response["content"]["application/json"]
                assert content["examples"][example.name] == {"value": example.response}
                check(content["schema"], example.response)
            else:
                assert "content" not in response
        for parameter in operation["parameters"]:
            if parameter["required"]:
                check(parameter["schema"], parameter["example"])


def test_examples__are_what_the_functions_do(db: Db) -> None:
    people = {name: token_for(str(db.user(name))) for name in ("ada", "bob")}
    people["guest"] = token_for(str(db.user("guest")), is_anonymous=True)
    people["service"] = token_for("scheduler", "service_role")
    with serving(settings_for(db.api_dsn)) as url, httpx.Client(base_url=url + BASE, trust_env=False) as client:
        code = None
        ids: dict[str, str] = {}  # of what the story made, as the document shows them: as they are this time
        for example in story():
            method, path, _ = OPERATIONS[example.operation]
            # a code is good once and another one each time: sent is the one that was given
            request = {"code": code} if example.operation == "claimSessions" else example.request
            if isinstance(request, dict) and request.get("session_id") in ids:
                request = {**request, "session_id": ids[request["session_id"]]}
            response = client.request(
                method,
                path.format(**{name: ids.get(str(value), value) for name, value in example.path.items()}),
                params=dict(example.query),
                content=None if request is None else json.dumps(request),
                headers={
                    "Authorization": f"Bearer {people[example.by]}",
                    "Content-Type": "application/json",
                },
            )
            said = f"{example.operation}, {example.name}: {response.text}"
            assert response.status_code == example.status, said
            got = response.json() if response.content else None
            code = got.get("code") if isinstance(got, dict) else None
            assert comparable(got) == comparable(example.response), said
            if isinstance(got, dict) and isinstance(got.get("id"), str):
                ids[example.response["id"]] = got["id"]


@pytest.mark.parametrize("wrong", [{"name": 7}, {"status": "expired"}, {"archived": None}, {"nickname": "x"}, {}])
def test_check__notices(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check({"$ref": "#/components/schemas/UpdateSession"}, wrong)


def check(schema: dict[str, Any], value: Any) -> None:
    """The value must fit the schema."""
    validator = Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert problems == []


def comparable(value: Any, name: str = "") -> Any:
    """The value without what is another one each time: times, cursors, ids that the database makes."""
    if isinstance(value, dict):
        return {key: comparable(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [comparable(inner, name) for inner in value]
    if not isinstance(value, str):
        return value
    if name in ("next", "code", "day", "since") or re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|\+00|Z)", value):
        return f"another {name}"
    if name in ("id", "origin_id") and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value) and value not in FIXED:
        return "another id"
    return value
