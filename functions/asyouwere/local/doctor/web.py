"""Checks over HTTP: the keys that tokens are verified with, the REST API, the deployed functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from asyouwere.local.doctor.connecting import NO_ANSWER_IN_TIME, ask
from asyouwere.local.doctor.finding import Finding, some
from asyouwere.local.doctor.project import project_state

LEAST_SECRET_BYTES = 32
# published in the documentation of Supabase's local and self-hosted set-up
KNOWN_SECRETS = (
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
)
CLEAN_UP = "cleanup-old-snapshots"
FUNCTIONS = ("session-snapshot-save", "session-snapshot-restore", "sessions", CLEAN_UP)
NOT_THERE = "status 404"


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def check_keys(environ: Mapping[str, str], supabase_url: str | None) -> Iterator[Finding]:
    """The functions' settings, as far as they are in the environment, or follow from the project's URL."""
    secret = environ.get("ASYOUWERE_JWT_SECRET")
    base = (supabase_url or environ.get("ASYOUWERE_SUPABASE_URL") or "").rstrip("/")
    jwks_url = environ.get("ASYOUWERE_JWKS_URL") or (
        f"{base}/auth/v1/.well-known/jwks.json" if base and not secret else None
    )
    issuer = environ.get("ASYOUWERE_JWT_ISSUER")
    if issuer and base and issuer != f"{base}/auth/v1":
        yield Finding(
            "issuer",
            "warn",
            "ASYOUWERE_JWT_ISSUER is not the project's own /auth/v1",
            "leave it out on Supabase, unless the project signs with a domain of its own",
        )
    if secret is not None:
        if len(secret.encode()) < LEAST_SECRET_BYTES:
            yield Finding(
                "keys",
                "fail",
                "ASYOUWERE_JWT_SECRET is too short",
                "at least 32 random bytes: openssl rand -base64 32",
            )
        elif secret in KNOWN_SECRETS or len(set(secret)) < 10:
            yield Finding(
                "keys", "fail", "ASYOUWERE_JWT_SECRET can be guessed", "make a new one: openssl rand -base64 32"
            )
        else:
            yield Finding("keys", "ok", "a shared secret; public keys (ASYOUWERE_JWKS_URL) would need no secret here")
    if jwks_url:
        yield _jwks(jwks_url)
    if secret is None and not jwks_url:
        yield Finding(
            "keys",
            "skip",
            "not looked at: no ASYOUWERE_SUPABASE_URL, ASYOUWERE_JWKS_URL or ASYOUWERE_JWT_SECRET here",
        )


def _jwks(url: str) -> Finding:
    response = ask("GET", url)
    if not isinstance(response, str) and (state := project_state("keys", response)):
        return state
    if isinstance(response, str) or response.status_code != 200:
        how = response if isinstance(response, str) else f"status {response.status_code}"
        return Finding(
            "keys",
            "fail",
            f"the public keys can't be fetched: {how}",
            "check ASYOUWERE_SUPABASE_URL or ASYOUWERE_JWKS_URL",
        )
    document = _json(response)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return Finding("keys", "fail", "what is at the keys' address is no key set", "check ASYOUWERE_JWKS_URL")
    if any("d" in key or key.get("kty") == "oct" for key in keys):
        return Finding(
            "keys",
            "fail",
            "the key set shows private keys to everybody",
            "take them away, and change them, at once",
        )
    usable = [key for key in keys if key.get("kid") and key.get("kty") in ("RSA", "EC")]
    if not usable:
        return Finding(
            "keys",
            "fail",
            "the key set has no public key",
            "the project signs with its old shared secret: migrate it to "
            "signing keys (JWT Keys in the dashboard), or set ASYOUWERE_JWT_SECRET",
        )
    return Finding(
        "keys",
        "ok",
        f"{len(usable)} public key(s): {some(sorted({str(key.get('alg') or key['kty']) for key in usable}))}",
    )


def check_rest(supabase_url: str, key: str | None) -> Iterator[Finding]:
    """Whether the API serves our tables, and not the private schema; asked as nobody."""
    base = supabase_url.rstrip("/") + "/rest/v1"
    headers = {"apikey": key} if key else {}
    # a table, of which anonymous readers may see this column
    response = ask("GET", f"{base}/free_agent_sessions?select=id&limit=1", headers=headers)
    if isinstance(response, str):
        yield Finding("rest", "fail", f"the API can't be asked: {response}", "check --supabase-url")
        return
    if state := project_state("rest", response):
        yield state
        return
    if response.status_code in (401, 403):
        if key is None:
            yield Finding(
                "rest",
                "skip",
                f"not looked at: the API wants a key (status {response.status_code})",
                "set ASYOUWERE_PUBLISHABLE_KEY",
            )
        else:
            yield Finding(
                "rest",
                "fail",
                f"the API does not take ASYOUWERE_PUBLISHABLE_KEY: status {response.status_code}",
                "copy the project's publishable or anon key anew",
            )
        return
    rows = _json(response)
    if response.status_code != 200 or not isinstance(rows, list):
        of_rest = isinstance(rows, dict) and isinstance(rows.get("code"), str)
        yield Finding(
            "rest",
            "fail",
            f"the API does not serve free_agent_sessions: status {response.status_code}"
            if of_rest
            else f"what is at --supabase-url is no Supabase API: status {response.status_code}",
            "expose the schema public; after migrations: notify pgrst, 'reload schema'"
            if of_rest
            else "the project's own address, https://….supabase.co, with nothing after it",
        )
        return
    private = ask("GET", f"{base}/parts?limit=1", headers={**headers, "accept-profile": "asyouwere"})
    if isinstance(private, str) or private.status_code not in (404, 406):
        yield Finding(
            "rest", "fail", "the API exposes the schema asyouwere", "take it out of the API's exposed schemas"
        )
    else:
        yield Finding("rest", "ok", "the API serves public and not asyouwere")


def check_functions(functions_url: str) -> Iterator[Finding]:
    """Whether each function answers, refuses those without a token, and is the version of this asyouwere."""
    base = functions_url.rstrip("/")
    # all at once: where one hangs all do, as a rule, and nobody waits for each
    with ThreadPoolExecutor(len(FUNCTIONS)) as threads:
        found = list(threads.map(lambda name: _function(base, name), FUNCTIONS))
    there = any(finding.check != CLEAN_UP and finding.message != NOT_THERE for finding in found)
    for finding in found:
        # A domain that routes by path leads nobody to the clean-up, and internal ingress hides it: both answer 404.
        if there and (finding.check, finding.message) == (CLEAN_UP, NOT_THERE):
            finding = Finding(CLEAN_UP, "skip", "not looked at: from here it can't be reached, as it should be")
        yield finding


def _function(base: str, name: str) -> Finding:
    from asyouwere.version import __version__

    response = ask("GET", f"{base}/{name}/openapi.json")
    if isinstance(response, str):
        hangs = response == NO_ANSWER_IN_TIME
        return Finding(
            name,
            "fail",
            f"hangs, or starts slowly: {response}" if hangs else response,
            "it is there: see its log; ask again" if hangs else "deploy it, or check --functions-url",
        )
    if response.status_code in (401, 403):
        if name == CLEAN_UP:
            return Finding(name, "ok", "answers its scheduler only")  # the platform keeps others out
        return Finding(
            name,
            "fail",
            f"the platform refuses before the function is asked: status {response.status_code}",
            "let everybody call it (Google Cloud: allUsers as invoker, or no invoker check): it checks tokens itself",
        )
    if response.status_code != 200:
        fails = response.status_code >= 500
        advice = "it is there and fails: see its log" if fails else "deploy it, or check --functions-url"
        return Finding(name, "fail", f"status {response.status_code}", advice)
    document = _json(response)
    if not isinstance(document, dict) or "openapi" not in document:
        return Finding(name, "fail", "something else answers there", "check --functions-url")
    version = document.get("info", {}).get("version")
    answer = ask("POST", f"{base}/{name}", json={})
    refused = answer if isinstance(answer, str) else answer.status_code
    if refused not in (401, 403):
        return Finding(
            name,
            "fail",
            f"without a token it answers {refused}, not 401",
            "look at its log; the database or its keys may be out of reach",
        )
    if version != __version__:
        return Finding(
            name, "warn", f"is of version {version}, this is {__version__}", "deploy the same version everywhere"
        )
    return Finding(name, "ok", f"answers, version {version}")
