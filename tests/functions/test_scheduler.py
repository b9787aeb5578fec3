"""The clean-up's other ways in: the scheduler's OIDC tokens, and a project's legacy service key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from asyouwere.errors import Unauthorized
from asyouwere.service.auth.verifier import Verifier
from tests.functions.api import SECRET, Person, refused, serving, settings_for, token_for
from tests.functions.test_tokens import OTHER_RSA_KEY, PUBLIC_PEM, RSA_KEY, KeyServer, signed_by_hand
from tests.functions.test_tokens import key_server as key_server
from tests.support.database import Db

AUDIENCE = "https://cleanup-abc.run.app"
EMAIL = "scheduler@project.iam.gserviceaccount.com"
GOOGLE = "https://accounts.google.com"


def oidc(key: Any = RSA_KEY, kid: str | None = "rsa", algorithm: str = "RS256", **changes: Any) -> str:
    """A token as Cloud Scheduler sends it, or one changed: a claim given as None is left out."""
    now = int(time.time())
    claims = {
        "iss": GOOGLE,
        "aud": AUDIENCE,
        "azp": "108000000000000000000",
        "sub": "108000000000000000000",
        "email": EMAIL,
        "email_verified": True,
        "iat": now,
        "exp": now + 3600,
        **changes,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, key, algorithm, headers={"kid": kid} if kid else None)


def legacy(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A service key as projects had them: for ten years, no audience, nobody in particular."""
    now = int(time.time())
    claims = {
        "iss": "supabase",
        "ref": "abcdefghijklmnop",
        "role": "service_role",
        "iat": now,
        "exp": now + 10**8,
    }
    return jwt.encode(
        {name: value for name, value in {**claims, **changes}.items() if value is not None}, secret, algorithm
    )


def verifier_for(key_server: KeyServer, **changes: Any) -> Verifier:
    return Verifier(
        settings_for(
            "postgresql://nowhere",
            **{
                "scheduler_audience": AUDIENCE,
                "scheduler_email": EMAIL,
                "scheduler_jwks_url": key_server.url,
                **changes,
            },
        )
    )


async def test_scheduler__is_the_service(key_server: KeyServer) -> None:
    verifier = verifier_for(key_server)
    for _ in range(3):
        caller = await verifier.caller("Bearer " + oidc(), audience="service")
        assert (caller.role, caller.user_id, caller.token) == ("service_role", None, "")
    assert key_server.asked == 1


