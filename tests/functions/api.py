"""A server for the tests, people who call it, and the check of every answer against the OpenAPI document."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import uvicorn
from jsonschema import Draft202012Validator
from starlette.types import ASGIApp

from asyouwere.errors import CODES
from asyouwere.local.functions_app import create_app
from asyouwere.service.openapi import document
from asyouwere.service.settings import Settings
from tests.functions.image import ROOT, clean_up_url, serving_image

SECRET = "a secret that only the tests know, long enough for HS256"
ISSUER = "https://tests.example/auth/v1"
ORIGIN = "https://app.example"
BASE = "/functions/v1"
CLEAN_UP = "cleanup-old-snapshots"


def settings_for(database_url: str, **changes: Any) -> Settings:
    """Settings of a test server; the request log is off, as nobody reads it."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "jwt_secret": SECRET,
        "jwt_issuer": ISSUER,
        "allowed_origins": frozenset({ORIGIN}),
        "request_log": False,
        **changes,
    }
    return Settings(**values)


@contextlib.contextmanager
def serving(settings: Settings, page: Path | None = None) -> Iterator[str]:
    """The functions (and a built page) on a free port, in a thread of this process; its base URL. With
    ASYOUWERE_TEST_ROOT as the container image runs them (image.py)."""
    with serving_image(settings) if ROOT and page is None else serving_app(create_app(settings, page)) as url:
        yield url


@contextlib.contextmanager
def serving_app(app: ASGIApp) -> Iterator[str]:
    """Any app in that way."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def token_for(user_id: str | None, role: str = "authenticated", **changes: Any) -> str:
    """A good token, or one changed: a claim given as None is left out."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": user_id,
        "role": role,
        "iat": now,
        "exp": now + 3600,
        **changes,
    }
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET, "HS256")


class Person:
    """Somebody with a token (or none) who calls the functions. Every answer is held against the document."""

    def __init__(self, url: str, user_id: str | None, token: str | None) -> None:
        self.id = user_id
        self.token = token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)

    def request(self, method: str, function: str, path: str = "", **options: Any) -> httpx.Response:
        """One request; path is what comes below the function."""
        apart = clean_up_url(str(self.http.base_url)) if function == CLEAN_UP else None
        answer = self.http.request(method, f"{apart or ''}{BASE}/{function}{path}", **options)
        check_documented(function, method, path, answer)
        return answer

    def share(self, session_id: str, member: Person, role: str = "editor") -> None:
        """Invite somebody, who accepts."""
        self.request("PUT", "sessions", f"/{session_id}/members/{member.id}", json={"role": role})
        assert member.request("POST", "sessions", f"/{session_id}/invitation").status_code == 200

    def post(self, function: str, body: Any, path: str = "", **options: Any) -> httpx.Response:
        """POST a value, or JSON text as it is (str or bytes)."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.request("POST", function, path, content=text, headers=headers, **options)

    # -- what most tests need ------------------------------------------------------------------------

    def session(self, **fields: Any) -> str:
        """A new session's id."""
        answer = self.post("sessions", fields)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def save(self, session_id: str, **fields: Any) -> httpx.Response:
        """Save: state=…, or changes=… and base=…."""
        return self.post("session-snapshot-save", {"session_id": session_id, **fields})

    def saved(self, session_id: str, **fields: Any) -> dict[str, Any]:
        """Save what must be accepted; the answer."""
        answer = self.save(session_id, **fields)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def save_text(self, session_id: str, state: str, extra: str = "") -> httpx.Response:
        """Save a state given as JSON text, to fix every character."""
        return self.post("session-snapshot-save", f'{{"session_id":"{session_id}","state":{state}{extra}}}')

    def restore(self, session_id: str, **fields: Any) -> httpx.Response:
        """Restore the latest, number=…, label=… or the changes since=…."""
        return self.post("session-snapshot-restore", {"session_id": session_id, **fields})

    def state(self, session_id: str, **fields: Any) -> Any:
        """The restored state as a value."""
        answer = self.restore(session_id, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["state"]

    def state_text(self, session_id: str, **fields: Any) -> str:
        """The restored state as the text it came as."""
        answer = self.restore(session_id, **fields)
        assert answer.status_code == 200, answer.text
        start = answer.text.index(',"state":') + len(',"state":')
        return answer.text[start:-1]

    def get(self, path: str, **query: Any) -> Any:
        """GET from the function sessions what must be there."""
        answer = self.request("GET", "sessions", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


def refused(answer: httpx.Response, code: str) -> dict[str, Any]:
    """The problem, which must be of this code."""
    problem = answer.json()
    assert problem.get("code") == code, f"{answer.status_code} {answer.text[:500]}"
    assert problem["status"] == answer.status_code
    return dict(problem)


# -- the document ------------------------------------------------------------------------------------


@functools.cache
def documented(function: str) -> dict[str, Any]:
    """The OpenAPI document of a function."""
    return document(function)


@functools.cache
def operation_at(function: str, method: str, path: str) -> dict[str, Any] | None:
    """What the document says about a method at a path; fixed paths win over patterns."""
    paths = documented(function)["paths"]
    for pattern in sorted(paths, key=lambda pattern: pattern.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path or "/"):
            operation = paths[pattern].get(method.lower())
            return operation if operation is None else dict(operation)
    return None


def documented_response(function: str, method: str, path: str, status: str) -> dict[str, Any]:
    """What the document says about one status of an operation."""
    operation = operation_at(function, method, path)
    assert operation is not None
    response = operation["responses"][status]
    if "$ref" in response:
        response = documented(function)["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return dict(response)


@functools.cache
def validator(function: str, method: str, path: str, status: str, media_type: str) -> Draft202012Validator:
    """The schema of one answer."""
    content = documented_response(function, method, path, status)["content"]
    assert media_type in content, f"{media_type} of {method} {function}{path} {status} is not documented"
    return Draft202012Validator(
        {**content[media_type]["schema"], "components": documented(function)["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def check_documented(function: str, method: str, path: str, answer: httpx.Response) -> None:
    """The answer must be one that the document describes, down to every field and code."""
    path = path.partition("?")[0]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
    if function not in (
        "sessions",
        "session-snapshot-save",
        "session-snapshot-restore",
        "cleanup-old-snapshots",
    ):
        return
    operation = operation_at(function, method, path)
    if operation is None:  # not an operation, so only general errors may come
        assert (
            answer.status_code in (204, 404, 405) or path == "/openapi.json" or method in ("HEAD", "OPTIONS")
        )
        return
    status = str(answer.status_code)
    assert status in operation["responses"], (
        f"{status} of {method} {function}{path} is not documented: {answer.text}"
    )
    if status == "204":
        assert answer.content == b""
        return
    media_type = answer.headers["content-type"]
    if "json" in media_type:
        validator(function, method, path, status, media_type).validate(answer.json())
        if media_type == "application/problem+json":
            check_problem(documented_response(function, method, path, status)["x-codes"], answer.json())
    else:
        assert media_type in operation["responses"][status]["content"]


def check_problem(codes: list[str], problem: dict[str, Any]) -> None:
    """The code must be one that is documented there, and the members be those of the code."""
    code = problem["code"]
    assert code in codes, f"{code} is not documented"
    usual = {"type", "title", "status", "detail", "code"}
    assert problem.keys() - usual <= set(CODES[code].detail), problem
