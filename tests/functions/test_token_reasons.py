"""Why a token was refused: one answer for callers (test_tokens.py), the reason in the owner's log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from asyouwere.service.auth.token_errors import REASONS, TokenError
from asyouwere.service.auth.verifier import Verifier
from scripts import settings_pages
from tests.functions.api import SECRET, Person, serving, settings_for, token_for
from tests.functions.test_scheduler import legacy, oidc, verifier_for
from tests.functions.test_tokens import by_key, verifier_with
from tests.functions.test_tokens import key_server as key_server
from tests.security.bad_tokens import BAD, EC_KEY, OTHER_RSA_KEY, RSA_KEY, SUB, signed
from tests.security.key_server import KeyServer
from tests.support.database import Db
from tests.support.postgrest import running_postgrest

#: Where the reason is not malformed; every other bad token can't be read.
EXPECTED: dict[str, str] = {
    "None": "wrong_algorithm",
    "no_algorithm": "wrong_algorithm",
    "signature_cut": "bad_signature",
    "signature_of_another": "bad_signature",
    "other_secret": "bad_signature",
    "empty_secret": "bad_signature",
    "trailing_bytes": "bad_signature",
    "hs512": "wrong_algorithm",
    "rs256_by_a_stranger": "wrong_algorithm",
    "hs256_with_a_public_key": "bad_signature",
    "expired": "expired",
    "exp_is_true": "expired",
    "exp_is_negative": "expired",
    "no_exp": "missing_claim",
    "exp_is_null": "missing_claim",
    "no_aud": "missing_claim",
    "no_iss": "missing_claim",
    "no_sub": "missing_claim",
    "legacy_service_key": "missing_claim",
    "not_yet_valid": "not_yet_valid",
    "issued_in_the_future": "not_yet_valid",
    "wrong_aud": "wrong_audience",
    "aud_is_a_part": "wrong_audience",
    "aud_is_an_object": "wrong_audience",
    "wrong_iss": "wrong_issuer",
    "iss_is_a_list": "wrong_issuer",
    "sub_is_no_uuid": "wrong_subject",
    "sub_is_a_number": "wrong_subject",
    "sub_is_empty": "wrong_subject",
    "sub_has_a_newline": "wrong_subject",
    **dict.fromkeys(("no_role", "anon", "postgres", "role_is_a_list", "role_elsewhere", "service_role"), "wrong_role"),
    **dict.fromkeys(("role_twice_the_last_counts", "role_in_capitals", "role_of_the_login", "role_with_sql"), "wrong_role"),
    **dict.fromkeys(("unknown_kid", "embedded_key", "embedded_key_of_a_known_id", "key_from_elsewhere"), "wrong_algorithm"),
    **dict.fromkeys(("certificate_from_elsewhere", "certificate_in_the_header", "kid_is_a_path"), "wrong_algorithm"),
    **dict.fromkeys(("kid_is_sql", "algorithm_is_a_list", "algorithm_in_small_letters"), "wrong_algorithm"),
}


def test_log__says_why_each_token_was_refused_and_never_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_for("postgresql://nobody@127.0.0.1:1/none", request_log=True)
    sent, answers = [], []
    with serving(settings) as url:
        person = Person(url, SUB, None)
        with person.http:
            person.request("GET", "sessions")
            for name, make in BAD.items():
                sent.append(make())
                headers = {"Authorization": sent[-1].encode("latin-1"), "X-Request-Id": name}
                answers.append(person.request("GET", "sessions", headers=headers))
    log = capsys.readouterr().out
    first, *lines = [json.loads(line) for line in log.splitlines()]
    assert first["token"] == "no_token"
    assert {line["request_id"]: line["token"] for line in lines} == {
        name: EXPECTED.get(name, "malformed") for name in BAD
    }
    assert {(line["code"], line["status"], line["severity"]) for line in lines} == {("invalid_token", 401, "INFO")}
    assert len({answer.content for answer in answers}) == 1
    for token in sent:
        assert not any(len(part) > 8 and part in log for part in token.removeprefix("Bearer ").split("."))
    assert SUB not in log


def test_log__good_token__says_nothing_of_it(shared: Db, capsys: pytest.CaptureFixture[str]) -> None:
    user = str(shared.user("with a good token"))
    with serving(settings_for(shared.api_dsn, request_log=True)) as url:
        person = Person(url, user, token_for(user))
        with person.http:
            assert person.request("GET", "sessions").status_code == 200
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "token" not in line


def test_log__service_token_where_users_call__is_a_wrong_role(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(settings_for("postgresql://nobody@127.0.0.1:1/none", request_log=True)) as url:
        person = Person(url, None, token_for(SUB, role="service_role"))
        with person.http:
            assert person.request("GET", "sessions").status_code == 401
    assert json.loads(capsys.readouterr().out)["token"] == "wrong_role"


def test_log__postgrest_knows_another_secret__says_who_refused(shared: Db, capsys: pytest.CaptureFixture[str]) -> None:
    with running_postgrest(shared.api_dsn, SECRET + " but another") as postgrest:
        settings = settings_for("", database="postgrest", postgrest_url=postgrest.url, request_log=True)
        with serving(settings) as url:
            person = Person(url, SUB, token_for(SUB))
            with person.http:
                assert person.request("GET", "sessions").status_code == 401
    assert json.loads(capsys.readouterr().out)["token"] == "by_database"


async def reason(verifier: Verifier, token: str, **options: Any) -> str:
    with pytest.raises(TokenError) as refused:
        await verifier.caller(token, **options)
    return refused.value.reason


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: by_key("rsa", OTHER_RSA_KEY, "RS256"), "bad_signature"),
        (lambda: by_key("another-projects", RSA_KEY, "RS256"), "unknown_key"),
        (lambda: by_key(None, RSA_KEY, "RS256"), "unknown_key"),
        (lambda: by_key("rsa", RSA_KEY, "PS256"), "wrong_algorithm"),
        (lambda: by_key("ec", EC_KEY, "ES256", exp=1), "expired"),
        (lambda: "Bearer " + signed(), "unknown_key"),
    ],
)
async def test_public_keys__reason(key_server: KeyServer, make: Callable[[], str], expected: str) -> None:
    assert await reason(verifier_with(key_server), make()) == expected


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: oidc(aud="https://another.example"), "wrong_audience"),
        (lambda: oidc(email="another@example.org"), "wrong_account"),
        (lambda: oidc(email_verified=None), "wrong_account"),
        (lambda: oidc(kid="gone"), "unknown_key"),
        (lambda: oidc(kid=None), "unknown_key"),
        (lambda: oidc(key=SECRET, algorithm="HS256"), "wrong_algorithm"),
        (lambda: oidc(key=OTHER_RSA_KEY), "bad_signature"),
        (lambda: oidc(exp=1), "expired"),
        (lambda: legacy(role="anon"), "wrong_role"),
        (lambda: legacy(sub=SUB), "wrong_subject"),
        (lambda: legacy(secret=SECRET + "x"), "bad_signature"),
    ],
)
async def test_scheduler_and_service_key__reason(
    key_server: KeyServer, make: Callable[[], str], expected: str
) -> None:
    assert await reason(verifier_for(key_server), "Bearer " + make(), audience="service") == expected


def test_reasons__every_one_is_explained_on_the_settings_page() -> None:
    page = (settings_pages.ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert all(f"| `{word}` | {meaning} |" in page for word, meaning in REASONS.items())
    assert set(EXPECTED.values()) <= REASONS.keys()
