"""Tokens: every bad one gets the same 401, byte for byte, and unknown key ids are no load on the issuer.

Asked are all functions, of a server that knows a shared secret and of one that knows public keys. The long form
asks at every address and method, with every bad token.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import jwt

from asyouwere.service.routes.registry import FUNCTIONS
from tests.functions.api import BASE, serving, settings_for, token_for
from tests.security.bad_tokens import (
    BAD,
    EC_KEY,
    HS256,
    PUBLIC_PEM,
    RSA_KEY,
    SUB,
    claims,
    signed,
    signed_by_hand,
)
from tests.security.key_server import KeyServer
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

# Good tokens of the other kind of server: here they are as bad as any.
OF_THE_OTHER = {
    "good_but_for_a_shared_secret": lambda: "Bearer " + signed(),
    "public_key_as_secret": lambda: (
        "Bearer " + signed_by_hand({**HS256, "kid": "signing"}, claims(), PUBLIC_PEM)
    ),
}
FOR_THE_SERVICE = ("service_role", "role_twice_the_last_counts", "legacy_service_key")
UNKNOWN = 1_000


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """Ask with every bad token; then with many key ids that nobody knows; then without a key server."""
    outcome.short = (
        "bad tokens",
        "requests",
        "not refused",
        "other answers",
        "unknown key ids",
        "key fetches",
    )
    outcome.figures.update({"bad tokens": len(BAD) + len(OF_THE_OTHER), "not refused": 0, "other answers": 0})
    with Place(folder) as place, KeyServer().serving() as issuer:
        outcome.facts.update(place.facts())
        issuer.publish("signing", RSA_KEY, jwt.algorithms.RSAAlgorithm, alg="RS256", use="sig")
        issuer.publish("ec", EC_KEY, jwt.algorithms.ECAlgorithm)
        dsn = place.environment["ASYOUWERE_DATABASE_URL"]
        place.db.superuser.execute(
            "insert into auth.users (id, email) values (%s, 'sub@example.org')", (SUB,)
        )
        with serving(settings_for(dsn)) as url:
            _ask(outcome, url, {**BAD}, long, say)
            good = httpx.get(f"{url}{BASE}/sessions", headers=_bearer(token_for(SUB)), trust_env=False)
            outcome.require(good.status_code == 200, f"a good token was refused: {good.text}")
        with serving(settings_for(dsn, jwt_secret=None, jwks_url=issuer.url)) as url:
            _ask(outcome, url, {**BAD, **OF_THE_OTHER}, long, say)
            _unknown_keys(outcome, url, issuer)


def _ask(outcome: Outcome, url: str, tokens: dict[str, Callable[[], str]], long: bool, say: Say) -> None:
    """Every token at every address; all answers must be one."""
    places = [(name, route) for name, table in FUNCTIONS.items() for route in table.routes]
    if not long:
        places = [(name, table.routes[0]) for name, table in FUNCTIONS.items()]
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        for name, route in places:
            path = f"{BASE}/{name}" + route.pattern.format(session_id=SUB, number=1, user_id=SUB)
            expected = client.request(route.method, path)
            answers = {_shown(expected)}
            for token, make in tokens.items():
                if route.audience == "service" and token in FOR_THE_SERVICE:
                    continue  # the ones that this door is for
                answer = client.request(
                    route.method, path, headers={"Authorization": make().encode("latin-1")}
                )
                outcome.count("requests")
                if answer.status_code != 401:
                    outcome.count("not refused")
                    outcome.failures.append(
                        f"{route.method} {path} with {token}: {answer.status_code} {answer.text}"
                    )
                answers.add(_shown(answer))
                say(f"{name} {token}")
            twice = [("Authorization", f"Bearer {token_for(SUB)}")] * 2
            answers.add(_shown(client.request(route.method, path, headers=twice)))
            if len(answers) > 1:
                outcome.count("other answers", len(answers) - 1)
                outcome.failures.append(f"{route.method} {path}: {len(answers)} different answers: {answers}")


def _unknown_keys(outcome: Outcome, url: str, issuer: KeyServer) -> None:
    """At most one fetch in 30 seconds, whatever comes; and what is known outlives the issuer."""

    def by_key(kid: str, **changes: object) -> dict[str, str]:
        return _bearer(jwt.encode(claims(**changes), RSA_KEY, "RS256", headers={"kid": kid}))

    with httpx.Client(base_url=url + BASE, timeout=30, trust_env=False) as client:
        good = client.get("/sessions", headers=by_key("signing"))
        outcome.require(good.status_code == 200, f"a token by public key was refused: {good.text}")
        before, begin = issuer.asked, time.monotonic()
        for number in range(UNKNOWN):
            answer = client.get("/sessions", headers=by_key(f"unknown {number}"))
            outcome.require(answer.status_code == 401, f"an unknown key id: {answer.status_code}")
        seconds = time.monotonic() - begin
        fetches = issuer.asked - before
        outcome.figures.update(
            {"unknown key ids": UNKNOWN, "key fetches": fetches, "seconds they took": round(seconds, 1)}
        )
        outcome.require(fetches <= 1 + seconds // 30, f"{fetches} fetches in {seconds:.0f} s")
        issuer.away = True
        for number in range(20):
            # none of them seen before, so the key itself is looked up each time
            answer = client.get("/sessions", headers=by_key("signing", jti=str(number)))
            outcome.require(
                answer.status_code == 200, f"the issuer is away: {answer.status_code} {answer.text}"
            )
        outcome.figures["good while the issuer is away"] = 20


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _shown(answer: httpx.Response) -> str:
    """All that a caller sees of it, but for the request's own id and the time."""
    own = ("x-request-id", "date")
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in own)
    return json.dumps([answer.status_code, headers, answer.text])