BAD: dict[str, Any] = {
    "other_audience": lambda: oidc(aud=AUDIENCE + "/"),
    "one_of_several_audiences": lambda: oidc(aud=[AUDIENCE, "https://elsewhere.example"]),
    "no_audience": lambda: oidc(aud=None),
    "other_issuer": lambda: oidc(iss="https://accounts.example"),
    "issuer_without_scheme": lambda: oidc(iss="accounts.google.com"),
    "no_issuer": lambda: oidc(iss=None),
    "other_account": lambda: oidc(email="somebody@project.iam.gserviceaccount.com"),
    "no_account": lambda: oidc(email=None),
    "account_in_other_case": lambda: oidc(email=EMAIL.upper()),
    "account_not_verified": lambda: oidc(email_verified=False),
    "account_verified_as_text": lambda: oidc(email_verified="true"),
    "account_verification_not_said": lambda: oidc(email_verified=None),
    "expired": lambda: oidc(exp=int(time.time()) - 60),
    "no_exp": lambda: oidc(exp=None),
    "not_yet_valid": lambda: oidc(nbf=int(time.time()) + 600),
    "other_key": lambda: oidc(key=OTHER_RSA_KEY),
    "other_algorithm": lambda: oidc(algorithm="RS512"),
    "no_kid": lambda: oidc(kid=None),
    "unknown_kid": lambda: oidc(kid="nobody"),
    "key_of_another_kind": lambda: oidc(kid="ec"),
    "hs256_with_the_public_key": lambda: signed_by_hand(
        {"alg": "HS256", "typ": "JWT", "kid": "rsa"},
        jwt.decode(oidc(), options={"verify_signature": False}),
        PUBLIC_PEM,
    ),
    "hs256_with_the_shared_secret": lambda: signed_by_hand(
        {"alg": "HS256", "typ": "JWT", "kid": "rsa"}, jwt.decode(oidc(), options={"verify_signature": False})
    ),
    "role_of_a_user_with_googles_issuer": lambda: oidc(role="service_role", email="x@example.org"),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
async def test_scheduler__whatever_is_wrong_is_refused_alike(key_server: KeyServer, make: Any) -> None:
    with pytest.raises(Unauthorized) as error:
        await verifier_for(key_server).caller("Bearer " + make(), audience="service")
    assert (error.value.code, str(error.value)) == ("invalid_token", str(Unauthorized("invalid_token")))


def as_cloud_run_passes_on(token: str) -> str:
    """Cloud Run's IAM checks a token and takes its signature away, so that nobody can pass it on."""
    return token.rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"


async def test_scheduler__behind_iam_its_tokens_come_without_signature(key_server: KeyServer) -> None:
    behind_iam = verifier_for(key_server, scheduler_behind_iam=True)
    caller = await behind_iam.caller("Bearer " + as_cloud_run_passes_on(oidc()), audience="service")
    assert (caller.role, key_server.asked) == ("service_role", 0)
    await behind_iam.caller("Bearer " + oidc(), audience="service")
    with pytest.raises(Unauthorized):
        await behind_iam.caller(
            "Bearer " + as_cloud_run_passes_on(token_for("ada", "service_role")), audience="service"
        )
    with pytest.raises(Unauthorized):
        await behind_iam.caller("Bearer " + oidc().rpartition(".")[0] + ".x", audience="service")
    open_to_all = verifier_for(key_server)
    with pytest.raises(Unauthorized):
        await open_to_all.caller("Bearer " + as_cloud_run_passes_on(oidc()), audience="service")


OF_THE_KEY = {"other_key", "other_algorithm", "no_kid", "unknown_kid", "key_of_another_kind"}
OF_THE_KEY |= {"hs256_with_the_public_key", "hs256_with_the_shared_secret"}


@pytest.mark.parametrize("make", [BAD[name] for name in sorted(BAD.keys() - OF_THE_KEY)])
async def test_scheduler__behind_iam_all_else_is_checked(key_server: KeyServer, make: Any) -> None:
    verifier = verifier_for(key_server, scheduler_behind_iam=True)
    with pytest.raises(Unauthorized):
        await verifier.caller("Bearer " + as_cloud_run_passes_on(make()), audience="service")


async def test_scheduler__opens_no_door_of_users_and_none_without_settings(key_server: KeyServer) -> None:
    verifier = verifier_for(key_server)
    await verifier.caller("Bearer " + oidc(), audience="service")
    with pytest.raises(Unauthorized):
        await verifier.caller("Bearer " + oidc(), audience="user")
    unset = verifier_for(key_server, scheduler_audience=None, scheduler_email=None)
    with pytest.raises(Unauthorized):
        await unset.caller("Bearer " + oidc(), audience="service")


async def test_legacy_service_key__is_the_service_where_its_secret_is_known(key_server: KeyServer) -> None:
    key = legacy()
    verifier = verifier_for(key_server)
    caller = await verifier.caller("Bearer " + key, audience="service")
    assert (caller.role, caller.user_id, caller.token) == ("service_role", None, key)
    with pytest.raises(Unauthorized):
        await verifier.caller("Bearer " + key, audience="user")
    by_keys_only = verifier_for(key_server, jwt_secret=None, jwks_url=key_server.url)
    with pytest.raises(Unauthorized):
        await by_keys_only.caller("Bearer " + key, audience="service")


LEGACY_BAD: dict[str, Any] = {
    "other_secret": lambda: legacy(secret="another secret, just as long as the first one"),
    "anon": lambda: legacy(role="anon"),
    "authenticated": lambda: legacy(role="authenticated"),
    "no_role": lambda: legacy(role=None),
    "somebodys": lambda: legacy(sub="0b0b0b0b-0000-4000-8000-000000000000"),
    "expired": lambda: legacy(exp=int(time.time()) - 60),
    "no_exp": lambda: legacy(exp=None),
    "other_algorithm": lambda: legacy(algorithm="HS384"),
    "other_issuer": lambda: legacy(iss="supabase2"),
}


@pytest.mark.parametrize("make", LEGACY_BAD.values(), ids=LEGACY_BAD.keys())
async def test_legacy_service_key__whatever_is_wrong_is_refused(key_server: KeyServer, make: Any) -> None:
    with pytest.raises(Unauthorized):
        await verifier_for(key_server).caller("Bearer " + make(), audience="service")


@pytest.fixture
def scheduled(shared: Db, mode: str, request: pytest.FixtureRequest, key_server: KeyServer) -> Iterator[str]:
    """The base URL of functions that know the scheduler."""
    reached: dict[str, Any] = {}
    if mode == "postgrest":
        rest_url = request.getfixturevalue("rest_url")
        key = token_for("cron", "service_role")
        reached = {"database": mode, "postgrest_url": rest_url, "service_key": key}
    known = {
        "scheduler_audience": AUDIENCE,
        "scheduler_email": EMAIL,
        "scheduler_jwks_url": key_server.url,
    }
    with serving(settings_for(shared.api_dsn, **known, **reached)) as base_url:
        yield base_url


def test_cleanup__is_the_schedulers_and_nothing_else_is(scheduled: str) -> None:
    for token in (oidc(), legacy()):
        service = Person(scheduled, None, token)
        with service.http:
            assert service.post("cleanup-old-snapshots", {}).json()["done"] is True
            refused(service.request("GET", "sessions"), "invalid_token")
    stranger = Person(scheduled, None, oidc(email="x@example.org"))
    with stranger.http:
        refused(stranger.post("cleanup-old-snapshots", {}), "invalid_token")
