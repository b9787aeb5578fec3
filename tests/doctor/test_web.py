"""asyouwere doctor over HTTP: keys, the REST API of a real PostgREST, the functions."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from unittest import mock

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from asyouwere.local.doctor.finding import Finding
from asyouwere.local.doctor.web import CLEAN_UP, FUNCTIONS, check_functions, check_keys, check_rest
from asyouwere.service.app import Service
from asyouwere.service.settings import Settings
from tests.functions.api import BASE, SECRET, serving, serving_app, settings_for
from tests.supabase.project import project
from tests.support.database import Db
from tests.support.postgrest import running_postgrest

EC = {"kid": "a", "kty": "EC", "alg": "ES256", "x": "1", "y": "2"}
RANDOM = "q8Zx2LhT7vN4wKcR1sYpB6mD9fGjE3uA"


def keys(environ: dict[str, str], url: str | None = None) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_keys(environ, url)}


@pytest.mark.parametrize(
    ("secret", "level", "says"),
    [
        (RANDOM, "ok", "shared secret"),
        ("tiny", "fail", "too short"),
        ("super-secret-jwt-token-with-at-least-32-characters-long", "fail", "guessed"),
        ("a" * 64, "fail", "guessed"),
    ],
)
def test_keys__shared_secret(secret: str, level: str, says: str) -> None:
    finding = keys({"ASYOUWERE_JWT_SECRET": secret})["keys"]
    assert (finding.level, says in finding.message) == (level, True)
    assert secret not in str(finding)


@pytest.mark.parametrize(
    ("document", "status", "level", "says"),
    [
        ({"keys": [EC]}, 200, "ok", "1 public key(s): ES256"),
        ({"keys": []}, 200, "fail", "no public key"),
        ({"keys": [{**EC, "d": "private"}]}, 200, "fail", "private keys"),
        ({"keys": [{"kty": "oct", "k": "secret", "kid": "b"}]}, 200, "fail", "private keys"),
        ({"keys": [{"kty": "EC"}]}, 200, "fail", "no public key"),
        ({"nokeys": 1}, 200, "fail", "no key set"),
        ("<html>", 200, "fail", "no key set"),
        ({}, 404, "fail", "status 404"),
    ],
)
def test_keys__key_set(document: object, status: int, level: str, says: str) -> None:
    with project(None, document, keys_status=status) as url:
        finding = keys({}, url)["keys"]
    assert (finding.level, says in finding.message) == (level, True), finding


def test_keys__nobody_at_the_address() -> None:
    finding = keys({"ASYOUWERE_JWKS_URL": "http://127.0.0.1:1/keys"})["keys"]
    assert (finding.level, finding.message) == ("fail", "the public keys can't be fetched: connection refused")


def test_keys__an_issuer_of_another_project() -> None:
    environ = {"ASYOUWERE_JWT_SECRET": RANDOM, "ASYOUWERE_JWT_ISSUER": "https://other.supabase.co/auth/v1"}
    assert keys(environ, "https://one.supabase.co")["issuer"].level == "warn"
    assert "issuer" not in keys(environ, "https://other.supabase.co/")


# -- the REST API ------------------------------------------------------------------------------------------------


def rest(url: str) -> Finding:
    (finding,) = check_rest(url, None)
    return finding


def test_rest__serves_public_and_not_asyouwere(db: Db) -> None:
    with running_postgrest(db.api_dsn, SECRET) as postgrest, project(postgrest.url) as url:
        assert rest(url).level == "ok"


def test_rest__exposes_the_private_schema(db: Db) -> None:
    with running_postgrest(db.api_dsn, SECRET, schemas="public, asyouwere") as postgrest, project(postgrest.url) as url:
        assert (rest(url).level, rest(url).message) == ("fail", "the API exposes the schema asyouwere")


def test_rest__without_the_tables(db: Db) -> None:
    db.superuser.execute("alter table public.free_agent_sessions rename to elsewhere")
    with running_postgrest(db.api_dsn, SECRET) as postgrest, project(postgrest.url) as url:
        assert (rest(url).level, rest(url).message) == ("fail", "the API does not serve free_agent_sessions: status 404")


def test_rest__wants_a_key__is_not_looked_at_without_one_and_wrong_with_another(db: Db) -> None:
    with running_postgrest(db.api_dsn, SECRET) as postgrest, project(postgrest.url, rest_key="the key") as url:
        assert (rest(url).level, "not looked at" in rest(url).message) == ("skip", True)
        assert [finding.level for finding in check_rest(url, "another")] == ["fail"]
        assert [finding.level for finding in check_rest(url, "the key")] == ["ok"]


def test_rest__nobody_at_the_address() -> None:
    assert rest("http://127.0.0.1:1").message == "the API can't be asked: connection refused"


def test_rest__at_an_address_that_is_something_else() -> None:
    # the dashboard's page, a project's address with more after it, somebody else's API
    for status, body in ((200, "<html>"), (404, "<html>"), (404, '{"message":"no Route matched"}'), (200, '{"a":1}')):
        with project(None, rest_status=status, rest_body=body) as url:
            finding = rest(url)
        assert (finding.level, finding.message) == ("fail", f"what is at --supabase-url is no Supabase API: status {status}")


# -- the functions -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def functions_url() -> Iterator[str]:
    with serving(settings_for("postgresql://nobody@127.0.0.1:1/none")) as base:  # none of this gets to a database
        yield base + BASE


def test_functions__answer_and_refuse_without_a_token(functions_url: str) -> None:
    found = {finding.check: finding for finding in check_functions(functions_url)}
    assert {check: finding.level for check, finding in found.items()} == dict.fromkeys(FUNCTIONS, "ok"), found


def behind_a_domain(settings: Settings) -> ASGIApp:
    """As the load balancer of infra/ picks a function by the path: each public one by its own, `sessions` for any other."""
    service = Service(settings)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            name = scope["path"].removeprefix(BASE + "/").partition("/")[0]
            name = name if name in FUNCTIONS and name != CLEAN_UP else "sessions"
            response = await service.respond(name, Request(scope, receive))
            await response(scope, receive, send)

    return app


def test_functions__behind_a_domain_nobody_reaches_the_clean_up() -> None:
    with serving_app(behind_a_domain(settings_for("postgresql://nobody@127.0.0.1:1/none"))) as url:
        found = {finding.check: finding.level for finding in check_functions(url + BASE)}
        assert found == {**dict.fromkeys(FUNCTIONS, "ok"), CLEAN_UP: "skip"}
        # an address at which there is nothing else either is a wrong one
        assert {finding.level for finding in check_functions(url + "/wrong")} == {"fail"}


def answering(status: int, body: str) -> ASGIApp:
    """The same answer to whatever is asked."""
    response = Response(body, status, {"content-type": "text/html"})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await response(scope, receive, send)

    return app


@pytest.mark.parametrize("status", [401, 403])
def test_functions__that_the_platform_lets_nobody_call(status: int) -> None:
    with serving_app(answering(status, "<html>Forbidden")) as url:
        found = {finding.check: finding for finding in check_functions(url)}
    assert found.pop(CLEAN_UP).level == "ok"
    assert {(finding.level, "allUsers" in finding.advice) for finding in found.values()} == {("fail", True)}


def test_functions__at_an_address_that_is_something_else() -> None:
    with serving_app(answering(200, "<html>A page for every path")) as url:
        assert {finding.message for finding in check_functions(url)} == {"something else answers there"}


def test_functions__of_another_version(functions_url: str) -> None:
    with mock.patch("asyouwere.version.__version__", "9.9.9"):
        assert {finding.level for finding in check_functions(functions_url)} == {"warn"}


def test_functions__not_there(functions_url: str) -> None:
    assert {finding.message for finding in check_functions(functions_url + "/wrong")} == {"status 404"}
    assert {finding.message for finding in check_functions("http://127.0.0.1:1")} == {"connection refused"}
    assert {finding.message for finding in check_functions("https://no.such.host.invalid")} == {"there is no host of that name"}
    assert {finding.message for finding in check_functions("ftp://127.0.0.1")} == {"that is no http address"}
    https = functions_url.replace("http://", "https://")
    assert {finding.message for finding in check_functions(https)} == {"it does not speak TLS; http:// instead of https://?"}


@contextlib.contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """Somebody who takes connections and answers once all four functions are asked for; never without an answer."""
    together = threading.Barrier(len(FUNCTIONS))
    opened: list[socket.socket] = []

    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(20)
            if answer:
                peer.sendall(answer)

    def accept(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                opened.append(server.accept()[0])
                threading.Thread(target=serve, args=(opened[-1],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for peer in opened:
        peer.close()


def test_functions__that_hang_are_said_to() -> None:
    with mock.patch("asyouwere.local.doctor.connecting.CONNECT_SECONDS", 0.5), listening(b"") as url:
        found = list(check_functions(url))
    assert [finding.check for finding in found] == list(FUNCTIONS)
    said = {(finding.level, "hangs" in finding.message, "deploy" in finding.advice) for finding in found}
    assert said == {("fail", True, False)}


def test_functions__are_asked_all_at_once() -> None:
    with listening(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as url:
        found = list(check_functions(url))
    assert {(finding.message, "fails" in finding.advice) for finding in found} == {("status 503", True)}
