"""Who gets in: every bad token gets the same 401; good ones by shared secret and by public key."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest

from asyouwere.errors import Unauthorized, Unavailable
from asyouwere.service.auth import public_keys as keys
from asyouwere.service.auth import verifier as auth
from asyouwere.service.auth.verifier import Verifier
from asyouwere.service.settings import Settings
from tests.functions.api import ISSUER, SECRET, Person, settings_for, token_for
from tests.security.bad_tokens import (
    BAD,
    EC_KEY,
    HS256,
    OTHER_RSA_KEY,
    PUBLIC_PEM,
    RSA_KEY,
    SUB,
    claims,
    encoded,
    signed,
    signed_by_hand,
    unsigned,
)
from tests.security.key_server import MISBEHAVIOURS, KeyServer
from tests.support.database import Db


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_bad_token__is_refused_like_any_other(nobody: Person, make: Callable[[], str]) -> None:
    expected = nobody.restore(SUB)
    assert expected.status_code == 401
    assert expected.headers["www-authenticate"] == "Bearer"
    for function in ("session-snapshot-save", "session-snapshot-restore", "sessions"):
        answer = nobody.post(function, {}, headers={"Authorization": make().encode("latin-1")})
        assert (answer.status_code, answer.content) == (401, expected.content)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_two_authorization_headers__are_refused(ada: Person) -> None:
    headers = [("Authorization", f"Bearer {ada.token}"), ("Authorization", f"Bearer {ada.token}")]
    answer = ada.http.build_request("GET", "/functions/v1/sessions")
    answer.headers = type(answer.headers)([*headers, ("Host", "x")])
    assert ada.http.send(answer).status_code == 401


def test_good_token__within_the_leeway(people: Callable[..., Person], shared: Db) -> None:
    now = int(time.time())
    user = str(shared.user("late"))
    for changes in (
        {"exp": now - 20},
        {"nbf": now + 20},
        {"aud": ["x", "authenticated"]},
        {"sub": user.upper()},
    ):
        somebody = people(user, token_for(user, **changes))
        assert somebody.request("GET", "sessions").status_code == 200, changes


def test_good_token__any_case_of_bearer(ada: Person) -> None:
    answer = ada.request("GET", "sessions", headers={"Authorization": f"bearer {ada.token}"})
    assert answer.status_code == 200


def test_claims__what_a_database_text_cannot_hold_does_no_harm(
    people: Callable[..., Person], shared: Db, mode: str
) -> None:
    user = str(shared.user("odd"))
    somebody = people(user, token_for(user, user_metadata={"name": "\0", "half": "\ud800"}))
    # PostgREST reads the token itself, and a lone surrogate is not JSON to it.
    assert somebody.request("GET", "sessions").status_code == (401 if mode == "postgrest" else 200)


# -- the verifier by itself ----------------------------------------------------------------------------


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with KeyServer().serving() as server:
        server.publish("rsa", RSA_KEY, jwt.algorithms.RSAAlgorithm, alg="RS256", use="sig")
        server.publish("ec", EC_KEY, jwt.algorithms.ECAlgorithm)
        yield server


def verifier_with(key_server: KeyServer, **changes: Any) -> Verifier:
    return Verifier(settings_for("postgresql://nowhere", jwt_secret=None, jwks_url=key_server.url, **changes))


def by_key(kid: str | None, key: Any, algorithm: str, **changes: Any) -> str:
    headers = {"kid": kid} if kid else None
    return "Bearer " + jwt.encode(claims(**changes), key, algorithm, headers=headers)


async def refuses(verifier: Verifier, authorization: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        await verifier.caller(authorization)
    assert (refused.value.code, str(refused.value)) == ("invalid_token", str(Unauthorized("invalid_token")))


async def test_public_keys__decide_the_algorithm(key_server: KeyServer) -> None:
    verifier = verifier_with(key_server)
    assert (await verifier.caller(by_key("rsa", RSA_KEY, "RS256"))).user_id == SUB
    assert (await verifier.caller(by_key("ec", EC_KEY, "ES256"))).role == "authenticated"
    for token in (
        by_key("ec", RSA_KEY, "RS256"),
        by_key("rsa", OTHER_RSA_KEY, "RS256"),
        by_key("rsa", RSA_KEY, "RS512"),
        by_key("rsa", RSA_KEY, "PS256"),
        by_key(None, RSA_KEY, "RS256"),
        "Bearer " + signed(),
        "Bearer " + signed_by_hand({**HS256, "kid": "rsa"}, claims(), PUBLIC_PEM),
        "Bearer " + unsigned({"alg": "none", "kid": "rsa"}) + "AA",
    ):
        await refuses(verifier, token)
    assert key_server.asked == 1


async def test_public_keys__and_a_secret_side_by_side(key_server: KeyServer) -> None:
    verifier = Verifier(settings_for("postgresql://nowhere", jwks_url=key_server.url))
    assert (await verifier.caller("Bearer " + signed())).user_id == SUB
    assert (await verifier.caller(by_key("ec", EC_KEY, "ES256"))).user_id == SUB
    await refuses(verifier, "Bearer " + signed_by_hand({**HS256, "kid": "rsa"}, claims(), PUBLIC_PEM))


async def test_unknown_key_ids__cause_one_fetch(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = verifier_with(key_server)
    for number in range(300):
        await refuses(verifier, by_key(f"kid-{number}", EC_KEY, "ES256"))
    assert key_server.asked == 1
    monkeypatch.setattr(keys, "RETRY_SECONDS", 0.0)
    key_server.publish("new", OTHER_RSA_KEY, jwt.algorithms.RSAAlgorithm)
    assert (await verifier.caller(by_key("new", OTHER_RSA_KEY, "RS256"))).user_id == SUB
    assert key_server.asked == 2


async def test_unknown_key_ids__at_once_share_a_fetch(key_server: KeyServer) -> None:
    import asyncio

    verifier = verifier_with(key_server)
    tokens = [by_key("ec", EC_KEY, "ES256", n=number) for number in range(40)]
    callers = await asyncio.gather(*(verifier.caller(token) for token in tokens))
    assert {caller.user_id for caller in callers} == {SUB}
    assert key_server.asked == 1


async def test_keys__stay_while_their_server_is_away(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    verifier = verifier_with(key_server)
    await verifier.caller(by_key("ec", EC_KEY, "ES256"))
    key_server.away = True
    for number in range(3):
        assert (await verifier.caller(by_key("ec", EC_KEY, "ES256", n=number))).user_id == SUB
    await refuses(verifier, by_key("other", EC_KEY, "ES256"))


async def test_keys__never_fetched_is_no_verdict_on_the_token(key_server: KeyServer) -> None:
    key_server.away = True
    with pytest.raises(Unavailable) as unavailable:
        await verifier_with(key_server).caller(by_key("ec", EC_KEY, "ES256"))
    assert (unavailable.value.code, unavailable.value.status) == ("keys_unavailable", 503)


async def test_keys__withdrawn_ones_go_out_of_use(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    verifier = verifier_with(key_server)
    await verifier.caller(by_key("rsa", RSA_KEY, "RS256"))
    key_server.keys = [key for key in key_server.keys if key["kid"] != "rsa"]
    assert await eventually_refused(verifier)


async def eventually_refused(verifier: Verifier) -> bool:
    """Whether new tokens of the withdrawn key stop being good once the refresh in the background is done."""
    import asyncio

    for number in range(100):
        try:
            await verifier.caller(by_key("rsa", RSA_KEY, "RS256", n=number))
        except Unauthorized:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_keys__odd_ones_do_not_cost_the_good_ones(key_server: KeyServer) -> None:
    good = list(key_server.keys)
    odd: list[Any] = [
        None,
        {"kid": "rsa"},
        {"kid": "oct", "kty": "oct", "k": encoded(SECRET.encode())},
        {**good[0], "kid": "enc", "use": "enc"},
        {**good[0], "kid": "hs", "alg": "HS256"},
        {**good[0], "kid": "broken", "n": "!"},
        {"kid": ["x"], "kty": "RSA"},
    ]
    key_server.keys = [*odd, *good]
    verifier = verifier_with(key_server)
    assert (await verifier.caller(by_key("ec", EC_KEY, "ES256"))).user_id == SUB
    for kid in ("enc", "broken", "oct"):
        await refuses(verifier, by_key(kid, RSA_KEY, "RS256"))
    await refuses(verifier, "Bearer " + signed({"kid": "oct"}))


async def test_verified_tokens__are_remembered_but_not_past_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verifier = Verifier(settings_for("postgresql://nowhere"))
    verified = 0
    decode = jwt.decode

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal verified
        verified += 1
        return decode(*args, **options)

    monkeypatch.setattr(jwt, "decode", counting)
    token = "Bearer " + signed(exp=int(time.time()) + 100)
    for _ in range(5):
        await verifier.caller(token)
    assert verified == 1
    later = time.time() + 131
    monkeypatch.setattr(time, "time", lambda: later)
    assert auth.LEEWAY_SECONDS == 30
    with contextlib.suppress(Unauthorized):
        await verifier.caller(token)
    assert verified == 2


async def test_verified_tokens__are_bounded() -> None:
    verifier = Verifier(settings_for("postgresql://nowhere"))
    for number in range(auth.MAX_REMEMBERED + 10):
        verifier._remember(number.to_bytes(4), 1.0, nobody_in_particular())
    assert len(verifier._remembered) == auth.MAX_REMEMBERED


def nobody_in_particular() -> Any:
    """A stand-in for a caller; only the number of entries matters here."""
    return object()


def test_settings__show_no_secret() -> None:
    settings = Settings(database_url="postgresql://u:hidden@h/d", jwt_secret=SECRET, jwt_issuer=ISSUER)
    assert "hidden" not in repr(settings)
    assert SECRET not in repr(settings)


# -- a key server that is not well -----------------------------------------------------------------------


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
async def test_keys__a_server_that_misbehaves_costs_nothing(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch, misbehaviour: str
) -> None:
    monkeypatch.setattr(keys, "RETRY_SECONDS", 0)
    monkeypatch.setattr(keys, "FETCH_TIMEOUT_SECONDS", 0.3)
    known = verifier_with(key_server)
    await known.caller(by_key("rsa", RSA_KEY, "RS256"))
    asked = key_server.asked
    key_server.misbehave(misbehaviour)
    # what was known stays good, what is not known is refused, and both within a moment
    async with asyncio.timeout(10):
        await refuses(known, by_key("unknown", RSA_KEY, "RS256"))
        assert key_server.asked > asked
        assert (await known.caller(by_key("rsa", RSA_KEY, "RS256", exp=int(time.time()) + 99))).user_id == SUB
        # and who never had keys says so
        with pytest.raises(Unavailable) as unavailable:
            await verifier_with(key_server).caller(by_key("rsa", RSA_KEY, "RS256"))
    assert unavailable.value.code == "keys_unavailable"
    key_server.misbehave(None)
    assert (await known.caller(by_key("ec", EC_KEY, "ES256"))).user_id == SUB
