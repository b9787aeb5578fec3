"""Odd requests to every route: whatever comes, the answer is documented and never a 500."""

from __future__ import annotations

import json
import os
import random
import uuid
from typing import Any

import pytest

from asyouwere.service.http.routing import Route
from asyouwere.service.routes.registry import FUNCTIONS
from tests.functions.api import Person

ROUNDS = int(os.environ.get("ASYOUWERE_FUZZ_ROUNDS", "25"))

#: JSON texts that are wrong in most places, and right in some.
ODD = [
    "null", "true", "0", "-1", "1.5", "-0", "1e400", "1e308", "2147483647", "2147483648",
    "9223372036854775808", "1" * 50, "1" * 500, '""', '"x"', r'"\u0000"', r'"\ud800"', '"🙂"',
    '"' + "y" * 3000 + '"', "[]", "{}", "[[]]", '{"":{}}', '{"a":1,"a":2}', '{"set":{}}', '{"set":{"":{}}}',
    '{"set":{"":1}}', '{"set":{"/":1}}', '{"append":{"/messages":[]}}', '{"append":{"":[1]}}',
    '{"append":{"/a/b/c/d":[1]}}', '{"remove":[""]}', '{"remove":["/"]}', '{"remove":["/messages/0"]}',
    '{"remove":["/nothing/there"]}', '{"set":{"/messages/99999999999":1}}', '{"set":{"/messages/-":1}}',
    r'{"set":{"/\u0000":1}}', '{"set":{"/~2":1}}', '{"set":[]}', '{"remove":{}}',
    '{"append":{"/messages":[1,2]},"set":{"/messages/0":9}}', '{"set":{"/messages":[1,2,{"role":[]}]}}',
    '[["/a/",0,1,null,"2026-01-01",1]]', '"merge"', '"agent"', '"2026-01-01"', "NaN", "[" * 70 + "]" * 70,
    '"00000000-0000-0000-0000-000000000000"', '"\x00"', "{", '"',
]  # fmt: skip
ODD_QUERIES = [
    "-1",
    "0",
    "1",
    "x",
    "",
    "1e3",
    "2147483648",
    "99999999999999999999",
    "%00",
    "%ff",
    "true",
    "json",
    "W10",
]
ODD_PATHS = ["0", "1", "-1", "2147483648", "x", "%00", "..", "%2F", "%F0%9F%99%82", str(uuid.UUID(int=5))]


def a_body(route: Route, session_id: str, choice: random.Random) -> bytes:
    """A body with some fields right, some odd, some missing."""
    assert route.body is not None
    good = {
        "session_id": json.dumps(session_id),
        "state": '{"messages":["a"],"n":{"m":1}}',
        "changes": '{"set":{"/n":{"x":[1]}},"append":{"/messages":["b"]},"remove":["/gone"]}',
        "messages": '["m"]',
        "number": "1",
        "label": '"l"',
        "role": '"viewer"',
        "format": '"asyouwere-session"',
        "version": "1",
        "session": "{}",
        "snapshots": "[]",
        "parts": "[]",
    }
    fields = []
    for name in [*route.body.model_fields, "unknown"]:
        if name in good and choice.random() < 0.7:
            fields.append((name, good[name]))
        elif choice.random() < 0.25:
            fields.append((name, choice.choice(ODD)))
    text = "{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}"
    if choice.random() < 0.05:
        text = choice.choice(ODD)
    return text.encode("utf-8", "surrogatepass")


ROUTES = [
    (name, route) for name, table in FUNCTIONS.items() for route in table.routes if route.pattern != "/me"
]


@pytest.mark.parametrize(
    ("function", "route"), ROUTES, ids=[f"{route.method}-{name}{route.pattern}" for name, route in ROUTES]
)
def test_odd_requests__never_break_a_route(function: str, route: Route, ada: Person, service: Person) -> None:
    choice = random.Random(f"{function} {route.method} {route.pattern}")
    who = service if route.audience == "service" else ada
    session_id = ada.session()
    ada.saved(session_id, state={"messages": ["first"], "n": 1})
    for _ in range(ROUNDS):
        values: dict[str, Any] = {"session_id": session_id, "number": "1", "user_id": str(uuid.UUID(int=5))}
        values["turn_id"] = str(uuid.UUID(int=6))
        for name in values:
            if choice.random() < 0.15:
                values[name] = choice.choice(ODD_PATHS)
        path = route.pattern.format(**values)
        if route.query is not None:
            names = [info.alias or name for name, info in route.query.model_fields.items()]
            pairs = [f"{name}={choice.choice(ODD_QUERIES)}" for name in names if choice.random() < 0.5]
            path += "?" + "&".join(pairs)
        options: dict[str, Any] = {}
        if route.body is not None:
            options = {
                "content": a_body(route, session_id, choice),
                "headers": {"Content-Type": "application/json"},
            }
        answer = who.http.request(route.method, f"/functions/v1/{function}{path}", **options)
        assert answer.status_code < 500, (path, options, answer.text)
        if route.method == "DELETE" and answer.status_code == 200 and route.pattern == "/{session_id}":
            session_id = ada.session()
