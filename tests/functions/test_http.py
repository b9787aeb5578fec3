"""What holds for every function: methods, media types, limits, CORS, request ids, logs, health."""

from __future__ import annotations

import json
import socket
import time
import uuid
from urllib.parse import urlsplit

import pytest

from tests.functions.api import BASE, ORIGIN, SECRET, Person, refused, serving, settings_for, token_for
from tests.support.database import Db

FUNCTIONS = ("session-snapshot-save", "session-snapshot-restore", "sessions", "cleanup-old-snapshots")
UNKNOWN = str(uuid.UUID(int=1))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_unknown_address__is_not_found(ada: Person, function: str) -> None:
    refused(ada.request("GET", function, "/no/such/place/at/all"), "not_found")
    assert ada.http.get(f"{BASE}/no-such-function").json()["code"] == "not_found"


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_method__says_which_are_right(ada: Person, function: str, method: str) -> None:
    if function == "sessions" and method == "GET":
        method = "QUERY"
    answer = ada.request(method, function)
    refused(answer, "method_not_allowed")
    expected = "GET, HEAD, OPTIONS, POST" if function == "sessions" else "OPTIONS, POST"
    assert answer.headers["allow"] == expected


def test_head__is_get_without_the_body(ada: Person) -> None:
    ada.session()
    get = ada.request("GET", "sessions")
    head = ada.request("HEAD", "sessions")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_options__without_a_preflight_names_the_methods(nobody: Person) -> None:
    answer = nobody.request("OPTIONS", "sessions", f"/{UNKNOWN}")
    assert (answer.status_code, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json",
     "application/jsonp", "application/json; charset=utf-16", "application/json5"],
)  # fmt: skip
def test_only_json(ada: Person, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    refused(
        ada.post("session-snapshot-restore", {"session_id": UNKNOWN}, headers=headers),
        "unsupported_media_type",
    )


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "APPLICATION/JSON", "application/json;"]
)
def test_json__in_all_its_spellings(ada: Person, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    refused(
        ada.post("session-snapshot-restore", {"session_id": UNKNOWN}, headers=headers), "session_not_found"
    )


def test_compressed_bodies__are_not_unpacked(ada: Person) -> None:
    answer = ada.post("sessions", b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"})
    refused(answer, "unsupported_media_type")


# -- limits --------------------------------------------------------------------------------------------


def pieces(total: int, size: int = 1 << 16):
    """A body that says nothing about its length."""
    for _ in range(total // size):
        yield b" " * size


def test_body_limit__holds_for_declared_and_undeclared_lengths(ada: Person) -> None:
    limit = 10 * 1024 * 1024
    problem = refused(ada.post("session-snapshot-save", b" " * (limit + 1)), "body_too_large")
    assert problem["limit_bytes"] == limit
    headers = {"Content-Type": "application/json"}
    chunked = ada.request("POST", "session-snapshot-save", content=pieces(limit + (1 << 17)), headers=headers)
    refused(chunked, "body_too_large")


def test_body_limit__everything_up_to_it_is_taken(ada: Person) -> None:
    session_id = ada.session()
    head, tail = f'{{"session_id":"{session_id}","state":{{"messages":["', '"]}}'
    room = 10 * 1024 * 1024 - len(head) - len(tail)
    words = ("four score and seven years ago " * (room // 31 + 1))[:room]
    body = (head + words + tail).encode()
    assert len(body) == 10 * 1024 * 1024
    saved = ada.post("session-snapshot-save", body)
    assert saved.status_code == 200, saved.text
    assert ada.state(session_id) == {"messages": [words]}
    refused(ada.post("session-snapshot-save", body + b" "), "body_too_large")


def test_body_limit__a_flood_is_not_collected(ada: Person) -> None:
    headers = {"Content-Type": "application/json"}
    answer = ada.request("POST", "session-snapshot-save", content=pieces(200 << 20, 1 << 20), headers=headers)
    refused(answer, "body_too_large")


def test_slow_body__is_given_up(shared: Db) -> None:
    with serving(settings_for(shared.api_dsn, body_timeout_seconds=0.5)) as base_url:
        address = urlsplit(base_url)
        assert address.hostname
        assert address.port
        with socket.create_connection((address.hostname, address.port), timeout=20) as line:
            token = token_for(str(shared.user("slow")))
            line.sendall(
                f"POST {BASE}/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
            )
            started = time.monotonic()
            answer = line.recv(4096).decode()
        assert answer.startswith("HTTP/1.1 408 ")
        assert time.monotonic() - started < 5


# -- CORS ----------------------------------------------------------------------------------------------


def test_preflight__of_a_listed_origin(nobody: Person) -> None:
    answer = nobody.request(
        "OPTIONS",
        "session-snapshot-save",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    for header in (
        "authorization",
        "content-type",
        "idempotency-key",
        "apikey",
        "x-client-info",
        "x-request-id",
        "x-region",
    ):
        assert header in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://app.example", "https://app.example:8443", "https://app.example.evil.example",
     "https://APP.example", "https://app.example/"],
)  # fmt: skip
def test_cors__no_other_origin(ada: Person, origin: str) -> None:
    preflight = ada.request(
        "OPTIONS", "sessions", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    actual = ada.request("GET", "sessions", headers={"Origin": origin})
    for answer in (preflight, actual):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Origin" in answer.headers["vary"]


def test_cors__answers_and_refusals_of_a_listed_origin_can_be_read(ada: Person, nobody: Person) -> None:
    for answer in (
        ada.request("GET", "sessions", headers={"Origin": ORIGIN}),
        nobody.request("GET", "sessions", headers={"Origin": ORIGIN}),
        ada.post("session-snapshot-save", "{", headers={"Origin": ORIGIN}),
    ):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


# -- ids and logs --------------------------------------------------------------------------------------


def test_request_id__is_kept_if_sane_and_made_if_not(ada: Person) -> None:
    given = ada.request("GET", "sessions", headers={"X-Request-Id": "trace-1.a_B"})
    assert given.headers["x-request-id"] == "trace-1.a_B"
    for odd in ("a b", "x" * 65, '{"a":1}', ""):
        answer = ada.request("GET", "sessions", headers={"X-Request-Id": odd})
        assert answer.headers["x-request-id"] != odd
    first, second = (ada.request("GET", "sessions").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_answers__are_for_no_cache(ada: Person, nobody: Person) -> None:
    for answer in (ada.request("GET", "sessions"), nobody.request("GET", "sessions")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_log__one_line_a_request_without_content(shared: Db, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(settings_for(shared.api_dsn, request_log=True)) as base_url:
        user = str(shared.user("logged"))
        token = token_for(user)
        ada = Person(base_url, user, token)
        with ada.http:
            session_id = ada.session(name="planted-name", key="planted-key-1")
            ada.saved(session_id, state={"planted-member": "planted-text"}, idempotency_key="planted-key-2")
            ada.save(session_id, changes={"set": {"/planted-member/x/y": "planted-text"}})
            ada.save_text(session_id, '{"planted-member":planted}')
            ada.save(session_id, state={}, planted_field="planted-text")
            ada.request("GET", "sessions", "?search=planted-search")
            ada.post(
                "session-snapshot-restore", {"session_id": session_id}, headers={"X-Request-Id": "find-me"}
            )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 7
    assert [line["status"] for line in lines] == [201, 200, 422, 422, 422, 200, 200]
    assert [line.get("code") for line in lines[2:5]] == [
        "address_below_part",
        "invalid_json",
        "invalid_request",
    ]
    assert all(line["bytes_in"] > 0 for line in lines if line["method"] == "POST")
    # infra/ counts the snapshots over 1 MB by this field.
    assert [line["message"] for line in lines if "snapshot_bytes" in line] == ["request"]
    assert lines[1]["snapshot_bytes"] > 0
    last = lines[-1]
    assert (last["function"], last["method"], last["request_id"]) == (
        "session-snapshot-restore",
        "POST",
        "find-me",
    )
    assert last["bytes_out"] > last["bytes_in"] > 0
    assert last["ms"] > 0
    text = json.dumps(lines)
    for secret in ("planted", token, token.split(".")[2], SECRET):
        assert secret not in text


def test_log__of_an_unexpected_error_names_the_place_but_quotes_nothing(
    shared: Db, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from asyouwere.service.database.direct import DirectDatabase

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted-message")

    monkeypatch.setattr(DirectDatabase, "rows", broken)
    with serving(settings_for(shared.api_dsn)) as base_url:
        user = str(shared.user("logged"))
        ada = Person(base_url, user, token_for(user))
        with ada.http:
            problem = refused(ada.request("GET", "sessions"), "internal")
    assert "planted" not in json.dumps(problem)
    out = capsys.readouterr().out
    assert "planted" not in out
    failure = json.loads(out.splitlines()[0])
    assert failure["severity"] == "ERROR"
    assert failure["chain"][0]["error"] == "builtins.RuntimeError"
    assert failure["chain"][0]["at"].startswith("test_http.py:")


# -- health --------------------------------------------------------------------------------------------


def test_health__the_process_and_the_database(nobody: Person) -> None:
    assert nobody.http.get("/healthz").json() == {"status": "ok"}
    assert nobody.http.get("/readyz").json() == {"status": "ok"}


def test_health__alive_but_not_ready_without_a_database() -> None:
    settings = settings_for("postgresql://nobody@127.0.0.1:1/nowhere", pool_timeout_seconds=1)
    with serving(settings) as base_url:
        nobody = Person(base_url, None, None)
        with nobody.http:
            assert nobody.http.get("/healthz").status_code == 200
            answer = nobody.http.get("/readyz")
    assert refused(answer, "database_unavailable")["status"] == 503
    assert int(answer.headers["retry-after"]) > 0
