"""Fuzz: odd input for the parsers and for the functions. Whatever comes, the answer is ours: never a 500.

Parsers are called in this process and may raise nothing but our own refusals; what they take, they must give back
meaning the same. Requests go to a real server, half of them mutated from good ones. Seeded: SEED says which inputs.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from asyouwere.errors import AsYouWereError
from asyouwere.service.export import render
from asyouwere.service.handlers.cursors import unpack
from asyouwere.service.http.bodies import read_model, validated
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.state import exact_json
from asyouwere.state.addresses import check_path, path_of, pointer_of
from asyouwere.state.rows import open_changes, open_state
from asyouwere.state.tree import join, split
from tests.functions.api import BASE, serving, settings_for, token_for
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

SEED = 20_261_121
PARSED, LONG_PARSED = 20_000, 1_000_000
ASKED, LONG_ASKED = 600, 20_000

TOKENS = (
    *'{}[]:,"\\/~-+.eE0123456789 \t\n', "null", "true", "false", "NaN", '""', "[]", "{}", '{"a":1}', "\\u0000", "\\ud800",
    "\\udc00", "😀", "é", "\x00", "\x7f", "\u2028", "1e400", "1e-400", "-0", "9" * 30, "~0", "~1", "~2", "/a/b", "/messages",
    "/messages/0", '"set":', '"append":', '"remove":', '"messages":', "[" * 70, "]" * 70, "%00", "../", "\xff",
)  # fmt: skip
GOOD = (
    '{"messages":[{"role":"user","content":"hi \\n"},1,[]],"memory":{"board":{"topic":{"x":1}}},"step":1.50}',
    '{"set":{"/step":2,"/messages/0":{"a":[1]},"/memory/board":{}},"append":{"/messages":[1,{}]},"remove":["/old"]}',
    '[1,-2.5e10,"a\\u00e9\\"b",null,true,{"a":{"b":[[]]}}]',
    "/memory/a~1b/0",
    "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwiMDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAwIl0",
)
EXPORT = (
    '{"format":"asyouwere-session","version":1,"session":{"name":%s,"created_at":"2026-01-01T00:00:00+00:00"},'
    '"snapshots":[{"number":1,"label":%s}],"parts":['
)
PARTS = (
    '["/messages/",-1,1,null,"2026-01-01T00:00:00+00:00",[]]',
    '["/messages/",0,1,null,"2026-01-01T00:00:00+00:00",{"role":"user","content":%s}]',
)


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """Parsers first, then the functions."""
    outcome.short = ("parser inputs", "taken", "refused", "crashes", "requests", "answers of 500")
    outcome.figures.update(
        dict.fromkeys(("parser inputs", "taken", "refused", "crashes", "requests", "answers of 500"), 0)
    )
    outcome.facts["seed"] = str(SEED)
    choice = random.Random(SEED)
    begin = time.monotonic()
    _parsers(outcome, choice, LONG_PARSED if long else PARSED, say)
    outcome.figures["parser inputs a second"] = round(
        int(outcome.figures["parser inputs"]) / (time.monotonic() - begin)
    )
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        dsn = place.environment["ASYOUWERE_DATABASE_URL"]
        user = str(place.db.user("ada"))
        with serving(settings_for(dsn)) as url:
            begin = time.monotonic()
            _requests(outcome, choice, url, user, LONG_ASKED if long else ASKED, say)
            outcome.figures["requests a second"] = round(
                int(outcome.figures["requests"]) / (time.monotonic() - begin)
            )


def odd_text(choice: random.Random) -> str:
    """Something good with pieces changed, or nothing but pieces."""
    text = choice.choice(GOOD) if choice.random() < 0.7 else ""
    for _ in range(choice.choice((0, 1, 1, 1, 2, 3, 8))):
        at = choice.randint(0, len(text))
        gone = choice.choice((0, 0, 1, 2, len(text)))
        text = text[:at] + choice.choice(TOKENS) * choice.choice((1, 1, 1, 2)) + text[at + gone :]
    return text


def _parsers(outcome: Outcome, choice: random.Random, wanted: int, say: Say) -> None:
    parsers: dict[str, Callable[[str], None]] = {
        "exact_json.parse": _parse,
        "parts.open_state": _state,
        "parts.open_changes": lambda text: _discard(open_changes(exact_json.parse(_raw(text)))),
        "parts.addresses": _addresses,
        "cursors": lambda text: _discard(unpack(text, str, str)),
        "models": lambda text: _models(text, choice),
        "export": lambda text: _export(text, choice),
    }
    slow = {"export": 0.02}  # of its inputs only so many
    while int(outcome.figures["parser inputs"]) < wanted:
        text = odd_text(choice)
        for name, parser in parsers.items():
            if choice.random() > slow.get(name, 1):
                continue
            outcome.count("parser inputs")
            try:
                parser(text)
                outcome.count("taken")
            except AsYouWereError as refused:
                outcome.count("refused")
                if refused.status >= 500:
                    _note(outcome, "crashes", f"{name} {text!r}: {refused}")
            except Exception as exc:  # noqa: BLE001 - exactly what is looked for
                _note(outcome, "crashes", f"{name} {text!r}: {exc!r}")
        say(f"{outcome.figures['parser inputs']:,} parser inputs")


def _note(outcome: Outcome, what: str, failure: str) -> None:
    outcome.count(what)
    if len(outcome.failures) < 20:
        outcome.failures.append(failure[:600])


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _discard(_: object) -> None:
    """What it is does not matter, only that it is there."""


def _parse(text: str) -> None:
    canonical = exact_json.parse(_raw(text))
    if exact_json.parse(canonical.encode()) != canonical:
        raise AssertionError("the canonical text has another canonical text")
    if json.loads(canonical) != json.loads(text):
        raise AssertionError("it means something else")


def _state(text: str) -> None:
    canonical = exact_json.parse(_raw(text))
    open_state(canonical)
    if json.loads(join(split(canonical))) != json.loads(canonical):
        raise AssertionError("taken apart and put together it is another")


def _addresses(text: str) -> None:
    path = path_of(text)
    if pointer_of(path) != text:
        raise AssertionError("there and back it is another address")
    if path != "/" and path.count("/") <= 4:
        check_path(path)


def _models(text: str, choice: random.Random) -> None:
    routes = [route for table in FUNCTIONS.values() for route in table.routes]
    route = choice.choice([route for route in routes if route.body or route.query])
    if route.body is not None:
        read_model(route.body, bytearray(_raw(text)))
    elif route.query is not None:
        names = list(route.query.model_fields)
        validated(route.query, {choice.choice(names): text})


def _export(text: str, choice: random.Random) -> None:
    quoted = [exact_json.encode(odd_text(choice)) for _ in range(2)]
    render(EXPORT % tuple(quoted), (PARTS[0], PARTS[1] % exact_json.encode(text)), "markdown")


def _requests(outcome: Outcome, choice: random.Random, url: str, user: str, wanted: int, say: Say) -> None:
    headers = {"Authorization": f"Bearer {token_for(user)}"}
    with httpx.Client(base_url=url + BASE, headers=headers, timeout=60, trust_env=False) as client:
        session = client.post("/sessions", json={}).json()["id"]
        client.post("/session-snapshot-save", json={"session_id": session, "state": json.loads(GOOD[0])})
        places = [
            (name, route)
            for name, table in FUNCTIONS.items()
            for route in table.routes
            if route.pattern != "/me"
        ]
        for _ in range(wanted):
            name, route = choice.choice(places)
            try:
                answer = client.send(
                    client.build_request(
                        *_request(choice, name, route, session), **_options(choice, route, session)
                    )
                )
            except (httpx.InvalidURL, ValueError):
                continue  # not even a request
            outcome.count("requests")
            outcome.count(f"answers of {answer.status_code}")
            if answer.status_code >= 500:
                outcome.failures.append(
                    f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"[:600]
                )
            say(f"{outcome.figures['requests']:,} requests")
            if choice.random() < 0.01:  # what was deleted is there again
                session = client.post("/sessions", json={}).json()["id"]


def _request(choice: random.Random, name: str, route: Any, session: str) -> tuple[str, str]:
    def odd(good: str) -> str:
        return good if choice.random() < 0.8 else odd_text(choice).replace("/", "%2F").replace("?", "")

    path = route.pattern.format(
        session_id=odd(session),
        number=odd("1"),
        user_id=odd(str(uuid.uuid4())),
        turn_id=odd(str(uuid.uuid4())),
    )
    return ("GET" if route.method == "DELETE" and choice.random() < 0.9 else route.method), f"/{name}{path}"


def _options(choice: random.Random, route: Any, session: str) -> dict[str, Any]:
    options: dict[str, Any] = {"headers": {}}
    if route.query is not None:
        names = [*route.query.model_fields, "odd"]
        options["params"] = {choice.choice(names): odd_text(choice) for _ in range(choice.randint(0, 2))}
    if route.body is not None:
        fields = {}
        for name in route.body.model_fields:
            if choice.random() < 0.6:
                fields[name] = (
                    f'"{session}"'
                    if name == "session_id"
                    else choice.choice((odd_text(choice), *GOOD[:3], "1", '"x"'))
                )
        body = "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"
        if choice.random() < 0.2:
            body = odd_text(choice)
        options["content"] = _raw(body)
        options["headers"]["Content-Type"] = "application/json"
        if choice.random() < 0.2:
            key = odd_text(choice).encode("ascii", "ignore").decode()
            options["headers"]["Idempotency-Key"] = "".join(c for c in key if c.isprintable()).strip() or "k"
    return options
